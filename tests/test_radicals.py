"""Radicals, the characters that are left out, and neighbours."""

import numpy as np
import pytest

from radicals import FAMILY, chance, left_out, nearest, radical, share, shown
from unmask.static.vectors import WordVectors


@pytest.mark.parametrize(
    ("characters", "wanted"),
    [("江河海水", "水"), ("打拍手", "手"), ("说话語", "言"), ("钱铁鐵", "金"), ("花草", "艸"), ("一丁", "一"),
     ("都邮", "邑"), ("院阳", "阜"), ("脸肉", "肉"), ("朗月", "月"), ("龠龥", "龠")],
)  # fmt: skip
def test_radicals_are_kangxis(characters, wanted):
    assert {radical(character) for character in characters} == {wanted}


def test_what_stands_in_no_order_has_none():
    assert [radical(character) for character in "a㐀\u9fa6。"] == [None] * 4


def test_rare_characters_of_large_families_are_left_out():
    water = [chr(ord("江") + n) for n in range(FAMILY + 2)]
    counts = dict.fromkeys(water[:FAMILY], 100) | dict.fromkeys(water[FAMILY:], 5) | {"打": 5, "拍": 100}
    assert left_out(counts, 9) == water[FAMILY:]  # one other is no family
    assert left_out(counts | {water[0]: 5}, 9) == []  # nine others are too few
    assert len(left_out(counts, 1)) == 1


def test_neighbours_are_of_those_that_were_seen():
    words = ["江", "河", "打", "拍", "海"]
    rows = np.array([[1, 0.1], [1, 0], [0, 1], [0.1, 1], [1, 0.02]], np.float32)
    found = nearest(WordVectors(words, rows), ["海", "拍"])
    assert found == {"海": ["河", "江", "打"], "拍": ["打", "江", "河"]}
    assert share(found) == pytest.approx((2 + 1) / 6)
    assert chance(words, ["海", "拍"]) == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert shown(found) == [["海", "水", "河江打", "2"], ["拍", "手", "打江河", "1"]]
