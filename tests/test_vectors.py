"""Static word vectors: the words that are read, the methods beside gensim and beside sums written out, the scores."""

import json
import random
import re
from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch

import unmask
from unmask.commandline.program import main
from unmask.errors import UserError
from unmask.static import counting, scores
from unmask.static.methods import base
from unmask.static.methods.fasttext import Fasttext
from unmask.static.methods.glove import Fit, Glove
from unmask.static.methods.word2vec import Word2vec
from unmask.static.ngrams import Ngrams
from unmask.static.vectors import WordVectors
from unmask.text.corpus import words as reader
from unmask.text.corpus.corpus import Corpus
from unmask.text.corpus.words import Words
from unmask.text.tokens.ngrams import hashed, ngrams

LIKE = {"cat": ("sleeps", "purrs"), "dog": ("barks", "runs"), "boat": ("floats", "sails"), "ship": ("sails", "sinks")}


def text(documents=40, seed=0):
    """English of a kind: sentences about animals and ships, with marks between the words."""
    chance = random.Random(seed)

    def sentence():
        noun = chance.choice(list(LIKE))
        end = chance.choice([".", "!", "?"])
        return (
            f"The {chance.choice(['old', 'little', 'well-known'])} {noun}, it's said, {chance.choice(LIKE[noun])}{end}"
        )

    return ["  ".join(sentence() for _ in range(chance.randint(3, 9))) for _ in range(documents)]


def corpus_of(folder, documents, **settings):
    (folder / "text.txt").write_text("\n\n".join(documents), encoding="utf-8")
    options = {"vocab_size": 300, "valid": 0, "processes": 1, **settings}
    unmask.prepare([str(folder / "text.txt")], out=folder / "corpus", **options)
    return Corpus.open(folder / "corpus")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    # too small a vocabulary for every word, so that many have several pieces
    return corpus_of(tmp_path_factory.mktemp("english"), text(), vocab_size=70)


def plain():
    """The same text as anybody would cut it."""
    return [
        re.findall(r"\w+", sentence.lower()) for document in text() for sentence in re.split(r"(?<=[.!?])  ", document)
    ]


def ignore(done, loss):
    pass


def learned(method, sentences, seed=1):
    return method.learn(sentences, seed, 1, ignore)


# the words


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "characters"])
def test_words_are_those_of_the_text(kind, tmp_path):
    words = Words(corpus_of(tmp_path, text(), tokenizer_kind=kind))
    assert list(words) == plain()
    assert list(words) == plain()  # as often as one likes
    assert (words.count, words.unknown) == (sum(map(len, plain())), 0)


def test_words_are_joined_from_their_pieces(corpus):
    assert (~np.concatenate([corpus.shard(0).words])).sum() > 100
    assert list(Words(corpus)) == plain()


def test_chinese_words_are_those_of_jieba(tmp_path):
    import rjieba

    sentences = ["我们在北京大学学习自然语言处理。", "苹果公司发布了新的手机，价格很高！", "他喜欢吃苹果和香蕉。"] * 20
    corpus = corpus_of(tmp_path, ["".join(sentences)], language="zh", vocab_size=200)
    wanted = [[word for word in rjieba.cut(sentence) if word[0] not in "。，！"] for sentence in sentences]
    assert list(Words(corpus)) == wanted


def test_a_word_that_cannot_be_spelled_is_left_out_and_counted(tmp_path):
    corpus_of(tmp_path, ["all plain words here"] * 30)
    (tmp_path / "text.txt").write_text("plain \u0416\u0444 words \u0416 here", encoding="utf-8")
    unmask.prepare([str(tmp_path / "text.txt")], out=tmp_path / "other", tokenizer=tmp_path / "corpus", valid=0)
    words = Words(Corpus.open(tmp_path / "other"))
    assert list(words) == [["plain", "words", "here"]]
    assert (words.count, words.unknown) == (3, 2)


def test_a_long_sentence_is_cut(corpus, monkeypatch):
    monkeypatch.setattr(reader, "LONGEST", 4)
    cut = list(Words(corpus))
    assert max(map(len, cut)) == 4
    assert list(chain(*cut)) == list(chain(*plain()))


# gensim's methods


