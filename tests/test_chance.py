"""Chance is a pure function of its address, and looks like chance."""

import numpy as np
import pytest

from unmask.text.chance import Chance, again, fraction, generator, permutation


def lengths(n, seed=0):
    return np.random.default_rng(seed).integers(1, 60, n)


def test_a_sequence_draws_the_same_whatever_else_is_in_the_batch():
    size = lengths(50)
    ids = np.arange(50) * 7 + 3
    whole = np.split(Chance.of(1, 2, ids).bits(size, "x"), np.cumsum(size)[:-1])
    for n in (0, 13, 49):
        alone = Chance.of(1, 2, ids[[n]]).bits(size[[n]], "x")
        assert np.array_equal(alone, whole[n])
    backwards = Chance.of(1, 2, ids[::-1]).bits(size[::-1], "x")
    assert np.array_equal(backwards[: size[-1]], whole[-1])


def test_a_longer_sequence_begins_with_the_same_numbers():
    short = Chance.of(1, 0, np.array([5])).bits(np.array([10]), "x")
    long = Chance.of(1, 0, np.array([5])).bits(np.array([100_000]), "x")
    assert np.array_equal(long[:10], short)
    assert len(np.unique(long)) == len(long)


@pytest.mark.parametrize(
    "other",
    [Chance.of(2, 0, np.arange(9)), Chance.of(1, 1, np.arange(9)), Chance.of(1, 0, np.arange(1, 10))],
    ids=["seed", "epoch", "sequence"],
)
def test_every_part_of_the_address_matters(other):
    one, size = Chance.of(1, 0, np.arange(9)), np.full(9, 20)
    assert not np.any(one.bits(size, "x") == other.bits(size, "x"))
    assert not np.any(one.sequences("x") == other.sequences("x"))


def test_purposes_and_further_draws_are_different_numbers():
    chance, size = Chance.of(1, 0, np.arange(9)), np.full(9, 1000)
    bits = chance.bits(size, "x")
    for other in (chance.bits(size, "y"), again(bits), again(bits, 2)):
        assert not np.any(bits == other)
        assert abs(np.corrcoef(fraction(bits), fraction(other))[0, 1]) < 0.05


def test_each_sequence_may_stand_in_its_own_epoch():
    mixed = Chance.of(1, np.array([0, 1]), np.array([4, 4])).sequences("x")
    assert mixed[0] == Chance.of(1, 0, np.array([4])).sequences("x")[0]
    assert mixed[1] == Chance.of(1, 1, np.array([4])).sequences("x")[0]


def test_numbers_are_uniform():
    drawn = Chance.of(3, 0, np.arange(2000)).tokens(np.full(2000, 100), "x")
    counts = np.histogram(drawn, 100, (0, 1))[0]
    assert drawn.min() >= 0
    assert drawn.max() < 1
    chi_square = ((counts - 2000) ** 2 / 2000).sum()
    assert chi_square < 99 + 5 * np.sqrt(2 * 99)


def test_neighbours_and_neighbouring_sequences_are_unrelated():
    drawn = Chance.of(3, 0, np.arange(1000)).tokens(np.full(1000, 100), "x").reshape(1000, 100)
    assert abs(np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]) < 0.02


def test_nothing_drawn_of_nothing():
    assert len(Chance.of(1, 0, np.arange(0)).bits(np.arange(0), "x")) == 0


def test_permutations_hold_everything_once_and_depend_on_the_address():
    one = permutation(1000, "rows", 1, 2)
    assert np.array_equal(np.sort(one), np.arange(1000))
    assert np.array_equal(one, permutation(1000, "rows", 1, 2))
    for address in (("rows", 1, 3), ("rows", 2, 1), ("shards", 1, 2)):
        assert not np.array_equal(one, permutation(1000, *address))


def test_a_generator_of_a_sequence_is_its_own():
    chance = Chance.of(1, 0, np.arange(5))
    assert chance.generator(3, "x").random() == Chance.of(1, 0, np.array([3])).generator(0, "x").random()
    assert generator("a", 1).random() != generator("b", 1).random()
