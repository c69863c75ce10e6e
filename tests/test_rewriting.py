"""What MASS and BART promise of the texts that a decoder is asked to write."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from fake_corpus import FakeCorpus, corpus_of
from test_every_objective import network_of, slots_of, texts_of
from unmask.commands.pretrain import Pretrain
from unmask.config import build
from unmask.nn.batch import collate
from unmask.objectives.denoising import Denoising, Noise
from unmask.objectives.masked_seq2seq import MaskedSeq2seq
from unmask.text.chance import Chance
from unmask.text.corruption import noising
from unmask.text.corruption.spans import choose_spans
from unmask.text.example import Stream
from unmask.text.sampling.plan import Plan, stages

NOISES = Noise.__args__
LISTS = [*((noise,) for noise in NOISES), NOISES, ("document_rotation", "text_infilling")]
each_list = pytest.mark.parametrize("noise", LISTS, ids="+".join)


@pytest.fixture(scope="module")
def corpus():
    return corpus_of(shards=2, documents=40, sentences=30, words=8)


def drawn(objective, corpus, rows=60, length=128):
    """Before and after."""
    plan = Plan(corpus, "doc_sentences", length, rows)
    before, after = stages(*slots_of(plan), [objective], corpus.tokenizer, 0)
    return before.streams["encoder"], after


def numbered(sentences, texts):
    """So many sequences of [CLS], sentences of so many one-token words, [SEP]; each token is another one."""
    length = sum(sentences) + 2
    tokens = 100 + np.arange(texts * length)
    tokens[::length], tokens[length - 1 :: length] = 2, 3
    units = np.where(tokens < 100, -1, np.arange(len(tokens)))
    begins = np.zeros(length, bool)
    begins[np.cumsum([1, *sentences[:-1]])] = True
    return Stream(tokens, np.full(texts, length), units=units, sentences=np.tile(begins, texts))


def chance_of(stream, seed=0):
    return Chance.of(seed, 0, np.arange(len(stream.lengths)))


class Masks:
    mask = 4


# --- BART ----------------------------------------------------------------------------------------------------------


@each_list
def test_the_target_is_the_clean_text_whatever_the_noise(noise, corpus):
    clean, after = drawn(Denoising(noise=noise), corpus)
    decoder, asked = after.streams["decoder"], after.targets["decoder_lm"]
    assert (decoder.reads, asked.stream) == ("encoder", "decoder")
    assert np.array_equal(decoder.lengths, clean.lengths)
    known = clean.tokens != corpus.tokenizer.unk
    assert np.array_equal(asked.index, np.flatnonzero(known))
    assert np.array_equal(asked.labels, clean.tokens[known])
    for given, text in zip(texts_of(decoder), texts_of(clean), strict=True):
        assert given == [corpus.tokenizer.sep, *text[:-1]]
    spoilt = after.streams["encoder"]
    assert len(spoilt.lengths) == len(clean.lengths) and spoilt.lengths.sum() == len(spoilt.tokens)
    assert not np.array_equal(spoilt.tokens, clean.tokens)


@each_list
def test_every_token_comes_from_the_text_or_is_a_mask(noise, corpus):
    clean, after = drawn(Denoising(noise=noise), corpus)
    for text, spoilt in zip(texts_of(clean), texts_of(after.streams["encoder"]), strict=True):
        kept = [token for token in spoilt if token != corpus.tokenizer.mask]
        for token in set(kept):
            assert kept.count(token) <= text.count(token)


def test_the_defaults_are_the_papers():
    assert Denoising().noise == ("text_infilling", "sentence_permutation")
    assert (Denoising().rate, Denoising().span) == (0.3, 3.0)


def test_token_masking_leaves_all_else_in_place(corpus):
    clean, after = drawn(Denoising(noise=("token_masking",)), corpus)
    spoilt, masked = after.streams["encoder"], after.streams["encoder"].tokens == corpus.tokenizer.mask
    assert np.array_equal(spoilt.tokens[~masked], clean.tokens[~masked])
    ordinary = (clean.units >= 0).sum()
    assert (clean.units[masked] >= 0).all()
    assert abs(masked.sum() / ordinary - 0.3) < 5 * math.sqrt(0.21 / ordinary)


def test_token_deletion_leaves_no_trace():
    stream = numbered([20, 30], 400)
    spoilt = noising.delete_tokens(stream, chance_of(stream), 0.3)
    for text, left in zip(texts_of(stream), texts_of(spoilt), strict=True):
        assert left == [token for token in text if token in set(left)], "in their order"
        assert (left[0], left[-1]) == (text[0], text[-1])
    ordinary = 400 * 50
    assert abs((len(stream.tokens) - len(spoilt.tokens)) / ordinary - 0.3) < 5 * math.sqrt(0.21 / ordinary)


def spans_of(text, spoilt):
    """Tokens missing at each mask that no other one stands beside, and all masks, and all that is missing."""
    found, last = [], 0
    padded = [0, *spoilt, 0]
    for before, token, after in zip(padded, padded[1:], padded[2:], strict=False):
        if token != 4:
            last = token
        elif 4 not in (before, after):
            found.append(text.index(after) - text.index(last) - 1)
    return found, spoilt.count(4), len(text) - len(spoilt) + spoilt.count(4)


@pytest.mark.parametrize("mean", [3.0, 1.5])
@pytest.mark.parametrize("rate", [0.15, 0.3])
def test_infilled_spans_are_poisson_and_some_have_no_length(rate, mean):
    stream = numbered([100], 1200)
    spoilt = noising.infill(stream, Masks(), chance_of(stream), rate, mean)
    found, masks, missing = [], 0, 0
    for text, left in zip(texts_of(stream), texts_of(spoilt), strict=True):
        kept = [token for token in left if token != 4]
        assert kept == [token for token in text if token in set(kept)], "what is seen stands in its order"
        spans, count, gone = spans_of(text, left)
        found, masks, missing = found + spans, masks + count, missing + gone
    assert abs(missing / 120_000 - rate) < 0.01
    assert abs(missing / masks - mean) < 0.02 * mean, "one mask for each span, those without length too"
    counts = np.bincount(found, minlength=12)[:12] / len(found)
    poisson = [math.exp(-mean) * mean**n / math.factorial(n) for n in range(12)]
    assert np.abs(counts - poisson).max() < 0.02
    spans = len(set(choose_spans(stream.units, chance_of(stream).bits(stream.lengths, "infill"), rate,
                                 noising._poisson(mean))[1].tolist()))  # fmt: skip
    empty = math.exp(-mean)
    assert abs((masks - spans) / masks - empty) < 4 * math.sqrt(empty * (1 - empty) / masks), "those without length"


def test_no_word_is_cut_by_a_span(corpus):
    clean, _ = drawn(Denoising(noise=("text_infilling",)), corpus)
    traced = replace(clean, tokens=np.where(clean.units < 0, clean.tokens, 5000 + np.arange(len(clean.tokens))))
    spoilt = noising.infill(traced, corpus.tokenizer, chance_of(traced), 0.3, 3.0)
    seen = np.isin(traced.tokens, spoilt.tokens)
    words = clean.units[clean.units >= 0]
    whole = np.bincount(words)
    left = np.bincount(clean.units[(clean.units >= 0) & seen], minlength=len(whole))
    assert set(np.unique(left[left > 0] == whole[left > 0])) == {True} and (left == 0).any()


def test_sentences_change_places_and_stay_whole():
    sentences = [4, 1, 7]
    stream = numbered(sentences, 6000)
    orders = {}
    for text, left in zip(
        texts_of(stream), texts_of(noising.permute_sentences(stream, chance_of(stream))), strict=True
    ):
        edges, chain = np.cumsum([1, *sentences]), itertools.chain.from_iterable
        parts = [text[a:b] for a, b in itertools.pairwise(edges)]
        order = next(o for o in itertools.permutations(range(3)) if left == [2, *chain(parts[n] for n in o), 3])
        orders[order] = orders.get(order, 0) + 1
    assert len(orders) == 6
    assert all(abs(count / 6000 - 1 / 6) < 5 * math.sqrt(5 / 36 / 6000) for count in orders.values())


def test_a_document_without_a_first_special_token_moves_as_a_whole():
    """T5's vocabulary has no [CLS]."""
    whole = numbered([4, 1, 7], 50)
    stream = whole.pick(np.flatnonzero(whole.position > 0))
    for change in (noising.permute_sentences, noising.rotate):
        bare, usual = change(stream, chance_of(stream), lead=0), change(whole, chance_of(whole))
        assert (
            sorted(bare.tokens) == sorted(stream.tokens)
            and (bare.tokens[bare.starts] != stream.tokens[stream.starts]).any()
        )
        assert (bare.tokens[bare.starts + 12] == 3).all() and (usual.tokens[usual.starts] == 2).all()
    firsts = {
        texts_of(noising.permute_sentences(stream, chance_of(stream), lead=0))[n][0] - stream.tokens[13 * n]
        for n in range(50)
    }
    assert firsts == {0, 4, 5}