def test_gensim_reads_the_same_from_a_corpus_as_from_a_plain_text(corpus):
    word2vec = pytest.importorskip("gensim.models.word2vec")
    for architecture, sg, rate in (("skip_gram", 1, 0.025), ("cbow", 0, 0.05)):
        ours = learned(Word2vec(architecture=architecture, size=12), Words(corpus)).vectors
        theirs = word2vec.Word2Vec(plain(), vector_size=12, sg=sg, alpha=rate, seed=1, workers=1).wv
        assert ours.words == theirs.index_to_key
        assert np.array_equal(ours.matrix, theirs.vectors)
    again = learned(Word2vec(architecture="cbow", size=12), Words(corpus)).vectors
    other = learned(Word2vec(architecture="cbow", size=12), Words(corpus), seed=2).vectors
    assert np.array_equal(again.matrix, ours.matrix) and not np.array_equal(other.matrix, ours.matrix)


def test_fasttext_has_vectors_for_words_it_never_saw(corpus, tmp_path):
    fasttext = pytest.importorskip("gensim.models.fasttext")
    ours = learned(Fasttext(size=12, buckets=40), Words(corpus)).vectors
    options = {"sg": 1, "alpha": 0.05, "sample": 1e-4, "bucket": 40, "min_n": 3, "max_n": 6}
    theirs = fasttext.FastText(plain(), vector_size=12, seed=1, workers=1, **options).wv
    assert np.array_equal(ours.matrix, theirs.vectors)
    assert len(ours.ngrams.ids) == 40  # so few that known words use all of them, and gensim takes the same mean
    ours.save(tmp_path)
    for vectors in (ours, WordVectors.open(tmp_path)):
        for word in ("boats", "float", "北京"):
            assert word not in vectors
            np.testing.assert_allclose(vectors.vector(word), theirs.get_vector(word), rtol=1e-5, atol=1e-8)
        assert vectors.nearest("boats", 3)[0][0] == theirs.most_similar("boats", topn=1)[0][0]


@pytest.mark.parametrize("least, most", [(3, 6), (1, 2), (2, 9)])
@pytest.mark.parametrize("word", ["where", "a", "naïve", "北京大学"])
def test_ngrams_and_their_hashes_are_those_of_fasttext(word, least, most):
    fasttext = pytest.importorskip("gensim.models.fasttext")
    assert sorted(hashed(n) % 10**6 for n in ngrams(word, least, most)) == sorted(
        fasttext.ft_ngram_hashes(word, least, most, 10**6)
    )


def test_a_word_without_learned_ngrams_has_no_vector():
    rows = np.eye(3, dtype=np.float32)
    table = Ngrams(3, 6, 1000, np.unique([hashed(n) % 1000 for n in ngrams("cat", 3, 6)])[:3], rows)
    vectors = WordVectors(["cat"], rows[:1], table)
    assert vectors.get("cats") is not None and "cats" not in vectors
    with pytest.raises(UserError, match="'zzz': has no vector"):
        vectors.vector("zzz")


# GloVe


def counted(sentences, words, window):
    """Co-occurrence counts [V, V], one pair of places after another."""
    table = np.zeros((len(words), len(words)))
    for sentence in sentences:
        known = [words.index(word) for word in sentence if word in words]
        for place, word in enumerate(known):
            for other in range(max(0, place - window), place):
                table[word, known[other]] += 1 / (place - other)
                table[known[other], word] += 1 / (place - other)
    return table


@pytest.mark.parametrize("window, at_once", [(1, 1 << 20), (3, 1 << 20), (3, 50), (100, 7)])
def test_pairs_are_counted_as_if_place_by_place(window, at_once, monkeypatch):
    monkeypatch.setattr(counting, "AT_ONCE", at_once)
    sentences = [*plain(), ["cat", "cat", "the", "cat"], [], ["dog"], ["a", "rare", "cat"]]
    words = counting.vocabulary(sentences, 30)
    counts = Counter(word for sentence in sentences for word in sentence)
    assert words == [word for word, count in counts.most_common() if count >= 30] and len(words) < len(counts)
    found = counting.pairs(sentences, words, window)
    assert (found.first <= found.second).all() and len(set(zip(found.first, found.second, strict=True))) == len(
        found.first
    )
    table = np.zeros((len(words), len(words)))
    table[found.first, found.second] = table[found.second, found.first] = found.counts
    np.testing.assert_allclose(table, counted(sentences, words, window), rtol=1e-6)


def few_pairs(seed=0, words=6):
    """Co-occurrence of few words; some never meet, some meet themselves."""
    chance = np.random.default_rng(seed)
    table = np.triu(chance.integers(0, 300, (words, words)) * (chance.random((words, words)) < 0.7))
    first, second = np.nonzero(table)
    return counting.Pairs(first.astype(np.int32), second.astype(np.int32), table[first, second].astype(np.float32))


