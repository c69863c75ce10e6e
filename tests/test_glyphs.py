"""Characters as images: drawn with a font that the test makes, read as the paper says, kept with the run."""

import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import unmask
from small_base import classified, sentences
from test_every_objective import SHAPES
from unmask.commandline.program import main
from unmask.errors import UserError
from unmask.inference.enlarging import with_tokens
from unmask.models.backbone import backbone_of
from unmask.models.counting import parameters
from unmask.models.shape import Shape
from unmask.nn.glyphs import GlyphCNN
from unmask.text.tokens import glyphs
from unmask.text.tokens.tokenizer import Tokenizer

SIZE = 12
LEFT, RIGHT = "河海湖江洪", "打拍招把拉"  # each five with one radical
TEXT = [" ".join(words) for words in sentences(100)] + [f"{a}{b}。{b} ok{a}" for a in LEFT for b in RIGHT] * 3


def squares(characters):
    """Images made up of a radical, which is strokes that stand or lie, and of a few dots of their own."""
    standing = np.tile([False, True, False, False, True, False], (SIZE, 1))
    lying = np.repeat([False, True, False, False] * (SIZE // 4), SIZE // 2).reshape(SIZE, SIZE // 2)
    found = {}
    for n, character in enumerate(characters):
        radical = standing if character in LEFT else lying if character in RIGHT else np.ones_like(lying)
        dots = np.random.default_rng(n).random((SIZE, SIZE // 2)) < 0.2
        found[character] = np.concatenate([radical, dots], 1)
    return found


def font(path, images):
    """A bitmap font. What it begins with stands for what it lacks."""
    lines = ["STARTFONT 2.1", f"FONT -made-up-medium-r-normal--{SIZE}-{SIZE * 10}-75-75-c-{SIZE * 10}-iso10646-1",
             f"SIZE {SIZE} 75 75", f"FONTBOUNDINGBOX {SIZE} {SIZE} 0 0", "STARTPROPERTIES 5", f"PIXEL_SIZE {SIZE}",
             f"FONT_ASCENT {SIZE}", "FONT_DESCENT 0", 'CHARSET_REGISTRY "ISO10646"', 'CHARSET_ENCODING "1"',
             "ENDPROPERTIES", f"CHARS {len(images)}"]  # fmt: skip
    for character, image in images.items():
        lines += [
            f"STARTCHAR U+{ord(character):04X}",
            f"ENCODING {ord(character)}",
            "SWIDTH 1000 0",
            f"DWIDTH {SIZE} 0",
        ]
        lines += [f"BBX {SIZE} {SIZE} 0 0", "BITMAP", *(np.packbits(row).tobytes().hex().upper() for row in image)]
        lines += ["ENDCHAR"]
    path.write_text("\n".join([*lines, "ENDFONT", ""]))
    return str(path)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    return font(tmp_path_factory.mktemp("font") / "made-up.bdf", squares("□国" + LEFT + RIGHT))


@pytest.fixture(scope="module", params=["wordpiece", "bpe", "unigram", "characters"])
def tokenizer(request):
    return Tokenizer.train(TEXT, kind=request.param, vocab_size=400)


def cnn(tokens=30, pictured=10, channels=64, width=8):
    torch.manual_seed(0)
    made = GlyphCNN(tokens, channels, width, dropout=0.0)
    images = torch.randint(0, 256, (pictured, SIZE, SIZE), dtype=torch.uint8)
    made.spell(torch.arange(pictured) * 2 + 3, images)
    return made, images


def near(ours, theirs):
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


# images


def test_characters_are_tokens_of_one(tokenizer):
    found = glyphs.characters(tokenizer)
    texts = [surface.decode(errors="replace").strip() for surface in tokenizer.alphabet.surface]
    assert set(found.values()) <= set(LEFT + RIGHT)
    # a vocabulary of bytes has those of which it made a token
    assert tokenizer.kind in ("bpe", "characters") or set(found.values()) == set(LEFT + RIGHT)
    assert found == {n: text for n, text in enumerate(texts) if text in set(LEFT + RIGHT)}


def test_images_are_the_fonts_in_any_company(made_up, tmp_path):
    exact, tokenizer = squares("□国" + LEFT + RIGHT), Tokenizer.train(TEXT, vocab_size=400)
    found, characters = glyphs.drawn(tokenizer, made_up, SIZE), glyphs.characters(tokenizer)
    assert found.images.dtype == np.uint8 and found.images.shape == (10, SIZE, SIZE)
    for token, image in zip(found.tokens.tolist(), found.images, strict=True):
        assert np.array_equal(image > 0, exact[characters[token]])
    fewer = Tokenizer.train([*TEXT[:100], "河打"], vocab_size=400)
    mine = glyphs.drawn(fewer, made_up, SIZE)
    for token, image in zip(mine.tokens.tolist(), mine.images, strict=True):
        same = next(n for n, c in characters.items() if c == glyphs.characters(fewer)[token])
        assert np.array_equal(image, found.images[found.tokens.tolist().index(same)])


def test_a_character_that_the_font_lacks_has_no_image(tmp_path):
    lacking = font(tmp_path / "few.bdf", squares("□国" + LEFT))
    tokenizer = Tokenizer.train(TEXT, vocab_size=400)
    found = glyphs.drawn(tokenizer, lacking, SIZE)
    assert {glyphs.characters(tokenizer)[token] for token in found.tokens.tolist()} == set(LEFT)


def test_what_cannot_be_drawn_is_refused_in_one_line(made_up, tmp_path, monkeypatch):
    tokenizer = Tokenizer.train(TEXT, vocab_size=400)
    (tmp_path / "words.txt").write_text("no font")
    plain = font(tmp_path / "plain.bdf", squares("□国ab"))
    for given, told in (
        (str(tmp_path / "none.ttf"), "no such file; --model.font FILE names a font"),
        (str(tmp_path / "words.txt"), "is no font that can be read; --model.font FILE names one"),
        (plain, "has none of the vocabulary's 10 Chinese characters; --model.font FILE names one"),
    ):
        with pytest.raises(UserError, match=told):
            glyphs.drawn(tokenizer, given, SIZE)
    with pytest.raises(UserError, match="the vocabulary has no Chinese character; subword would fit"):
        glyphs.drawn(Tokenizer.train(TEXT[:100], vocab_size=400), made_up, SIZE)
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"pip install unmask\[glyph\]"):
        patch.setitem(sys.modules, "PIL", None)
        glyphs.drawn(tokenizer, made_up, SIZE)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (None, "fontconfig .fc-match. is not there to find a font; --model.font FILE names one"),
        ("a.ttf\t0\ten|fr\n", "fontconfig knows no font for Chinese; install one, or --model.font FILE names one"),
        ("a.ttf\t0\ten|fr\nb.ttc\t65538\tja|zh-cn\nc.ttf\t0\tzh-cn\n", None),
    ],
)
def test_fontconfig_is_asked_for_chinese(tmp_path, monkeypatch, said, told):
    """What it names first may lack the language."""
    if said is not None:
        (tmp_path / "fc-match").write_text(f"#!/bin/sh\nprintf '{said!r}'\n".replace("''", "'"))
        (tmp_path / "fc-match").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}")
    if told is None:
        assert glyphs.installed() == ("b.ttc", 2)
        return
    with pytest.raises(UserError, match=told) as error:
        glyphs.installed()
    assert "\n" not in str(error.value)