def test_a_document_is_turned_to_begin_anywhere():
    stream, begins = numbered([10], 5000), np.zeros(10)
    for text, left in zip(texts_of(stream), texts_of(noising.rotate(stream, chance_of(stream))), strict=True):
        inner, first = text[1:-1], text.index(left[1]) - 1
        assert left == [2, *inner[first:], *inner[:first], 3]
        begins[first] += 1
    assert np.abs(begins / 5000 - 0.1).max() < 5 * math.sqrt(0.09 / 5000)


def test_noise_can_be_listed_on_the_command_line():
    asked = {"corpus": "c", "out": "o", "objective": "denoising", "objective.noise": "token_deletion,document_rotation"}
    (objective,) = build(Pretrain, asked).objectives.values()
    assert objective.noise == ("token_deletion", "document_rotation")


@pytest.mark.parametrize(("settings", "why"), [
    ({"noise": ()}, "at least 1"),
    ({"noise": ("token_masking", "token_masking")}, "named twice"),
    ({"noise": ("shuffling",)}, "sentence_permutation"),
    ({"rate": 1.0}, "less than 1"),
    ({"span": 0}, "greater than 0"),
])  # fmt: skip
def test_impossible_noise_is_refused(settings, why):
    with pytest.raises(ValidationError, match=why):
        Denoising(**settings)


