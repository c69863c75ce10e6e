"""What is asked of letters: which words are left out, and where an unseen word's relatives lie."""

from collections import Counter

import numpy as np
import pytest
import torch

from letters import questions, ranks, vectors_of, without
from small_base import SHAPE
from unmask.inference.building import network_of, spell
from unmask.inference.model import Model
from unmask.models.shape import Shape
from unmask.static.vectors import WordVectors
from unmask.text.tokens.tokenizer import Tokenizer


@pytest.fixture
def asked(tmp_path):
    (tmp_path / "forms.txt").write_text(
        ": capital-common-countries\nRome Italy Paris France\n"
        ": gram4-superlative\nwide widest Old oldest\nhigh highest old oldest\n"
    )
    (tmp_path / "pairs.txt").write_text("tiger\tcat\t7.35\nTiger\tmoon\t1.5\nmoon\tcat\t1\nmidday\tnoon\t9\n")
    counts = Counter(wide=50, old=900, oldest=11, high=49, cat=300, moon=200, midday=10, noon=60, Rome=9)
    return questions(counts, [tmp_path / "forms.txt"], [tmp_path / "pairs.txt"])


def test_rare_words_are_asked_for_and_left_out(asked):
    """Forms of a common word; and words that are compared, in the pairs that hold one."""
    assert asked.relatives == {"widest": {"wide"}}  # oldest is not rare, high not common
    assert asked.unseen == {"widest", "tiger", "midday"}
    assert asked.pairs == {"pairs": [("tiger", "cat", 7.35), ("tiger", "moon", 1.5), ("midday", "noon", 9.0)]}
    assert asked.words == ["cat", "midday", "moon", "noon", "tiger", "widest"]
    text = ["The Tiger slept .", "tigers and a cat", "at mid-day", "", "the widest, they said"]
    assert without(text, asked.unseen) == ["tigers and a cat", "at mid-day", ""]


def test_ranks_count_the_words_that_lie_nearer():
    words = ["wide", "wise", "far", "widest", "broad"]
    rows = [[1, 0.2], [1, 0.1], [0, 1], [1, 0], [1, 0.05]]
    vectors = WordVectors(words, np.array(rows, np.float32))
    candidates = {"wide", "wise", "far"}
    assert ranks(vectors, {"widest": {"wide"}}, candidates) == [2]
    assert ranks(vectors, {"widest": {"wide", "wise"}}, candidates) == [1]
    assert ranks(vectors, {"widest": {"wide"}}, candidates | {"broad"}) == [3]
    assert ranks(vectors, {"widest": {"broad"}}, candidates) == []  # is no candidate


@pytest.mark.parametrize("embedding", ["subword", "char_cnn", "fasttext_ngrams"])
def test_every_word_has_what_goes_into_the_encoder(embedding):
    tokenizer = Tokenizer.train(["the wide river is as wide as the old river"] * 9, vocab_size=60)
    shape = Shape(**SHAPE, vocab_size=tokenizer.size, embedding=embedding, filters=64, ngram_buckets=50, tied=False)
    network = network_of(shape, []).eval()
    spell(network, tokenizer)
    vectors = vectors_of(Model("a model", shape, network, tokenizer), ["widest", "river"])
    assert {"wide", "river", "widest"} <= set(vectors.words) and all(map(str.isalpha, vectors.words))
    pieces = tokenizer.encode(["wide widest"])[0].ids
    part = network.backbone.embeddings.tokens
    with torch.no_grad():
        known = part(torch.from_numpy(pieces).long())
    assert np.allclose(vectors.vector("wide"), known[0], atol=1e-6)
    if embedding == "subword":
        assert np.allclose(vectors.vector("widest"), known[1:].mean(0), atol=1e-6)
