"""What tasks make of rows: sequences, answers, predictions, scores; and the heads that give them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from transformers import AutoTokenizer

from small_base import SHAPE, sentences, tokenizer
from unmask.errors import UserError
from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.nn.layout import Layout
from unmask.nn.network import Network
from unmask.nn.pooling import AttentionPooling, largest, mean
from unmask.tasks.base import HEAD, Rows
from unmask.tasks.classify import Classify
from unmask.tasks.tag import Tag
from unmask.text.sampling.batches import Dataset, by_length

TOKENS = tokenizer()
TEXTS = [" ".join(words) for words in sentences(40, 3)]


def rows_of(texts, labels=None) -> Rows:
    return Rows("rows", texts, labels, list(range(1, len(texts) + 1)))


def classify(**settings) -> Classify:
    return Classify(**{"text": "1", "label": "2", "labels": ("x", "y"), "length": 32, **settings})


@pytest.mark.parametrize("length", [8, 9, 16, 64])
@pytest.mark.parametrize("pair", [False, True])
def test_sequences_are_those_of_transformers(tmp_path, length, pair):
    TOKENS.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    texts = [(a, b) if pair else (a,) for a, b in zip(TEXTS, reversed(TEXTS), strict=True)]
    encoded = classify(length=length, text_pair="3" if pair else None).encode(rows_of(texts), TOKENS)
    wanted = theirs(*map(list, zip(*texts, strict=True)), truncation=True, max_length=length)
    whole = theirs(*map(list, zip(*texts, strict=True)))
    stream = encoded.data.stream
    ours = [piece.tolist() for piece in np.split(stream.tokens, encoded.data.starts[1:])]
    assert ours == wanted["input_ids"]
    if pair:
        assert stream.segments.tolist() == [kind for row in wanted["token_type_ids"] for kind in row]
    cut = [len(a) - len(b) for a, b in zip(whole["input_ids"], wanted["input_ids"], strict=True)]
    assert encoded.cut.tolist() == cut
    assert encoded.facts == {
        "rows": 40, "tokens": len(stream.tokens), "unknown_tokens": sum(row.count(TOKENS.unk) for row in ours),
        "cut_rows": sum(n > 0 for n in cut), "cut_tokens": sum(cut),
    }  # fmt: skip


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.data())
def test_a_batch_holds_what_was_picked(lengths, data):
    task, words = Tag(labels=("O", "B-X", "I-X"), length=32), [tuple(["film"] * n) for n in lengths]
    labels = [tuple(data.draw(st.sampled_from(["O", "B-X"])) for _ in row) for row in words]
    encoded = task.encode(rows_of(words, labels), TOKENS)
    numbers = np.array(data.draw(st.permutations(range(len(lengths)))))[: data.draw(st.integers(1, len(lengths)))]
    batch = encoded.data.pick(numbers)
    targets, stream = batch.targets[HEAD], batch.streams["encoder"]
    assert stream.lengths.tolist() == [lengths[n] + 2 for n in numbers]
    assert [task.labels[n] for n in targets.labels] == [tag for n in numbers for tag in labels[n]]
    assert (stream.position[targets.index] > 0).all() and len(set(targets.index)) == len(targets.index)
    assert Dataset(batch).pick(np.arange(len(numbers))).targets[HEAD].index.tolist() == targets.index.tolist()


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 120))
def test_groups_hold_everything_once_and_no_more_than_the_budget(lengths, budget):
    groups = list(by_length(lengths, budget))
    assert sorted(n for group in groups for n in group) == list(range(len(lengths)))
    assert all(len(group) == 1 or sum(lengths[n] for n in group) <= budget for group in groups)


LONG = [("film",) * 3, ("book", "actor", "storyplayscene") * 8, ("a",)]


@pytest.mark.parametrize("long", ["split", "cut"])
def test_long_sentences_are_split_between_words_or_cut_and_counted(long):
    task = Tag(labels=("O", "B-X", "I-X"), length=12, long=long)
    encoded = task.encode(rows_of(LONG), TOKENS)
    whole = TOKENS.encode_words(LONG)
    stream, index = encoded.data.stream, encoded.data.example.targets[HEAD].index
    assert stream.lengths.max() <= 12
    answered = list(zip(encoded.rows.tolist(), encoded.words.tolist(), strict=True))
    every = [(row, word) for row, words in enumerate(LONG) for word in range(len(words))]
    # each answered at its own first piece
    firsts = {(r, w): int(p.ids[p.word_starts][w]) for r, p in enumerate(whole) for w in range(p.word_starts.sum())}
    assert [firsts[place] for place in answered] == stream.tokens[index].tolist()
    if long == "split":
        assert answered == every and encoded.facts["split_rows"] == 1 and not encoded.facts["cut_tokens"]
        return
    assert answered == every[: len(answered) - 1] + every[-1:]
    lost = len(every) - len(answered)
    assert lost > 0 and encoded.facts["cut_words"] == lost and encoded.facts["cut_rows"] == 1
    assert encoded.cut.tolist()[::2] == [0, 0]
    assert encoded.facts["cut_tokens"] == sum(len(p.ids) for p in whole) - (len(stream.tokens) - 2 * 3)


def test_words_that_were_cut_off_are_predicted_outside_and_count():
    labels = [tuple(["B-X"] * len(words)) for words in LONG]
    task, rows = Tag(labels=("O", "B-X", "I-X"), length=12, long="cut"), rows_of(LONG, labels)
    encoded = task.encode(rows, TOKENS)
    logits = np.tile(np.array([0.0, 9.0, 0.0], np.float32), (len(encoded.rows), 1))
    predictions = task.predictions(logits, encoded, rows)
    assert [len(said.labels) for said in predictions] == [len(words) for words in LONG]
    kept, every = len(encoded.rows), sum(map(len, LONG))
    assert set(predictions[1].labels) == {"B-X", "O"} and predictions[1].probabilities[-1] == 0
    scores = task.scores(predictions, rows)
    assert scores["accuracy"] == pytest.approx(kept / every)
    assert scores["precision"] == 1 and scores["recall"] == pytest.approx(kept / every)


def test_a_word_longer_than_a_sequence_loses_its_end_and_a_word_of_nothing_is_unknown():
    encoded = Tag(labels=("O", "B-X", "I-X"), length=8).encode(rows_of([("filmbook" * 8, "\u200b", "a")]), TOKENS)
    assert encoded.words.tolist() == [0, 1, 2] and encoded.facts["cut_tokens"] > 0
    index = encoded.data.example.targets[HEAD].index
    assert encoded.data.stream.tokens[index[1]] == TOKENS.unk


def test_scores_of_known_predictions():
    rows = rows_of([("t",)] * 4, [("x",), ("x",), ("y",), ("y",)])
    task = classify()
    encoded = task.encode(rows, TOKENS)
    predictions = task.predictions(np.array([[2, 0], [0, 2], [0, 2], [0, 2]], np.float32), encoded, rows)
    assert [said.labels for said in predictions] == [("x",), ("y",), ("y",), ("y",)]
    assert predictions[0].probabilities == (pytest.approx(1 / (1 + np.exp(-2))),)
    assert sum(predictions[0].every.values()) == pytest.approx(1)
    scores = task.scores(predictions, rows)
    assert scores["accuracy"] == 0.75 and scores["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2)
    assert scores["matthews"] == pytest.approx(2 / np.sqrt(12))
    details = task.details(predictions, rows)
    assert details["confusion"] == {"labels": ["x", "y"], "counts": [[1, 1], [0, 2]]}
    assert details["labels"]["x"] == {"precision": 1, "recall": 0.5, "f1": pytest.approx(2 / 3), "count": 2}


def test_any_number_of_labels_may_hold():
    task = classify(multi_label=",", labels=("x", "y", "z"))
    rows = rows_of([("t",)] * 3, [("x", "z"), (), ("y",)])
    encoded = task.encode(rows, TOKENS)
    assert encoded.data.example.targets[HEAD].labels.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    predictions = task.predictions(np.array([[3, -3, 3], [-3, -3, -3], [3, 3, -3]], np.float32), encoded, rows)
    assert [said.labels for said in predictions] == [("x", "z"), (), ("x", "y")]
    scores = task.scores(predictions, rows)
    assert task.main_score == "macro_f1" and scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["micro_f1"] == pytest.approx(6 / 7) and scores["macro_f1"] == pytest.approx((2 / 3 + 1 + 1) / 3)


def test_balanced_weights_are_those_of_scikit_learn(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\n" + "a\tx\n" * 6 + "b\ty\n" * 2)
    task, rows = Classify(class_weights="balanced").fit(path)
    labels = np.array([label for (label,) in rows.labels])
    assert task.class_weights == pytest.approx(
        tuple(compute_class_weight("balanced", classes=np.unique(labels), y=labels))
    )
    loss = task.loss_of(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    assert float(loss.total) == pytest.approx(2 * np.log(2))
    with pytest.raises(UserError, match=r"class-weights: has 3 weights for 2 labels \(x, y\)"):
        Classify(class_weights="1,2,3").fit(path)


def test_inputs_that_are_no_rows_are_refused():
    with pytest.raises(UserError, match=r"row 2: must be a text, not empty; found ''"):
        classify().rows(["fine", ""])
    with pytest.raises(UserError, match="row 1: must be two texts"):
        classify(text_pair="3").rows(["one"])
    with pytest.raises(UserError, match="row 1: must be a list of words"):
        Tag().rows(["one text"])


ODD = [None, 5, 1.5, True, b"fine", {"text": "fine"}, {"fine"}, Ellipsis, np.array(["a", "b", "c"]), "\ud800"]


@pytest.mark.parametrize("odd", [*ODD, ["a", "b", "c"], [["a", "b"]], [None, "a"], [], ""], ids=repr)
def test_whatever_is_no_row_is_refused_by_its_number(odd):
    for task, good in ((classify(), "fine"), (classify(text_pair="3"), ("a", "b"))):
        with pytest.raises(UserError, match=r"row 2: must be (a text|two texts), not empty; found ") as told:
            task.rows([good, odd])
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "odd", [*ODD, ["a", ""], ["a", None], [["a", "b"]], [b"a"], [], ["a", "\udfff"], "a"], ids=repr
)
def test_whatever_is_no_list_of_words_is_refused_by_its_number(odd):
    with pytest.raises(UserError, match=r"row 2: must be a list of words, none of them empty; found ") as told:
        Tag().rows([["fine"], odd])
    assert "\n" not in str(told.value)


def test_what_was_found_is_shown_on_one_short_line():
    with pytest.raises(UserError) as told:
        classify().rows([("long\n" * 10**6, "b")])
    assert len(str(told.value)) < 200 and "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["mean", "max", "attention"])
def test_pooling_is_that_of_each_sequence_alone(name):
    torch.manual_seed(0)
    lengths = [5, 1, 7]
    states = torch.randn(13, 8, requires_grad=True)
    attention = AttentionPooling(8)
    pool = {"mean": mean, "max": largest, "attention": attention}[name]
    found = pool(states, Layout.of(np.array(lengths)))
    alone = []
    for part in states.split(lengths):
        weights = attention.score(part).softmax(0)
        alone.append({"mean": part.mean(0), "max": part.max(0).values, "attention": (weights * part).sum(0)}[name])
    torch.testing.assert_close(found, torch.stack(alone))
    ours, theirs = (
        torch.autograd.grad(x.square().sum(), states, retain_graph=True)[0] for x in (found, torch.stack(alone))
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("pool", ["cls", "mean", "max", "attention"])
def test_a_row_is_classified_as_if_it_were_alone(pool):
    shape = Shape(**SHAPE, vocab_size=TOKENS.size)
    task = classify(pool=pool)
    torch.manual_seed(0)
    network = Network(Encoder(shape), task.heads(shape)).eval()
    encoded = task.encode(rows_of([(text,) for text in TEXTS[:6]]), TOKENS)
    with torch.no_grad():
        together = task.logits(network, collate(encoded.data.pick(np.arange(6))))
        alone = [task.logits(network, collate(encoded.data.pick(np.array([n])))) for n in range(6)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_a_decoder_that_reads_an_encoder_is_no_base_of_a_task():
    with pytest.raises(UserError, match="a task cannot be asked of an encoder-decoder; an encoder would fit"):
        classify().suited(Shape(**SHAPE, decoder_layers=2), 16)