@pytest.mark.parametrize("other", ["masked_lm", "denoising"])
def test_a_decoder_writes_one_text(other):
    with pytest.raises(ValidationError, match=r"no model can be asked all of these|a decoder is asked for one text"):
        Pretrain(corpus="c", out="o", objective=f"masked_seq2seq,{other}")


def test_a_model_with_a_decoder_is_taken_and_others_are_refused():
    assert Pretrain(corpus="c", out="o", objective="denoising").shape.flow == "encoder_decoder"
    with pytest.raises(ValidationError, match="denoising cannot train bert-tiny; --model could be bart-tiny"):
        Pretrain(corpus="c", out="o", objective="denoising", model="bert-tiny")


# --- MASS ----------------------------------------------------------------------------------------------------------


def test_half_of_a_text_is_hidden_in_one_piece_and_asked_for(corpus):
    clean, after = drawn(MaskedSeq2seq(mask=1, random=0), corpus)
    hidden, decoder, asked = after.streams["encoder"], after.streams["decoder"], after.targets["decoder_lm"]
    labels, ends = np.full(len(decoder.tokens), corpus.tokenizer.unk), np.cumsum(decoder.lengths)
    labels[asked.index] = asked.labels
    for n, (text, left) in enumerate(zip(texts_of(clean), texts_of(hidden), strict=True)):
        wanted = labels[ends[n] - decoder.lengths[n] : ends[n]].tolist()
        (first,) = {int(decoder.places[ends[n] - decoder.lengths[n]]) + 1}
        assert len(wanted) == max(1, round((len(text) - 2) / 2))
        inside = range(first, first + len(wanted))
        assert [text[place] for place in inside] == wanted
        assert all((left[p] == corpus.tokenizer.mask) if p in inside else left[p] == text[p] for p in range(len(text)))
        given = decoder.tokens[ends[n] - decoder.lengths[n] : ends[n]].tolist()
        assert given == [corpus.tokenizer.mask, *wanted[:-1]]
        assert decoder.places[ends[n] - 1] == first + len(wanted) - 2


