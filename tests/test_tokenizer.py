"""Tokens agree with transformers; words are found in any kind of vocabulary and never change the tokens."""

import gzip
import itertools
import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.errors import UserError
from unmask.text.sources.sentences import sentences
from unmask.text.tokens.tokenizer import Tokenizer
from unmask.text.tokens.vocabularies import KINDS

VOCAB = Path(__file__).parents[2] / "shared" / "data" / "vocab"
needs_vocab = pytest.mark.skipif(not VOCAB.is_dir(), reason="public vocabularies not at hand")

ENGLISH = "I love apples and bananas. Don't stop, she said; naïve Café owners paid $42.50 (twice!)."
CHINESE = "我喜欢吃苹果，也喜欢吃香蕉。北京大学在中国。"
MIXED = [
    ENGLISH,
    CHINESE,
    "iPhone手机 costs 价格5000元!",
    "Zażółć gęślą jaźń — ЁЛКА ελληνικά",
    "tab\tnew\u00a0space\u200bzero\ufffdbad\x07bell 🙂 ﬁne Ⅷ",
    "",
    "  ",
    "antidisestablishmentarianism" * 5,
    "𠀀𠀁 㐀 ︰ 豈 カタカナ ひらがな 한국어",
]


@pytest.fixture(scope="module")
def trained():
    texts = [ENGLISH, CHINESE, "Привет мир, как дела? " + ENGLISH.lower()] * 20
    return {kind: Tokenizer.train(texts, kind, 400) for kind in KINDS}


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    """The tokens of each word, joined."""
    (pieces,) = tokenizer.encode([text])
    names = tokenizer.tokens(pieces.ids)
    starts = [*np.flatnonzero(pieces.word_starts), len(names)]
    return ["".join(names[a:b]) for a, b in itertools.pairwise(starts)]


@needs_vocab
@pytest.mark.parametrize(
    ("file", "lowercase"),
    [
        ("google_uncased_en_vocab.txt", True),
        ("google_cased_en_vocab.txt", False),
        ("google_zh_vocab.txt", True),
    ],
)
def test_wordpiece_is_berts(file, lowercase):
    from transformers import BertTokenizer

    ours = Tokenizer.load(VOCAB / file)
    theirs = BertTokenizer(vocab=str(VOCAB / file), do_lower_case=lowercase)
    assert (ours.cls, ours.sep, ours.pad, ours.unk, ours.mask) == (
        theirs.cls_token_id,
        theirs.sep_token_id,
        theirs.pad_token_id,
        theirs.unk_token_id,
        theirs.mask_token_id,
    )
    for text, pieces in zip(MIXED, ours.encode(MIXED), strict=True):
        assert pieces.ids.tolist() == theirs(text, add_special_tokens=False)["input_ids"], text


@needs_vocab
def test_byte_level_bpe_is_robertas(tmp_path):
    from transformers import RobertaTokenizer

    entries = json.loads(gzip.decompress((VOCAB / "gpt2_encoder.json.gz").read_bytes()))
    for name in ("<s>", "<pad>", "</s>", "<unk>", "<mask>"):
        entries[name] = len(entries)
    (tmp_path / "vocab.json").write_text(json.dumps(entries))
    (tmp_path / "merges.txt").write_bytes((VOCAB / "huggingface_gpt2_merges.txt").read_bytes())
    ours = Tokenizer.load(tmp_path)
    theirs = RobertaTokenizer(vocab=str(tmp_path / "vocab.json"), merges=str(tmp_path / "merges.txt"))
    assert ours.mask == theirs.mask_token_id and ours.cls == theirs.cls_token_id
    for text, pieces in zip(MIXED, ours.encode(MIXED), strict=True):
        assert pieces.ids.tolist() == theirs(text, add_special_tokens=False)["input_ids"], text
    assert words(ours, "i love apples and bananas.") == ["i", "Ġlove", "Ġapples", "Ġand", "Ġbananas", "."]
    starts = ours.encode([CHINESE])[0].word_starts
    assert 8 < starts.sum() < len(starts)


@needs_vocab
def test_english_words_are_found_whole():
    """Elsewhere: joined without spaces and cut again, no word was left to mask."""
    uncased = Tokenizer.load(VOCAB / "google_uncased_en_vocab.txt")
    found = words(uncased, "the quick brown fox jumps over the lazy dog near the riverbank.")
    assert " ".join(found) == "the quick brown fox jumps over the lazy dog near the river##bank ."
    assert words(uncased, "unbelievably, don't") == ["un##bel##ie##va##bly", ",", "don", "'", "t"]


