"""Tokens from their n-grams of letters, beside the paper's mean written out, for every kind of vocabulary."""

import numpy as np
import pytest
import torch

import unmask
from fake_corpus import corpus_of
from small_base import sentences
from test_every_objective import SHAPES, batch_of, chosen
from unmask.commandline.program import main
from unmask.inference import building
from unmask.models.backbone import backbone_of
from unmask.models.counting import parameters
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.nn.ngrams import NgramBag
from unmask.text.tokens.ngrams import SPECIAL, hashed, of_token, of_vocabulary
from unmask.text.tokens.tokenizer import Tokenizer

BUCKETS = 500
TEXT = [" ".join(words) for words in sentences(300)] + ["naïve 北京 unfilmed"]


@pytest.fixture(scope="module", params=["wordpiece", "bpe", "unigram", "characters"])
def tokenizer(request):
    return Tokenizer.train(TEXT, kind=request.param, vocab_size=300)


def bag(tokenizer, buckets=BUCKETS, width=12):
    torch.manual_seed(0)
    made = NgramBag(tokenizer.size, buckets, width)
    made.spell(*map(torch.from_numpy, of_vocabulary(tokenizer, buckets)))
    return made


def learned(tokenizer):
    made = bag(tokenizer)
    torch.nn.init.normal_(made.own.weight)
    return made


def near(ours, theirs):
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def whole(text):
    """By the definition: every stretch of three to six letters."""
    return {text[a:b] for a in range(len(text)) for b in range(a + 3, min(a + 6, len(text)) + 1)}


def test_ngrams_are_those_of_the_text(tokenizer):
    for id, name in enumerate(tokenizer.tokens(range(tokenizer.size))):
        surface = tokenizer.alphabet.surface[id]
        text = surface.decode(errors="surrogateescape")
        marked = "<" + text[1:] if text[:1] == " " else text
        marked = marked[:-1] + ">" if len(text) > 1 and text[-1] == " " else marked
        assert set(of_token(surface)) == (whole(marked) or {marked}), name


def test_a_mark_stands_where_a_word_begins():
    pieces = Tokenizer.train(TEXT, vocab_size=300)
    surface = dict(zip(pieces.tokens(range(pieces.size)), pieces.alphabet.surface, strict=True))
    assert of_token(surface["story"])[:2] == ["<st", "<sto"] and ">" not in "".join(of_token(surface["story"]))
    continued = next(name for name in surface if name.startswith("##") and len(name) > 4)
    assert of_token(surface[continued])[0] == continued[2:5]
    assert of_token(surface["北"]) == ["北"]
    assert of_token(b"film ")[-1] == "lm>" and of_token("\u00e9t\u00e9".encode()) == ["été"]
    assert of_token(b"\xe5\x8c") == ["\udce5\udc8c"]  # bytes of a letter that other tokens end


def test_special_tokens_have_their_name_and_nothing_of_a_text(tokenizer):
    ids, counts = of_vocabulary(tokenizer, 2**32)
    starts = counts.cumsum() - counts
    for id in np.flatnonzero(tokenizer.special):
        assert ids[starts[id] : starts[id] + counts[id]].tolist() == [hashed(SPECIAL + tokenizer.tokens([int(id)])[0])]
    text = np.concatenate([ids[starts[id] : starts[id] + counts[id]] for id in tokenizer.ordinary])
    assert not set(ids[starts[np.flatnonzero(tokenizer.special)]]) & set(text)
    assert ids.min() >= 0 and (counts > 0).all() and len(ids) == counts.sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_vector_and_its_gradients_are_the_mean_written_out(tokenizer, dtype):
    made, exact = learned(tokenizer).to(dtype), learned(tokenizer)
    exact.load_state_dict({name: weight.float() for name, weight in made.state_dict().items()})
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, tokenizer.size, 900))
    ids, counts = map(torch.from_numpy, of_vocabulary(tokenizer, BUCKETS))
    rows = ids.split(counts.tolist())
    theirs = torch.stack(
        [torch.cat([exact.own.weight[t][None], exact.ngrams.weight[rows[t]]]).mean(0) for t in tokens.tolist()]
    )
    weight = torch.randn_like(theirs).to(dtype).float()
    ours = made(tokens)
    assert ours.dtype == dtype
    grads = torch.autograd.grad((ours * weight.to(dtype)).sum(), list(made.parameters()))
    expected = torch.autograd.grad((theirs * weight).sum(), list(exact.parameters()))
    if dtype == torch.float32:
        near(ours, theirs)
    for a, b in zip(grads, expected, strict=True):
        assert (a.float() - b).norm() <= (1e-5 if dtype == torch.float32 else 0.01) * b.norm()
        assert bool(b.abs().sum() > 0)