# the Tianzige-CNN


def test_a_vector_is_the_papers_written_out():
    """One token after another, group by group."""
    made, images = cnn()
    tokens, rows = torch.tensor([3, 4, 5, 3, 21, 0]), []
    for token in tokens.tolist():
        own = made.own.weight[token]
        if token < 3 or token > 21 or token % 2 == 0:
            rows.append(own)
            continue
        image = images[(token - 3) // 2].float() / 255
        windows = image.unfold(0, 5, 1).unfold(1, 5, 1)  # [8, 8, 5, 5]
        strokes = torch.einsum("xyab,cab->cxy", windows, made.strokes.weight[:, 0]) + made.strokes.bias[:, None, None]
        pooled = strokes.relu().reshape(64, 2, 4, 2, 4).amax((2, 4))  # four fields, each the largest of sixteen
        fewer = torch.cat(
            [
                torch.einsum("oi,ixy->oxy", made.fewer.weight[2 * g : 2 * g + 2, :, 0, 0], pooled[8 * g : 8 * g + 8])
                for g in range(8)
            ]
        )
        fewer = fewer + made.fewer.bias[:, None, None]
        read = torch.cat([(made.grid.weight[4 * g : 4 * g + 4] * fewer[g : g + 1]).sum((1, 2, 3)) for g in range(16)])
        read = (read + made.grid.bias).relu()
        rows.append(made.merge.weight @ torch.cat([own, read]) + made.merge.bias)
    theirs, weight = torch.stack(rows), torch.randn(6, 8)
    near(made(tokens), theirs)
    mine, written = (
        torch.autograd.grad((found * weight).sum(), list(made.parameters())) for found in (made(tokens), theirs)
    )
    for a, b in zip(mine, written, strict=True):
        near(a, b)
        assert bool(b.abs().sum() > 0)


def test_equal_tokens_are_computed_once_and_others_change_nothing(monkeypatch):
    made, _ = cnn()
    seen, real = [], made.read
    monkeypatch.setattr(made, "read", lambda tokens: seen.append(tokens.tolist()) or real(tokens))
    together = made(torch.tensor([3, 4, 5, 3, 3, 4]))
    assert seen == [[3, 5]]
    for row, token in zip(together, (3, 4, 5, 3, 3, 4), strict=True):
        near(row, made(torch.tensor([token]))[0])
    assert torch.equal(made(torch.tensor([4, 6])), made.own.weight[[4, 6]])  # nothing to draw


def test_without_images_nothing_is_guessed():
    with pytest.raises(AssertionError, match="must be told how its tokens are drawn"):
        GlyphCNN(10, 64, 4, 0.0)(torch.tensor([1]))


@pytest.mark.parametrize("name", ["bert", "modernbert", "elmo"])
def test_parameters_are_counted(name):
    given = {"embedding": "glyph_cnn", "glyph_channels": 128, "tied": False, "vocab_size": 50}
    shape = SHAPES[name].model_copy(update=given)
    assert sum(p.numel() for p in backbone_of(shape).parameters()) == parameters(shape)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"tied": True}, "with a glyph_cnn there is no matrix of tokens to answer by; tied false would fit"),
        ({"decoder_layers": 1}, "embedding glyph_cnn is for models without a decoder"),
        ({"glyph_channels": 100}, "multiple of 64"),
        ({"glyph_size": 5}, "greater than or equal to 6"),
    ],
)
def test_what_does_not_fit_is_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        Shape(**{"width": 32, "heads": 2, "embedding": "glyph_cnn", "tied": False, **settings})