@needs_vocab
def test_a_chinese_sentence_is_many_words():
    """Elsewhere: one, or each character."""
    chinese = Tokenizer.load(VOCAB / "google_zh_vocab.txt")
    assert words(chinese, "我喜欢吃苹果，也喜欢吃香蕉。") == [
        "我",
        "喜欢",
        "吃",
        "苹果",
        "，",
        "也",
        "喜欢",
        "吃",
        "香蕉",
        "。",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_words_of_every_kind(trained, kind):
    found = [
        word.replace("Ġ", "").replace("▁", "").replace("##", "")
        for word in words(trained[kind], "i love bananas, twice!")
    ]
    assert found == ["i", "love", "bananas", ",", "twice", "!"]


def test_bytes_of_a_character_are_never_apart():
    bpe = Tokenizer.train([ENGLISH], "bpe", 262)  # no merges to speak of: three tokens to a character
    (pieces,) = bpe.encode(["北京大学 и 🙂"])
    text = [(bpe.tokens([i])[0], bool(start)) for i, start in zip(pieces.ids, pieces.word_starts, strict=True)]
    assert [start for _, start in text[:12]] == [True] + [False] * 11  # 北京大学
    assert sum(start for _, start in text) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_words_and_sentences_do_not_change_the_tokens(trained, kind):
    tokenizer = trained[kind]
    text = "Apples are good. I love bananas!  She said: don't stop.\nNew line here."
    whole = tokenizer.encode_flat([text])[0]
    cut = tokenizer.encode_flat(sentences(text))[0]
    assert whole.tolist() == cut.tolist() == tokenizer.encode([text])[0].ids.tolist()


PARTS = st.sampled_from(
    [
        *" \n\t.,'\"-!中国。é",
        "\u0301",
        "\u00a0",
        "\x1c",
        "𠀀",
        "don't",
        "word",
        "Apples",
        "42",
        "🙂",
        "[MASK]",
    ]
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=300, deadline=None)
@given(parts=st.lists(PARTS, max_size=20))
def test_looking_words_up_changes_nothing(trained, kind, parts):
    text = "".join(parts)
    tokenizer = trained[kind]
    plain = tokenizer.backend.encode(text, add_special_tokens=False).ids
    assert tokenizer.encode_flat([text, "between", text])[0].tolist()[: len(plain)] == plain
    ids, lengths = tokenizer.encode_flat([text, "between", text], specials=False)
    assert ids[: lengths[0]].tolist() == ids[lengths[0] + lengths[1] :].tolist()
    assert lengths.sum() == len(ids)
    if "[MASK]" not in parts:
        assert ids[: lengths[0]].tolist() == plain


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_is_the_same(trained, kind, tmp_path):
    from transformers import AutoTokenizer

    ours = trained[kind]
    ours.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert (again.hash, again.kind, again.size) == (ours.hash, kind, ours.size)
    assert pickle.loads(pickle.dumps(ours)).hash == ours.hash
    assert Tokenizer.load(tmp_path / "tokenizer.json").mask == ours.mask
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text, pieces in zip(MIXED[:2], ours.encode(MIXED[:2]), strict=True):
        assert theirs(text)["input_ids"] == [ours.cls, *pieces.ids.tolist(), ours.sep]
    assert theirs.mask_token_id == ours.mask


@pytest.mark.parametrize("kind", KINDS)
def test_given_words(trained, kind):
    tokenizer = trained[kind]
    given = [["I", "love", "\x00", "bananas."], ["我", "喜", "欢"], [], ["twice"]]
    found = tokenizer.encode_words(given)
    assert [int(p.word_starts.sum()) for p in found] == [4, 3, 0, 1]
    assert all(p.word_starts[0] for p in found if len(p.ids))
    plain = tokenizer.encode(["I love bananas."])[0].ids.tolist()
    assert tokenizer.encode_words([["I", "love", "bananas."]])[0].ids.tolist() == plain
    assert tokenizer.encode_words([["我", "喜", "欢"]])[0].ids.tolist() == tokenizer.encode(["我喜欢"])[0].ids.tolist()


def test_special_tokens_in_a_text(trained):
    tokenizer = trained["wordpiece"]
    assert tokenizer.mask in tokenizer.encode(["a [MASK] b"])[0].ids
    assert tokenizer.mask not in tokenizer.encode(["a [MASK] b"], specials=False)[0].ids
    assert tokenizer.special.sum() == 5
    assert tokenizer.decode([tokenizer.cls, *tokenizer.encode(["i love"])[0].ids, tokenizer.sep]) == "i love"


@pytest.mark.parametrize("kind", KINDS)
def test_text_that_looks_like_a_special_token_stays_text(kind):
    texts = ["Read [MASK] here, the [SEP]arate text [UNK]nown [MASK]"] * 50
    tokenizer = Tokenizer.train(texts, kind, 400, lowercase=False)
    ids = tokenizer.encode(texts[:1], specials=False)[0].ids
    assert not tokenizer.special[ids].any()
    assert "".join(tokenizer.decode(ids).split()) == "".join(texts[0].split())


@pytest.mark.parametrize("size", [60, 400, 1500])
def test_a_vocabulary_is_as_large_as_asked(size):
    """Of Chinese, whose characters take no part in pairs, and English together."""
    rng = np.random.default_rng(1)
    chinese = "".join(map(chr, 0x4E00 + rng.zipf(1.3, 20_000) % 900))
    english = " ".join("".join(rng.choice(list("etaoinshr"), n)) for n in rng.integers(2, 9, 3000))
    tokenizer = Tokenizer.train([chinese, english], "wordpiece", size)
    assert tokenizer.size == size
    letters = [piece for piece in tokenizer.backend.get_vocab() if len(piece) == 1]
    seen = Counter(chinese + english.replace(" ", ""))
    missing = set(seen) - set(letters)
    assert min(seen[letter] for letter in letters) >= max(seen[letter] for letter in missing)
    assert size < 1500 or sum(seen[letter] for letter in missing) <= 1e-4 * seen.total()


def test_room_that_no_pair_takes_goes_to_rarer_characters():
    chinese = "".join(map(chr, 0x4E00 + np.random.default_rng(1).integers(0, 510, 20_000)))
    assert Tokenizer.train([chinese], "wordpiece", 300).size == 300


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_endless_words_are_not_learned(kind):
    """Their length squared is what learning takes: this text would take minutes."""
    tokenizer = Tokenizer.train(["abcdefgh" * 60_000, "a few short words " * 50], kind, 300)
    assert not any("bcde" in piece for piece in tokenizer.backend.get_vocab())


def test_what_a_vocabulary_knows():
    """Characters seen too seldom to matter get no entries; WordPiece knows 99.99 % of the text."""
    often, seldom = "the cat sat on the mat " * 2000, "\u0e01\u0e02"
    tokenizer = Tokenizer.train([often, seldom], "wordpiece", 100)
    assert "##t" in tokenizer.backend.get_vocab()
    assert not {"\u0e01", "\u0e02"} & set(tokenizer.backend.get_vocab())


def test_training_is_repeatable():
    texts = [ENGLISH, CHINESE] * 10
    for kind in ("wordpiece", "bpe", "characters"):
        assert Tokenizer.train(texts, kind, 300).hash == Tokenizer.train(iter(texts), kind, 300).hash


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.txt", "a\nb\nc\nd\ne\nf\n", "no token for"),
        ("vocab.txt", "one line with spaces\n", "one token a line"),
        ("tokenizer.json", "{}", "is no tokenizer.json"),
        ("tokenizer.json", "not json", "is no tokenizer.json"),
        ("merges.txt", "", "holds no tokenizer"),
    ],
)
def test_what_is_no_tokenizer_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        Tokenizer.load(tmp_path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_no_text_and_no_file(tmp_path):
    with pytest.raises(UserError, match="no text"):
        Tokenizer.train(["", " "])
    with pytest.raises(UserError, match=r"missing\.txt"):
        Tokenizer.load(tmp_path / "missing.txt")


def test_chinese_is_decoded_as_it_is_written():
    """BERT's rules take characters for words, and words are decoded with spaces between them."""
    text = "2019年,他说：《中国》是一本好书。 a good book 吗？"
    tokenizer = Tokenizer.train([text], "wordpiece", 200)
    (pieces,) = tokenizer.encode([text])
    assert tokenizer.decode(pieces.ids) == "2019年,他说：《中国》是一本好书。a good book吗？"
    tokenizer = Tokenizer.train([text], "bpe", 400)
    assert tokenizer.decode(tokenizer.encode([text])[0].ids) == text, "a vocabulary of bytes knows its spaces"


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("around", ["bytes", "RoBERTa", "open", "none", "here"])
def test_a_saved_file_frames_texts_as_is_done_here(tmp_path, around, pairs):
    """Whatever its own file said; what it puts between two texts it may keep where none are read together."""
    from tokenizers import processors

    transformers = pytest.importorskip("transformers")
    tokenizer = Tokenizer.train([ENGLISH, CHINESE], "bpe", 400)
    cls, sep = (("[CLS]", tokenizer.cls), ("[SEP]", tokenizer.sep))
    before = tokenizer.hash
    tokenizer.backend.post_processor = {
        "bytes": processors.ByteLevel,
        "RoBERTa": lambda: processors.RobertaProcessing(sep, cls, add_prefix_space=False),
        "open": lambda: processors.TemplateProcessing(single="[CLS] $A", special_tokens=[cls]),
        "none": lambda: processors.Sequence([]),
        "here": lambda: tokenizer.backend.post_processor,
    }[around]()
    one, two = (p.ids.tolist() for p in tokenizer.encode(["apples and", "bananas"]))
    for ends in (True, False):
        tokenizer.save(tmp_path / str(ends), ends=ends, pairs=pairs)
        theirs, last = transformers.AutoTokenizer.from_pretrained(tmp_path / str(ends)), [tokenizer.sep] * ends
        assert theirs("apples and")["input_ids"] == [tokenizer.cls, *one, *last]
        if pairs and ends:
            assert theirs("apples and", "bananas")["input_ids"] == [tokenizer.cls, *one, *last, *two, *last]
        assert Tokenizer.load(tmp_path / str(ends)).hash == tokenizer.hash == before
    if around == "RoBERTa" and not pairs:
        doubled = transformers.AutoTokenizer.from_pretrained(tmp_path / "True")("apples and", "bananas")["input_ids"]
        assert doubled == [tokenizer.cls, *one, tokenizer.sep, tokenizer.sep, *two, tokenizer.sep]