def test_what_is_never_trained_has_the_mean_of_its_ngrams(tokenizer):
    made = bag(tokenizer)
    ids, counts = map(torch.from_numpy, of_vocabulary(tokenizer, BUCKETS))
    with torch.no_grad():
        for token, (mine, count) in enumerate(zip(ids.split(counts.tolist()), counts.tolist(), strict=True)):
            near(made(torch.tensor([token]))[0] * (count + 1) / count, made.ngrams.weight[mine].mean(0))


def test_equal_tokens_are_computed_once_and_others_change_nothing(tokenizer, monkeypatch):
    made, seen = learned(tokenizer), []
    real = torch.nn.functional.embedding_bag
    monkeypatch.setattr(
        torch.nn.functional,
        "embedding_bag",
        lambda i, w, offsets, **k: seen.append(offsets) or real(i, w, offsets, **k),
    )
    tokens = torch.tensor([7, 9, 7, 7, 30, 9])
    together = made(tokens)
    assert len(seen.pop()) == 3
    for row, token in zip(together, tokens, strict=True):
        assert torch.equal(row, made(token[None])[0])


def test_without_letters_nothing_is_guessed():
    with pytest.raises(AssertionError, match="must be told how its tokens are written"):
        NgramBag(10, 20, 4)(torch.tensor([1]))


SMALL = {
    "bert": SHAPES["bert"].model_copy(update={"embedding": "fasttext_ngrams", "ngram_buckets": 300, "tied": False}),
    "modernbert": SHAPES["modernbert"].model_copy(
        update={"embedding": "fasttext_ngrams", "ngram_buckets": 300, "tied": False}
    ),
    "elmo": SHAPES["elmo"].model_copy(update={"embedding": "fasttext_ngrams", "ngram_buckets": 300, "tied": False}),
    "narrow": Shape(width=64, embedding_width=16, heads=2, layers=1, feed_forward=80, embedding="fasttext_ngrams",
                    ngram_buckets=70, tied=False),
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_parameters_are_counted(name):
    shape = SMALL[name].model_copy(update={"vocab_size": 50})
    assert sum(p.numel() for p in backbone_of(shape).parameters()) == parameters(shape)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"tied": True}, "with a fasttext_ngrams there is no matrix of tokens to answer by; tied false would fit"),
        ({"decoder_layers": 1}, "embedding fasttext_ngrams is for models without a decoder"),
        ({"ngram_buckets": 0}, "ngram_buckets"),
        ({"family": "gru", "heads": 1, "segments": 0}, "does not go with family gru; subword would fit"),
    ],
)
def test_what_does_not_fit_is_refused(settings, told):
    given = {"vocab_size": 50, "width": 32, "heads": 2, "embedding": "fasttext_ngrams", "tied": False}
    with pytest.raises(ValueError, match=told):
        Shape(**{**given, **settings})


@pytest.mark.parametrize("objective", ["masked_lm", "replaced_token_detection", "contrastive"])
def test_objectives_reach_the_ngrams(objective):
    objectives = chosen(objective)
    corpus = corpus_of(shards=1, documents=4, sentences=6, words=5)
    torch.manual_seed(0)
    network = building.network_of(SMALL["bert"], objectives.values())
    network.backbone.embeddings.tokens.spell(torch.arange(3000) % 300, torch.full((1000,), 3))
    batch = collate(batch_of(objectives, corpus, rows=2))
    losses = [loss.total for each in objectives.values() for loss in each.loss(network, batch).values()]
    sum(losses).backward()
    for table in (network.backbone.embeddings.tokens.ngrams, network.backbone.embeddings.tokens.own):
        assert bool(table.weight.grad.isfinite().all()) and bool(table.weight.grad.abs().sum() > 0)


