"""Lexicons and phrases: found as a search in strings and plain counting find them, whatever the tokens."""

import random
import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.text.borders import ENTITY, LARGER, PHRASE, WORD, known, merge, of_several_words
from unmask.text.tokens import phrases
from unmask.text.tokens.lexicon import Lexicon, Words
from unmask.text.tokens.tokenizer import Tokenizer

KINDS = ("wordpiece", "bpe", "unigram", "characters")
ENGLISH = ["new", "york", "newer", "yorker", "city", "of", "the", "naïve", "don't", "co-op", "u.s.", "a", "42", "born"]
CHINESE = [
    "北京",
    "北京大学",
    "大学",
    "大学生",
    "学生",
    "生活",
    "读书",
    "我们",
    "在",
    "。",
    "中华",
    "人民",
    "共和国",
    "，",
    "iPhone",
]
ATOM = re.compile(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+|[^\w\s]")  # a Chinese character, a word, a mark


def laid(sentences, tokenizer):
    """Sentences' tokens end to end, and where words and sentences begin."""
    pieces = tokenizer.encode(sentences, specials=False)
    return SimpleNamespace(
        tokens=np.concatenate([piece.ids for piece in pieces]),
        words=np.concatenate([piece.word_starts for piece in pieces]),
        sentences=np.concatenate([np.arange(len(piece.ids)) == 0 for piece in pieces]),
    )


def find(entries, batch, tokenizer):
    first, counts = Lexicon(entries, tokenizer).find(batch.tokens, batch.words, batch.sentences)
    return list(zip(first.tolist(), counts.tolist(), strict=True))


@dataclass
class Cut:
    """Sentences as tokens; the text of each word, and the number of its sentence."""

    tokenizer: Tokenizer
    sentences: list[str]

    def __post_init__(self):
        self.batch = laid(self.sentences, self.tokenizer)
        self.places = np.append(np.flatnonzero(self.batch.words), len(self.batch.tokens))
        self.texts = [self.text(n, n + 1) for n in range(len(self.places) - 1)]
        self.sentence = np.cumsum(self.batch.sentences)[self.places[:-1]].tolist()

    def text(self, first, last):
        return self.tokenizer.decode(self.batch.tokens[self.places[first] : self.places[last]])

    def search(self, entries):
        """Leftmost, longest, word by word: the slow way."""
        wanted = {tuple(ATOM.findall(entry)) for entry in entries}
        atoms = [tuple(ATOM.findall(text)) for text in self.texts]
        found, n = [], 0
        while n < len(atoms):
            longest = 1
            for end in range(n + 2, min(n + 12, len(atoms)) + 1):
                if self.sentence[end - 1] == self.sentence[n] and sum(atoms[n:end], ()) in wanted:
                    longest = end - n
            if longest > 1:
                found.append((n, longest))
            n += longest
        return found


@pytest.fixture(scope="module", params=[(kind, chinese) for kind in KINDS for chinese in (False, True)])
def cut(request):
    kind, chinese = request.param
    rng = random.Random(3)
    words, glue = (CHINESE, "") if chinese else (ENGLISH, " ")
    sentences = [glue.join(rng.choices(words, k=rng.randint(1, 12))) for _ in range(300)]
    return Cut(Tokenizer.train(sentences, kind, 120 if kind != "bpe" else 330), sentences)


def test_what_is_found_is_what_a_search_finds(cut):
    rng = random.Random(1)
    for size in (1, 10, 200):
        entries = []
        for start in (rng.randrange(len(cut.texts)) for _ in range(size)):
            end = min(start + rng.randint(1, 4), bisect_right(cut.sentence, cut.sentence[start]))
            entries.append(cut.text(start, end))
        expected = cut.search(entries)
        assert find(entries, cut.batch, cut.tokenizer) == expected
    assert len(expected) > 100


def test_a_chinese_entry_is_found_however_its_words_are_cut():
    """北京大学 is one word to jieba, and two where a space parts it."""
    for kind, found in (("bpe", [(2, 2)]), ("characters", [(2, 2)]), ("wordpiece", [])):  # which sees no spaces
        words = Tokenizer.train(["北京 大学 在 他 。 北 京 大 学"] * 9, kind, 400)
        for entry in ("北京大学", "北京 大学", "北京大 学"):
            assert find([entry], laid(["他在 北京 大学。"], words), words) == found
            assert find([entry], laid(["他在 北京大学。"], words), words) == []


@pytest.mark.parametrize("kind", KINDS)
def test_case_and_accents_count_where_the_tokenizer_keeps_them(kind):
    text = ["New York is in new york, said naïve New Yorkers. New york!"]
    for lowercase, expected in ((True, 3), (False, 1)):
        tokenizer = Tokenizer.train(text * 5, kind, 400, lowercase)
        assert [count for _, count in find(["New York"], laid(text, tokenizer), tokenizer)] == [2] * expected


def test_entries_with_unknown_letters_are_left_out():
    tokenizer = Tokenizer.train(["new york city"] * 9, "characters", 40)
    assert Lexicon(["new york", "中国", "", "zürich see"], tokenizer).entries == 1
    assert find(["new york", "[UNK]"], laid(["new 中国 york new york"], tokenizer), tokenizer) == [(4, 2)]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.data())