def test_a_pass_of_glove_is_the_sum_written_out():
    """The paper's J, equation 8, and AdaGrad, one pair and one number after another."""
    method, pairs = Glove(size=3), few_pairs()
    fit = Fit.begin(method, pairs, 6, seed=4)
    rows = {"w": fit.words.values.double().numpy().copy(), "c": fit.neighbours.values.double().numpy().copy()}
    w, b, c, d = rows["w"][:, :3], rows["w"][:, 3], rows["c"][:, :3], rows["c"][:, 4]
    squares = [np.ones_like(x) for x in (w, b, c, d)]
    met, total = [], 0.0
    step = fit.step

    def written_out(word, neighbour, pair):
        nonlocal total
        assert len(word) == 1  # so small a pass goes pair by pair
        i, j, x = int(word), int(neighbour), float(pairs.counts[int(pair)])
        assert {i, j} == {int(pairs.first[int(pair)]), int(pairs.second[int(pair)])}
        met.append((i, j))
        off = w[i] @ c[j] + b[i] + d[j] - np.log(x)
        weight = (x / 100) ** 0.75 if x < 100 else 1.0
        total += weight * off**2
        by = [0.05 * weight * off * g for g in (c[j].copy(), 1.0, w[i].copy(), 1.0)]
        for values, past, g, row in zip((w, b, c, d), squares, by, (i, i, j, j), strict=True):
            past[row] += g**2
            values[row] -= g / np.sqrt(past[row])
        return step(word, neighbour, pair)

    fit.step = written_out
    mean = fit.epoch(0)
    assert sorted(met) == sorted({(i, j) for i, j in zip(pairs.first, pairs.second, strict=True)} | {
        (j, i) for i, j in zip(pairs.first, pairs.second, strict=True)
    })  # fmt: skip
    assert mean == pytest.approx(total / len(met), rel=1e-5)
    np.testing.assert_allclose(fit.words.values[:, :4], rows["w"][:, :4], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(fit.neighbours.values[:, [0, 1, 2, 4]], rows["c"][:, [0, 1, 2, 4]], rtol=1e-5, atol=1e-7)
    assert (fit.words.values[:, 4] == 1).all() and (fit.neighbours.values[:, 3] == 1).all()


def test_a_batch_of_glove_goes_down_the_gradient_of_half_its_loss():
    method, pairs = Glove(size=4, lr=1e-3), few_pairs()
    fit = Fit.begin(method, pairs, 6, seed=4)
    word, neighbour, pair = fit.rows[0].long(), fit.rows[1].long(), torch.arange(len(pairs.counts))
    w, c = (side.values.clone().requires_grad_() for side in (fit.words, fit.neighbours))
    x = torch.from_numpy(pairs.counts)
    off = (w[word] * c[neighbour]).sum(-1) - x.log()
    loss = ((x / 100).clamp(max=1) ** 0.75 * off**2).sum()
    (loss / 2).backward()
    before = w.detach().clone()
    assert fit.step(word, neighbour, pair) == pytest.approx(float(loss.detach()), rel=1e-5)
    by = 1e-3 * w.grad
    by[:, -1] = 0
    torch.testing.assert_close(fit.words.values, before - by / (1 + by**2).sqrt())


def test_glove_learns_counts_by_heart():
    pairs = few_pairs()
    fit = Fit.begin(Glove(size=6), pairs, 6, seed=1)
    losses = [fit.epoch(n) for n in range(800)]
    assert losses[-1] < 1e-4 < losses[0]
    logs = fit.words.values @ fit.neighbours.values.T
    np.testing.assert_allclose(logs[pairs.first, pairs.second], np.log(pairs.counts), atol=0.1)


def test_the_seed_decides_glove(corpus):
    first, again, other = (learned(Glove(size=8, epochs=2), Words(corpus), seed).vectors for seed in (1, 1, 2))
    assert np.array_equal(first.matrix, again.matrix) and not np.array_equal(first.matrix, other.matrix)


@pytest.mark.parametrize(
    "method", [Word2vec(size=16, epochs=30), Fasttext(size=16, epochs=30, buckets=5000), Glove(size=16)]
)
def test_words_of_alike_neighbours_are_near(method, tmp_path):
    if isinstance(method, base.Gensim):
        pytest.importorskip("gensim")
    vectors = learned(method, plain() * 5).vectors
    assert vectors.similarity("boat", "floats") > vectors.similarity("boat", "barks")
    assert vectors.similarity("dog", "barks") > vectors.similarity("dog", "sinks")


# asked


@pytest.fixture
def vectors():
    words = ["the", "king", "queen", "man", "woman", "Paris", "france", "stone"]
    return WordVectors(words, np.random.default_rng(3).normal(size=(8, 5)).astype(np.float32))


def written(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_nearest_words_leave_out_the_word_itself(vectors):
    found = vectors.nearest("king", 100)
    assert len(found) == 7 and "king" not in dict(found)
    assert [cosine for _, cosine in found] == sorted(dict(found).values(), reverse=True)
    assert dict(found)["man"] == pytest.approx(vectors.similarity("king", "man"))
    for wrong, told in (("emperor", "has no vector"), ("king", "k 0")):
        with pytest.raises(UserError, match=told):
            vectors.nearest(wrong, 10 if wrong == "emperor" else 0)


def test_scores_are_those_of_gensim(vectors, tmp_path):
    keyed = pytest.importorskip("gensim.models").KeyedVectors(5)
    keyed.add_vectors(vectors.words, vectors.matrix)
    pairs = [
        "king\tqueen\t8.5",
        "man\twoman\t9",
        "stone\tking\t1",
        "the\tstone\t2.5",
        "KING\tman\t6",
        "king\tnobody\t3",
    ]
    ours = scores.similarity(vectors, written(tmp_path / "pairs.txt", *pairs))
    theirs = keyed.evaluate_word_pairs(tmp_path / "pairs.txt")
    assert ours.spearman == pytest.approx(theirs[1].statistic) and ours.unknown == ["nobody"]
    assert (ours.pairs, ours.scored, ours.from_ngrams) == (6, 5, 0)
    rows = ["man woman king queen", "king man queen woman", "the stone man king", "man woman king nobody"]
    path = written(tmp_path / "questions.txt", ": family", *rows[:2], ": other", *rows[2:])
    ours = scores.analogies(vectors, path)
    _, sections = keyed.evaluate_word_analogies(path)
    for (name, section), told in zip(ours.sections.items(), sections, strict=False):
        assert (name, section.right, section.asked) == (
            told["section"], len(told["correct"]), len(told["correct"]) + len(told["incorrect"]),
        )  # fmt: skip
    assert ours.total.unknown == 1 and ours.total.asked == 3


def test_the_fourth_word_of_an_analogy_is_found():
    matrix = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1], [-1, -1, -1]], np.float32)
    vectors = WordVectors(["man", "woman", "king", "queen", "stone"], matrix)
    assert vectors.words[vectors.analogies(np.array([[0, 1, 2]]))[0]] == "queen"


