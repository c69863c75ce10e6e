"""What masking promises: rates, fates, whole units, special tokens left alone; and each sequence by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_corpus import FakeTokenizer
from unmask.text.chance import Chance
from unmask.text.corruption import masking
from unmask.text.corruption.spans import NGRAM, SHORT, SPAN, UNILM, choose_spans
from unmask.text.example import Stream
from unmask.text.ranges import inside, runs

TOKENIZER = FakeTokenizer()
UNITS = ("token", "whole_word", "ngram", "span", "unilm", "short_span")
each_unit = pytest.mark.parametrize("unit", UNITS)


def stream_of(sequences=400, words=90, longest_word=3, seed=0, inner_separators=True):
    """Sequences [CLS] words [SEP], every second one with a separator inside."""
    rng = np.random.default_rng(seed)
    sizes = np.ones((sequences, words + 3), int)  # [CLS], words up to the separator, separator, words, [SEP]
    is_word = np.ones(sizes.shape, bool)
    is_word[:, [0, words // 3 + 1, -1]] = False
    sizes[is_word] = rng.integers(1, longest_word + 1, is_word.sum())
    sizes[slice(0, None, 2 if inner_separators else 1), words // 3 + 1] = 0
    items = np.where(is_word.ravel(), np.cumsum(is_word) - 1, -1)
    units = np.repeat(items, sizes.ravel()).astype(np.int32)
    tokens = np.where(units < 0, TOKENIZER.sep, rng.integers(5, 1000, len(units)))
    return Stream(tokens, sizes.sum(1), None, units)


def chance_of(stream, epoch=0, seed=0):
    return Chance.of(seed, epoch, np.arange(len(stream.lengths)))


def within(count, n, share, spread=1.0):
    """Whether a count lies within 5 deviations of a binomial one (``spread``: how many fall together, on average)."""
    return abs(count - n * share) <= 5 * np.sqrt(n * share * (1 - share) * spread)


@pytest.fixture(scope="module")
def stream():
    return stream_of()


@each_unit
@pytest.mark.parametrize("rate", [0.15, 0.3])
def test_rate_is_kept_and_special_tokens_never_chosen(stream, unit, rate):
    _, targets = masking.mask_tokens(stream, TOKENIZER, chance_of(stream), rate, unit=unit)
    spread = {"token": 1, "whole_word": 3, "ngram": 6, "span": 20, "unilm": 2, "short_span": 3}[unit]
    assert within(len(targets.index), (stream.units >= 0).sum(), rate, spread)
    assert (stream.units[targets.index] >= 0).all()


@each_unit
def test_answers_are_the_tokens_that_stood_there_and_nothing_else_changed(stream, unit):
    masked, targets = masking.mask_tokens(stream, TOKENIZER, chance_of(stream), unit=unit)
    assert np.array_equal(targets.labels, stream.tokens[targets.index])
    assert np.array_equal(targets.index, np.unique(targets.index))
    untouched = np.setdiff1d(np.arange(len(stream.tokens)), targets.index)
    assert np.array_equal(masked.tokens[untouched], stream.tokens[untouched])
    assert (stream.tokens >= 2).all()  # what was given is as it was
    assert not np.shares_memory(masked.tokens, stream.tokens)


@each_unit
@pytest.mark.parametrize(("mask", "random"), [(0.8, 0.1), (0.5, 0.5), (0.0, 0.0), (1.0, 0.0)])
def test_fates_have_their_shares(stream, unit, mask, random):
    masked, targets = masking.mask_tokens(stream, TOKENIZER, chance_of(stream), 0.2, mask, random, unit)
    now, n, spread = masked.tokens[targets.index], len(targets.index), {"span": 20, "short_span": 3}.get(unit, 1)
    is_mask = now == TOKENIZER.mask
    swapped = ~is_mask & (now != targets.labels)
    assert within(is_mask.sum(), n, mask, spread)
    assert within(swapped.sum(), n, random * (1 - 1 / 995), spread)


def test_random_tokens_are_ordinary_and_of_the_whole_vocabulary(stream):
    masked, targets = masking.mask_tokens(stream, TOKENIZER, chance_of(stream), 0.9, 0.0, 1.0)
    now = masked.tokens[targets.index]
    assert now.min() == 5
    assert now.max() == 999
    counts = np.bincount(now, minlength=1000)[5:]
    expected = len(now) / 995
    assert ((counts - expected) ** 2 / expected).sum() < 994 + 5 * np.sqrt(2 * 994)


def test_random_tokens_do_not_depend_on_what_they_replace(stream):
    masked, targets = masking.mask_tokens(stream, TOKENIZER, chance_of(stream), 0.9, 0.0, 1.0)
    assert abs(np.corrcoef(masked.tokens[targets.index], targets.labels)[0, 1]) < 0.02


@pytest.mark.parametrize("unit", ["whole_word", "span"])
def test_no_word_is_ever_split(stream, unit):
    _, targets = masking.mask_tokens(stream, TOKENIZER, chance_of(stream), 0.3, unit=unit)
    hidden = np.bincount(stream.units[targets.index], minlength=stream.units.max() + 1)
    size = np.bincount(stream.units[stream.units >= 0])
    assert np.isin(hidden - size, [*(-size), 0]).all()
    assert ((hidden == 0) | (hidden == size)).all()


@pytest.mark.parametrize("unit", ["whole_word", "ngram", "span"])
def test_chinese_words_of_several_characters_are_never_split(unit):
    # 我们 在 北京 大学 读书 。: a token per character, a unit per word
    words = ["我们", "在", "北京", "大学", "读书", "。"] * 40
    units = np.array([-1, *np.repeat(np.arange(len(words)), [len(w) for w in words]), -1])
    tokens = np.where(units < 0, 2, 100 + np.arange(len(units)))
    sentence = Stream(tokens, np.array([len(tokens)]), None, units)
    size = np.bincount(units[units >= 0])
    for seed in range(20):
        _, targets = masking.mask_tokens(sentence, TOKENIZER, chance_of(sentence, 0, seed), unit=unit)
        hidden = np.bincount(units[targets.index], minlength=len(size))
        assert hidden.any()
        assert ((hidden == 0) | (hidden == size)).all()


def test_pieces_of_a_word_each_have_their_own_fate(stream):
    masked, targets = masking.mask_tokens(stream, TOKENIZER, chance_of(stream), 0.5, 0.5, 0.0, unit="whole_word")
    is_mask = masked.tokens[targets.index] == TOKENIZER.mask
    words = stream.units[targets.index]
    share = np.bincount(words, is_mask) / np.maximum(1, np.bincount(words))
    assert ((share > 0) & (share < 1)).any()


def test_an_unknown_token_inside_a_word_does_not_split_it():
    units = np.tile([-1, 0, 0, -1, 0, 1, -1], 200) + np.repeat(np.arange(200) * 2, 7)
    units[np.tile([True, False, False, True, False, False, True], 200)] = -1
    chosen = masking.choose_words(units, Chance.of(0, 0, np.arange(1)).bits(np.array([1400]), "x"), 0.5)
    hidden = np.bincount(units[chosen], minlength=400).reshape(200, 2)
    assert set(hidden[:, 0].tolist()) == {0, 3}


@pytest.mark.parametrize("kind", [NGRAM, SPAN])
def test_nor_where_spans_are_hidden(kind):
    """Words of three tokens, the middle one of every other word unknown."""
    units = np.repeat(np.arange(300), 3)
    units[1::6] = -1
    index, first = choose_spans(units, Chance.of(0, 0, np.arange(1)).bits(np.array([900]), "x"), 0.3, kind)
    hidden = np.bincount(units[index], minlength=300)
    assert set(hidden[::2].tolist()) == {0, 2} and set(hidden[1::2].tolist()) == {0, 3}
    assert (units[index] >= 0).all() and (units[first] >= 0).all() and (first <= index).all()
    assert 60 < np.count_nonzero(hidden) < 120


# --- spans ---------------------------------------------------------------------------------------------------------


def test_spans_are_of_3_8_words_on_average_and_of_ten_at_most():
    stream = stream_of(5000, words=100)
    index, first = choose_spans(stream.units, chance_of(stream).bits(stream.lengths, "x"), 0.15)
    words = np.unique(np.stack([first, stream.units[index]]), axis=1)  # each word of each span once
    lengths = np.unique(words[0], return_counts=True)[1]
    assert abs(lengths.mean() - 3.8) < 0.1
    shares = np.bincount(lengths, minlength=11)[1:] / len(lengths)
    assert len(shares) == 10
    assert abs(shares - 0.2 * 0.8 ** np.arange(10) / (1 - 0.8**10)).max() < 0.01


@pytest.mark.parametrize(
    ("kind", "shares"), [(NGRAM, [6 / 11, 3 / 11, 2 / 11]), (UNILM, [0.8, 0.1, 0.1]), (SHORT, [1 / 3] * 3)]
)
def test_ngrams_are_as_long_as_their_papers_say(kind, shares):
    stream = stream_of(5000, words=100)
    index, first = choose_spans(stream.units, chance_of(stream).bits(stream.lengths, "x"), 0.15, kind)
    words = np.unique(np.stack([first, stream.units[index]]), axis=1)
    lengths = np.unique(words[0], return_counts=True)[1]
    assert abs(np.bincount(lengths)[1:] / len(lengths) - shares).max() < 0.01
    assert len(words[1]) / len(np.unique(stream.units[stream.units >= 0])) == pytest.approx(0.15, abs=0.002)


@pytest.mark.parametrize("words", [4, 10, 30, 300])
def test_spans_spend_the_budget_at_any_length(words):
    shares = []
    for seed in range(20):
        stream = stream_of(200, words=words, seed=seed)
        index, _ = choose_spans(stream.units, chance_of(stream, 0, seed).bits(stream.lengths, "x"), 0.15)
        shares.append(len(index) / (stream.units >= 0).sum())
    assert abs(np.mean(shares) - 0.15) <= 5 * np.std(shares) / np.sqrt(20)


def test_spans_neither_touch_nor_cross_special_tokens(stream):
    index, first = choose_spans(stream.units, chance_of(stream).bits(stream.lengths, "x"), 0.3)
    neighbours = np.diff(index) == 1
    assert np.array_equal(neighbours, np.diff(first) == 0)
    assert np.isin(first, index).all()


def test_spans_lie_anywhere():
    stream = stream_of(6000, words=60, longest_word=1, inner_separators=False)
    index, _ = choose_spans(stream.units, chance_of(stream).bits(stream.lengths, "x"), 0.15)
    where = np.bincount(stream.position[index], minlength=62)[1:-1] / 6000
    assert abs(where[10:-10] - where[10:-10].mean()).max() < 0.025
    assert where.min() > 0.02  # few spans can cover the first word


def test_a_span_has_one_fate(stream):
    masked, targets = masking.mask_tokens(stream, TOKENIZER, chance_of(stream), 0.15, 0.5, 0.0, unit="span")
    is_mask = masked.tokens[targets.index] == TOKENIZER.mask
    neighbours = np.diff(targets.index) == 1
    assert (np.diff(is_mask.astype(int))[neighbours] == 0).all()
    assert is_mask.any()
    assert not is_mask.all()


# --- each sequence by itself ---------------------------------------------------------------------------------------


@each_unit
def test_a_sequence_is_masked_alike_alone_and_in_company(unit):
    stream = stream_of(30, words=50)
    whole, _ = masking.mask_tokens(stream, TOKENIZER, chance_of(stream), unit=unit)
    for n in (0, 11, 29):
        mine = slice(stream.starts[n], stream.starts[n] + stream.lengths[n])
        units = np.where(stream.units[mine] < 0, -1, stream.units[mine] + 17)  # numbered otherwise
        alone = Stream(stream.tokens[mine], stream.lengths[[n]], None, units)
        masked, _ = masking.mask_tokens(alone, TOKENIZER, Chance.of(0, 0, np.array([n])), unit=unit)
        assert np.array_equal(masked.tokens, whole.tokens[mine])


@each_unit
def test_epochs_and_seeds_mask_differently(stream, unit):
    def places(epoch, seed):
        return masking.mask_tokens(stream, TOKENIZER, chance_of(stream, epoch, seed), unit=unit)[1].index.tolist()

    assert places(0, 0) == places(0, 0)
    assert len({tuple(places(e, s)) for e in range(3) for s in range(3)}) == 9


@given(
    st.lists(st.lists(st.integers(-1, 6), min_size=1, max_size=20), min_size=1, max_size=6),
    st.sampled_from(UNITS),
    st.floats(0.01, 0.5),
    st.integers(0, 1000),
)
@settings(max_examples=200, deadline=None)
def test_any_shape_of_batch_can_be_masked(sequences, unit, rate, seed):
    # a positive number: a word of so many tokens; otherwise a special token
    units, word = [], 0
    for sizes in sequences:
        for size in sizes:
            units += [word] * size if size > 0 else [-1]
            word += 1
    lengths = np.array([sum(max(1, size) for size in sizes) for sizes in sequences])
    batch = Stream(np.arange(5, 5 + len(units)), lengths, None, np.array(units))
    _, targets = masking.mask_tokens(batch, TOKENIZER, chance_of(batch, 0, seed), rate, unit=unit)
    assert (batch.units[targets.index] >= 0).all()
    assert np.array_equal(targets.labels, batch.tokens[targets.index])
    if unit not in ("token", "unilm", "short_span"):
        kept = np.setdiff1d(batch.units, [-1])
        hidden = set(batch.units[targets.index].tolist())
        assert all(np.isin(np.flatnonzero(batch.units == w), targets.index).all() == (w in hidden) for w in kept)


@pytest.mark.parametrize("seed", range(40))
def test_chosen_words_are_those_whose_first_token_is_drawn(seed):
    """Found from the drawn tokens on, they are those that are found by looking at all; special tokens anywhere."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 60))
    units = np.maximum(np.cumsum(rng.random(count) < 0.6) - 1, 0)
    units = units % 3 if seed % 4 == 0 else units
    units[rng.random(count) < (0.3 if seed % 2 else 0)] = -1
    bits = rng.integers(0, 2**64, count, dtype=np.uint64)
    begin, end = runs(units)
    drawn = np.flatnonzero(bits[begin] < np.uint64(0.4 * 2**64))
    expected, _ = inside(units, begin[drawn], end[drawn])
    np.testing.assert_array_equal(masking.choose_words(units, bits, 0.4), expected)


def test_runs_skip_special_tokens():
    begin, end = runs(np.array([-1, 0, 0, -1, 0, 1, -1, -1, 2, -1]))
    assert begin.tolist() == [1, 5, 8] and end.tolist() == [5, 6, 9]
    assert [len(each) for each in runs(np.array([-1, -1]))] == [0, 0]