@settings(max_examples=100, deadline=None)
def test_larger_units_are_made_of_whole_words(sizes, data):
    words = np.zeros(sum(sizes), bool)
    words[np.cumsum([0, *sizes[:-1]])] = True
    counts = data.draw(st.lists(st.integers(1, 4), max_size=len(sizes) // 4))
    first = np.cumsum([0, *counts[:-1]]) if counts else np.empty(0, int)
    begins = merge(words, first, np.array(counts, int))
    assert not (begins & ~words).any()
    assert begins.sum() == len(sizes) - sum(counts) + len(counts)
    several = [n for n, count in enumerate(counts) if count > 1]
    tokens = sum(sum(sizes[first[n] : first[n] + counts[n]]) for n in several)
    assert of_several_words(words | begins * np.uint8(ENTITY), ENTITY) == (len(several), tokens)


def test_flags_are_apart():
    assert known(np.array([WORD | PHRASE | ENTITY, 0, WORD], np.uint8)) == 7
    assert known(np.array([True, False])) == WORD
    assert LARGER == {"phrases": PHRASE, "entities": ENTITY}


# --- phrases -------------------------------------------------------------------------------------------------------


def counted(sentences, thresholds):
    """Word2phrase's passes over lists of words, with dictionaries."""
    found = {}
    for threshold in thresholds:
        words = Counter(word for sentence in sentences for word in sentence)
        pairs = Counter(
            (a, b) for sentence in sentences for a, b in pairwise(sentence) if a.strip(".,!") and b.strip(".,!")
        )
        score = {(a, b): (n - 5) / words[a] / words[b] * sum(words.values()) for (a, b), n in pairs.items()}
        good = {pair for pair, value in score.items() if value > threshold}
        found |= {f"{a} {b}": (score[a, b], pairs[a, b]) for a, b in good}
        sentences = [joined(sentence, good) for sentence in sentences]
    return found


def joined(sentence, pairs):
    done = []
    n = 0
    while n < len(sentence):
        pair = tuple(sentence[n : n + 2])
        done.append(" ".join(pair) if pair in pairs else sentence[n])
        n += 2 if pair in pairs else 1
    return done


@pytest.mark.parametrize("kind", KINDS)
def test_phrases_are_those_that_counting_finds(kind, monkeypatch):
    rng = random.Random(0)
    names = ["new york", "new york city", "los angeles", "vasco da gama", "a b a b", "the the the"]
    words = (
        [f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(120)] + ["new", "city", "the", ".", ","] + names * 4
    )
    sentences = [" ".join(rng.choices(words, k=rng.randint(2, 14))) for _ in range(1500)]
    tokenizer = Tokenizer.train(sentences, kind, 500)
    monkeypatch.setattr(phrases, "THRESHOLDS", (4.0, 3.0))
    texts = [laid(part, tokenizer) for part in (sentences[:700], sentences[700:])]
    found = phrases.learn(texts, Words(tokenizer))
    expected = counted([sentence.split() for sentence in sentences], (4.0, 3.0))
    assert {phrase.text: phrase.times for phrase in found} == {text: n for text, (_, n) in expected.items()}
    assert all(phrase.score == pytest.approx(expected[phrase.text][0]) for phrase in found)
    assert [phrase.score for phrase in found] == sorted((phrase.score for phrase in found), reverse=True)
    assert {"new york", "new york city", "los angeles", "vasco da gama"} <= expected.keys()


def test_phrases_found_are_entries_that_can_be_found(cut, monkeypatch):
    monkeypatch.setattr(phrases, "THRESHOLDS", (0.5, 0.5))
    words = Words(cut.tokenizer)
    found = [phrase.text for phrase in phrases.learn([cut.batch], words)]
    assert len(found) > 5
    assert [text.strip() for text in words.spelled(found)] == found
    assert len(find(found, cut.batch, cut.tokenizer)) > 50


def test_no_text_no_phrases():
    tokenizer = Tokenizer.train(["one two three"] * 9, "wordpiece", 60)
    assert phrases.learn([], Words(tokenizer)) == []
    assert Lexicon([], tokenizer).entries == Lexicon([" "], tokenizer).entries == 0
    assert find([], laid(["one two"], tokenizer), tokenizer) == []
    assert phrases.learn([laid(["one"], tokenizer)], Words(tokenizer)) == []