# from text to answers


TRAINED = {"length": 32, "batch_size": 8, "device": "cpu", "precision": "float32"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, made_up):
    """River characters stand among river words; one of either radical is only in the vocabulary."""
    folder, chance = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    lines = [
        "".join(chance.choice([*(LEFT if n % 2 else RIGHT)[:-1]], 8)) + " " + " ".join(chance.choice(words, 3)) + "。"
        for n in range(600)
        for words in ([["water", "river", "sea"], ["hand", "finger", "arm"]][1 - n % 2],)
    ]
    (folder / "text.txt").write_text("\n\n".join("\n".join(lines[n : n + 10]) for n in range(0, 600, 10)))
    Tokenizer.train([*lines, LEFT[-1] + RIGHT[-1]], vocab_size=300).save(folder / "tokenizer")
    unmask.prepare([str(folder / "text.txt")], out=folder / "corpus", tokenizer=folder / "tokenizer", valid=0.05)
    model = {"name": "bert-tiny", "width": 32, "heads": 2, "feed_forward": 64, "layers": 1, "embedding": "glyph_cnn",
             "glyph_channels": 64, "tied": False, "font": made_up}  # fmt: skip
    unmask.pretrain(folder / "corpus", out=folder / "run", model=model, objective="masked_lm", steps=20, **TRAINED)
    return folder


def test_an_unseen_character_is_near_those_with_its_radical(trained):
    model = unmask.load(trained / "run", device="cpu")
    ids = {c: model.tokenizer.encode([c])[0].ids.tolist()[0] for c in LEFT + RIGHT}
    with torch.no_grad():
        read = F.normalize(model.encoder.embeddings.tokens.read(torch.tensor(list(ids.values()))), dim=-1)
    likeness = dict(zip(ids, read @ read.T, strict=True))
    for mine, own, others in ((LEFT[-1], slice(0, 4), slice(5, 9)), (RIGHT[-1], slice(5, 9), slice(0, 4))):
        assert likeness[mine][own].mean() > likeness[mine][others].mean()
        assert likeness[mine][own].max() > likeness[mine][others].max()