def test_nothing_scored_is_none(vectors, tmp_path):
    found = scores.similarity(vectors, written(tmp_path / "a.txt", "no one 1"))
    assert found.spearman is None and found.scored == 0
    assert scores.analogies(vectors, written(tmp_path / "b.txt", "no one is here")).total.accuracy is None


@pytest.mark.parametrize(
    "reads, line, told",
    [
        (scores.read_pairs, "king queen", r"b.txt:2: 'king queen': must be two words and a score"),
        (scores.read_pairs, "king queen high", r"b.txt:2: .* two words and a score"),
        (scores.read_analogies, "man woman king", r"b.txt:2: 'man woman king': must be four words"),
    ],
)
def test_a_wrong_line_is_named(reads, line, told, tmp_path):
    good = {scores.read_pairs: "a\tb\t1", scores.read_analogies: "a b c d"}[reads]
    with pytest.raises(UserError, match=told):
        reads(written(tmp_path / "b.txt", good, line))
    with pytest.raises(UserError, match="holds no"):
        reads(written(tmp_path / "c.txt", ""))


def test_what_is_saved_is_opened(vectors, tmp_path):
    vectors.save(tmp_path)
    opened = WordVectors.open(tmp_path)
    assert opened.words == vectors.words and np.array_equal(opened.matrix, vectors.matrix)
    assert opened.ngrams is None
    with pytest.raises(UserError, match="holds no word vectors"):
        WordVectors.open(tmp_path / "nowhere")