def test_hidden_tokens_are_masked_replaced_or_kept(corpus):
    clean, after = drawn(MaskedSeq2seq(share=1.0), corpus, rows=120)
    before, now = (s.tokens[clean.units >= 0] for s in (clean, after.streams["encoder"]))
    masked, kept = now == corpus.tokenizer.mask, now == before
    for share, expected in ((masked, 0.8), (kept, 0.1), (~masked & ~kept, 0.1)):
        assert abs(share.mean() - expected) < 5 * math.sqrt(0.16 / len(now)) + 0.001  # a random one may be the same


def test_a_fragment_begins_anywhere():
    corpus = FakeCorpus([[[30] for _ in range(3000)]], longest_word=1)
    _, after = drawn(MaskedSeq2seq(), corpus, rows=2000, length=32)
    first = after.streams["decoder"].places[after.streams["decoder"].starts]
    assert set(first.tolist()) == set(range(16))
    assert np.abs(np.bincount(first) / len(first) - 1 / 16).max() < 5 * math.sqrt(1 / 16 / len(first))


def test_a_fragment_of_one_token_is_masked_lm(corpus):
    """One token of a text is hidden, and asked for where nothing of the text is given but what the encoder sees."""
    clean, after = drawn(MaskedSeq2seq(share=1e-9), corpus, length=64)
    decoder, asked = after.streams["decoder"], after.targets["decoder_lm"]
    assert (decoder.lengths == 1).all() and (decoder.tokens == corpus.tokenizer.mask).all()
    places = clean.starts + decoder.places + 1
    assert np.array_equal(clean.tokens[places][asked.index], asked.labels)
    assert set(np.flatnonzero(after.streams["encoder"].tokens != clean.tokens)) <= set(places)
    # the answer depends on all of the text but the token itself, as that of masked LM
    network = network_of({"masked_seq2seq": MaskedSeq2seq()}).eval()
    batch = collate(after)
    network.backbone.embeddings.register_forward_hook(lambda m, i, out: seen.append(out))
    seen = []
    (gradient,) = torch.autograd.grad(network.states(batch, "decoder")[0].square().sum(), seen)
    assert (gradient.abs().sum(-1) > 0).tolist() == [n < clean.lengths[0] for n in range(len(gradient))]


def test_a_fragment_of_the_whole_text_is_causal_lm(corpus):
    """The encoder sees nothing of the text, and each token is predicted from those before it alone, bit by bit."""
    clean, after = drawn(MaskedSeq2seq(share=1, mask=1, random=0), corpus, rows=4, length=64)
    hidden, decoder = after.streams["encoder"], after.streams["decoder"]
    assert (hidden.tokens[clean.units >= 0] == corpus.tokenizer.mask).all()
    assert np.array_equal(decoder.lengths, clean.lengths - 2)
    for text, given in zip(texts_of(clean), texts_of(decoder), strict=True):
        assert given == [corpus.tokenizer.mask, *text[1:-2]]
    assert np.array_equal(decoder.places, decoder.position) and np.array_equal(decoder.starts, np.flatnonzero(
        decoder.places == 0))  # fmt: skip
    network = network_of({"masked_seq2seq": MaskedSeq2seq()}).eval()
    before = network.states(collate(after), "decoder")
    tokens = decoder.tokens.copy()
    changed = int(decoder.starts[1]) + 3
    tokens[changed] = 999 - tokens[changed]
    now = network.states(collate(after.with_stream(replace(decoder, tokens=tokens), "decoder")), "decoder")
    own = decoder.sequence == decoder.sequence[changed]
    differs = (now != before).any(-1).numpy()
    assert np.array_equal(differs, own & (np.arange(len(own)) >= changed))
    assert torch.equal(before[~torch.from_numpy(differs)], now[~torch.from_numpy(differs)])


@pytest.mark.parametrize(("settings", "why"), [
    ({"share": 0}, "greater than 0"), ({"share": 1.1}, "less than or equal to 1"),
    ({"mask": 0.8, "random": 0.3}, "more than 1"),
])  # fmt: skip
def test_impossible_fragments_are_refused(settings, why):
    with pytest.raises(ValidationError, match=why):
        MaskedSeq2seq(**settings)