def test_a_new_character_has_the_vector_of_its_image(trained, made_up, tmp_path, monkeypatch):
    """One that no vocabulary held; a new word, which has no image, is the mean of its pieces."""
    model = unmask.load(trained / "run", device="cpu")
    more = font(tmp_path / "more.bdf", squares("□国" + LEFT + RIGHT + "沟"))
    with pytest.raises(UserError, match="has none of the vocabulary's 1 Chinese characters"):
        with_tokens(model, ["沟"])  # its font lacks it
    model.shape = model.shape.model_copy(update={"font": more})
    larger, size = with_tokens(model, ["沟", "handriver"]), model.tokenizer.size
    assert larger.notes[-1] == (
        "added 2 tokens, 1 with a vector from their image, others the mean of their pieces, to answer with the mean of "
        "its pieces"
    )
    part, known = larger.encoder.embeddings.tokens, model.encoder.embeddings.tokens
    with torch.no_grad():
        assert torch.equal(part(torch.arange(size)), known(torch.arange(size)))
        pieces = torch.from_numpy(model.tokenizer.encode(["handriver"])[0].ids).long()
        assert torch.allclose(part(torch.tensor([size + 1]))[0], known(pieces).mean(0), atol=1e-6)
        image = torch.from_numpy(squares("□国" + LEFT + RIGHT + "沟")["沟"]) * torch.tensor(255, dtype=torch.uint8)
        bare = GlyphCNN(1, 64, 32, 0.0)
        weights = {name: weight for name, weight in known.state_dict().items() if name != "own.weight"}
        bare.load_state_dict({**weights, "own.weight": torch.zeros(1, 32)})
        bare.spell(torch.tensor([0]), image[None])
        assert torch.allclose(part(torch.tensor([size])), bare(torch.tensor([0])), atol=1e-6)


def test_an_enlarged_run_keeps_its_images(trained, made_up, tmp_path, capsys):
    """Those that it was trained with, and words need no font."""
    given = ["convert", str(trained / "run"), "--to", "unmask", "--out", str(tmp_path / "out")]
    assert main([*given, "--add-tokens", "handriver"]) == 0
    assert "added 1 token, each the mean of its pieces" in capsys.readouterr().out
    before, after = (
        unmask.load(run, device="cpu").hidden(["河打 water"])[0] for run in (trained / "run", tmp_path / "out")
    )
    assert np.array_equal(before, after)


def test_a_run_opens_where_no_font_is(trained, tmp_path, monkeypatch):
    def refuse(*given):
        raise AssertionError("nothing is drawn once a run has its images")

    before = unmask.load(trained / "run", device="cpu").hidden(["河打 water"])
    monkeypatch.setattr(glyphs, "_draw", refuse)
    assert np.array_equal(unmask.load(trained / "run", device="cpu").hidden(["河打 water"])[0], before[0])
    files = {name: classified(tmp_path / f"{name}.tsv", 40, n) for n, name in enumerate(("train", "valid"))}
    for tuning in ("full", "frozen"):
        tuned = unmask.finetune(
            trained / "run", task="classify", tuning=tuning, out=tmp_path / tuning, epochs=1, seeds=[1], **files,
            device="cpu", precision="float32",
        )  # fmt: skip
        (said,), (again,) = (
            model.predict(["河 water hand"]) for model in (tuned, unmask.load(tmp_path / tuning, device="cpu"))
        )
        assert again.probabilities == pytest.approx(said.probabilities, rel=1e-5)
    further = unmask.pretrain(
        trained / "corpus", out=tmp_path / "further", base=trained / "run", objective="masked_lm", steps=2, **TRAINED
    )
    assert further["steps"] == 2
    kept = [
        (run / "glyphs.safetensors").read_bytes() for run in (trained / "run", tmp_path / "further", tmp_path / "full")
    ]
    assert len(set(kept)) == 1


def test_a_run_without_its_images_is_refused(trained, tmp_path):
    import shutil

    shutil.copytree(trained / "run", tmp_path / "run")
    file = tmp_path / "run" / "glyphs.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"glyphs.safetensors: does not hold the images of tokens"):
        unmask.load(tmp_path / "run", device="cpu")
    file.unlink()
    with pytest.raises(UserError, match=r"glyphs.safetensors: is missing"):
        unmask.load(tmp_path / "run", device="cpu")


def test_hugging_face_has_no_place_for_it(trained, tmp_path, capsys):
    assert main(["convert", str(trained / "run"), "--out", str(tmp_path / "out"), "--to", "hf"]) == 2
    error = capsys.readouterr().err.strip()
    assert "model.embedding glyph_cnn: only models with subword go out" in error and "\n" not in error