def test_gensim_reads_what_is_saved_and_writes_what_is_opened(vectors, tmp_path):
    keyed = pytest.importorskip("gensim.models").KeyedVectors
    vectors.save(tmp_path)
    theirs = keyed.load_word2vec_format(tmp_path / "vectors.txt")
    assert theirs.index_to_key == vectors.words and np.array_equal(theirs.vectors, vectors.matrix)
    theirs.save_word2vec_format(tmp_path / "vectors.txt")
    assert np.array_equal(WordVectors.open(tmp_path).matrix, vectors.matrix)


@pytest.mark.parametrize(
    "lines, told",
    [
        ([], r"vectors.txt:1: '': must be two numbers"),
        (["2 3", "a 1 2 3"], "has 1 words and should have 2"),
        (["2 3", "a 1 2 3", "b 1"], r"vectors.txt:3: 'b 1': must be a word and 3 numbers"),
        (["1 2", "a 1 nan"], r"vectors.txt:2: 'a 1 nan': must be a word and 2 numbers"),
        (["1 2", "a 1 x"], r"vectors.txt:2: 'a 1 x': must be a word and 2 numbers"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(lines, told, tmp_path):
    written(tmp_path / "vectors.txt", *lines)
    with pytest.raises(UserError, match=told):
        WordVectors.open(tmp_path)


def test_a_file_of_ngrams_that_is_not_whole_is_refused(vectors, tmp_path):
    vectors.save(tmp_path)
    (tmp_path / "ngrams.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match="not a whole file of n-grams"):
        WordVectors.open(tmp_path)


# the command


def test_the_command_leaves_vectors_figures_and_a_page(corpus, tmp_path, capsys):
    pairs = written(tmp_path / "pairs.txt", "cat\tdog\t8", "boat\tship\t9", "cat\tship\t1", "cat\tunicorn\t5")
    out = tmp_path / "vectors"
    command = ["vectors", str(corpus.folder), "--method", "glove", "--method.epochs", "2", "--out", str(out)]
    assert main([*command, "--similarity", str(pairs)]) == 0
    assert "spearman, pairs: " in capsys.readouterr().out
    result = json.loads((out / "result.json").read_text())
    assert result["similarity"]["pairs"]["scored"] == 3 and result["similarity"]["pairs"]["unknown"] == ["unicorn"]
    assert result["data"]["words read"] == sum(map(len, plain()))
    assert "unicorn" not in {line.split(" ")[0] for line in (out / "vectors.txt").read_text().split("\n")}
    page = (out / "report.html").read_text()
    assert "Similar words" in page and "Nearest words" in page and "Analogies" not in page
    # other files to score by do not make other vectors
    before = (out / "vectors.txt").stat().st_mtime_ns
    questions = written(tmp_path / "questions.txt", "cat dog boat ship")
    found = unmask.vectors(corpus.folder, method="glove", out=out, analogies=[questions], **{"method.epochs": 2})
    assert (out / "vectors.txt").stat().st_mtime_ns == before
    assert found.result["analogies"]["questions"]["total"]["asked"] == 1 and not found.result["similarity"]
    assert found.result["seconds"] == result["seconds"] and found.nearest("cat", 1)
    assert main([*command[:-1], str(out), "--method.size", "7"]) == 2
    assert "holds a run with other settings (method.glove.size: 100 -> 7)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong, told",
    [
        (["--similarity", "nowhere.txt"], "nowhere.txt: does not exist"),
        (["--analogies", "empty"], "empty: holds no .txt files"),
        (["--method", "glove", "--method.lr", "1e300"], "the loss of pass 1 is no number; a lower one would fit"),
        (["--method", "glove", "--method.min-count", "999"], "no word of the text occurs so often"),
        (["--method", "fasttext", "--method.min-n", "7"], "min_n 7 is above max_n 6"),
    ],
)
def test_wrong_input_is_one_line(corpus, tmp_path, monkeypatch, capsys, wrong, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base, "find_spec", lambda name: True)
    (tmp_path / "empty").mkdir()
    assert main(["vectors", str(corpus.folder), "--out", "out", *wrong]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out" / "vectors.txt").exists()


def test_a_corpus_that_is_not_there_is_one_line(tmp_path, capsys):
    assert main(["vectors", str(tmp_path / "nowhere"), "--method", "glove", "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err.strip()
    assert "nowhere" in told and "\n" not in told and not (tmp_path / "out").exists()


def test_without_gensim_it_is_said_what_to_install(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"--method word2vec: needs gensim; pip install 'unmask\[vectors\]'"):
        unmask.vectors(corpus.folder, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