# from text to answers


TRAINED = {"length": 32, "batch_size": 8, "device": "cpu", "precision": "float32"}
TINY = {"name": "bert-tiny", "width": 32, "heads": 2, "feed_forward": 64, "layers": 1, "embedding": "fasttext_ngrams",
        "ngram_buckets": 4096, "tied": False}  # fmt: skip
STEMS = ("sail", "wander", "garden", "polish", "hammer", "whistle", "listen", "gather")
UNSEEN = {f"{stem}ing": f"{stem}ed" for stem in STEMS}
"""Words that stand in the vocabulary and in no text, and a relative of each that does."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, chance = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    company = {seen: [f"{chr(97 + n)}{end}" for end in ("o", "um", "ik")] for n, seen in enumerate(UNSEEN.values())}
    lines = [
        " ".join(chance.permutation([seen, seen, *chance.choice(company[seen], 4)])) + "."
        for seen in chance.choice([*company], 600)
    ]
    (folder / "text.txt").write_text("\n\n".join("\n".join(lines[n : n + 10]) for n in range(0, 600, 10)))
    Tokenizer.train([*lines, *[" ".join(UNSEEN)] * 50], vocab_size=400).save(folder / "tokenizer")
    unmask.prepare([str(folder / "text.txt")], out=folder / "corpus", tokenizer=folder / "tokenizer", valid=0.05)
    # tokens drawn at random would be from the whole vocabulary
    objective = {"masked_lm": {"mask": 1.0, "random": 0.0}}
    unmask.pretrain(folder / "corpus", out=folder / "run", model=TINY, objective=objective, steps=100, **TRAINED)
    return folder


def test_an_unseen_word_is_near_its_relative(trained):
    """Of all words of the text; a matrix of vectors would put it anywhere."""
    model = unmask.load(trained / "run", device="cpu")
    ids = {word: model.tokenizer.encode([word])[0].ids.tolist() for word in [*UNSEEN, *UNSEEN.values()]}
    assert all(len(found) == 1 for found in ids.values())  # each is one token
    tokens = model.encoder.embeddings.tokens
    with torch.no_grad():
        assert not tokens.own.weight[[ids[word][0] for word in UNSEEN]].any()  # never trained
        assert tokens.own.weight[[ids[word][0] for word in UNSEEN.values()]].all()
        every = torch.nn.functional.normalize(tokens(torch.arange(model.tokenizer.size)), dim=-1)
    near_by = 0
    seen = torch.tensor([ids[word][0] for word in UNSEEN.values()])
    for word, relative in UNSEEN.items():
        near_by += int(seen[(every[seen] @ every[ids[word][0]]).argmax()]) == ids[relative][0]
    assert near_by == len(UNSEEN)


def test_it_opens_as_it_was_and_is_fine_tuned(trained, tmp_path):
    from small_base import classified

    files = {name: classified(tmp_path / f"{name}.tsv", 40, n) for n, name in enumerate(("train", "valid"))}
    for tuning in ("full", "frozen"):
        tuned = unmask.finetune(
            trained / "run", task="classify", tuning=tuning, out=tmp_path / tuning, epochs=1, seeds=[1], **files,
            device="cpu", precision="float32",
        )  # fmt: skip
        (said,), (again,) = (
            model.predict(["the lovely film is long"])
            for model in (tuned, unmask.load(tmp_path / tuning, device="cpu"))
        )
        assert again.probabilities == pytest.approx(said.probabilities, rel=1e-5)


def test_hugging_face_has_no_place_for_it(trained, tmp_path, capsys):
    assert main(["convert", str(trained / "run"), "--out", str(tmp_path / "out"), "--to", "hf"]) == 2
    error = capsys.readouterr().err.strip()
    assert "model.embedding fasttext_ngrams: only models with subword go out" in error and "\n" not in error
