"""ELMo: two directions that never meet, beside torch's own LSTM; letters; all layers kept."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import unmask
from fake_corpus import corpus_of
from small_base import classified, sentences
from test_every_objective import SHAPES, batch_of, chosen
from unmask.commandline.program import main
from unmask.inference import building
from unmask.models.backbone import backbone_of
from unmask.models.counting import parameters
from unmask.models.elmo import mirror
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.nn.characters import CharCNN
from unmask.nn.recurrence import Projected
from unmask.presets import PRESETS, _elmo, _elmo_transformer
from unmask.text.example import Example, Stream
from unmask.text.tokens.spelling import BEGIN, EMPTY, END, LETTERS, LONGEST, SPECIAL, letters
from unmask.text.tokens.tokenizer import Tokenizer

LENGTHS = (3, 9, 1, 5, 5)
KINDS = ("elmo", "elmo-transformer")
each = pytest.mark.parametrize("kind", KINDS)


def read(sequences):
    lengths = np.array([len(ids) for ids in sequences])
    return collate(Example({"encoder": Stream(np.concatenate(sequences), lengths)})).streams["encoder"]


def texts(seed=0, lengths=LENGTHS):
    chance = np.random.default_rng(seed)
    return [chance.integers(5, 1000, length) for length in lengths]


def model(kind, **changes):
    torch.manual_seed(0)
    return backbone_of(SHAPES[kind].model_copy(update=changes)).eval()


def gradients(parameters, loss):
    return torch.autograd.grad(loss, list(parameters))


def near(ours, theirs):
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


# the recurrence


def test_an_lstm_is_torchs_own_sequence_by_sequence():
    torch.manual_seed(0)
    ours, theirs = Projected(6, 10), nn.LSTM(6, 10, proj_size=6)
    theirs.load_state_dict(ours.lstm.state_dict())
    x, weight = torch.randn(sum(LENGTHS), 6, requires_grad=True), torch.randn(sum(LENGTHS), 6)
    states = ours(x, LENGTHS)
    alone = torch.cat([theirs(part)[0] for part in x.split(LENGTHS)])
    near(states, alone)
    mine = gradients([x, *ours.parameters()], (states * weight).sum())
    for a, b in zip(mine, gradients([x, *theirs.parameters()], (alone * weight).sum()), strict=True):
        near(a, b)


def test_bfloat16_adds_up_in_float32():
    torch.manual_seed(0)
    exact, lengths = Projected(32, 48), (120,) * 8
    for weight in exact.parameters():
        weight.data = weight.data.bfloat16().float()
    x, narrow = torch.randn(sum(lengths), 32).bfloat16(), Projected(32, 48)
    narrow.load_state_dict(exact.state_dict())
    narrow.bfloat16()
    mine, wide = narrow(x, lengths), exact(x.float(), lengths)
    assert mine.dtype == torch.bfloat16
    for a, b in zip(gradients(narrow.parameters(), mine.sum()), gradients(exact.parameters(), wide.sum()), strict=True):
        assert (a.float() - b).norm() < 0.005 * b.norm()


def written_out(network, sequences):
    """The paper's §3.1 for each text alone: an LSTM of torch's from the left, one from the right, layer by layer."""
    found = []
    for tokens in torch.split(sequences.tokens, sequences.layout.lengths):
        x = F.embedding(tokens, network.embeddings.tokens.weight)
        ahead, back = x, x.flip(0)
        layers = [torch.cat([x, x], -1)]
        for number, pair in enumerate(network.blocks):
            said = pair.ahead.lstm(ahead)[0], pair.back.lstm(back)[0]
            ahead, back = (said[0] + ahead, said[1] + back) if number else said
            layers.append(torch.cat([ahead, back.flip(0)], -1))
        found.append(layers)
    return [torch.cat(parts) for parts in zip(*found, strict=True)]


@pytest.mark.parametrize("training", [False, True])
def test_all_layers_and_gradients_are_those_written_out(training):
    network, sequences = model("elmo", layers=3).train(training), read(texts())
    ours, theirs = network.layers(sequences), written_out(network, sequences)
    weights = [torch.randn_like(states) for states in theirs]
    for a, b in zip(ours, theirs, strict=True):
        near(a, b)
    losses = [sum((w * s).sum() for w, s in zip(weights, states, strict=True)) for states in (ours, theirs)]
    for a, b in zip(*(gradients(network.parameters(), loss) for loss in losses), strict=True):
        near(a, b)


# two directions


def test_turned_round_twice_is_as_before():
    layout = read(texts()).layout
    assert mirror(layout).tolist() == [2, 1, 0, *range(11, 2, -1), 12, *range(17, 12, -1), *range(22, 17, -1)]
    assert torch.equal(mirror(layout)[mirror(layout)], torch.arange(sum(LENGTHS)))


@each
def test_each_direction_is_blind_to_the_other_and_to_other_texts(kind):
    """Bit by bit, in every layer: the left half hangs on nothing that follows, the right half on nothing before."""
    network, given = model(kind), texts()
    width, start = SHAPES[kind].width // 2, LENGTHS[0]
    before = network.layers(read(given))
    for t in range(LENGTHS[1]):
        for part, side, same in (
            (slice(t + 1, None), slice(0, width), slice(start, start + t + 1)),
            (slice(0, t), slice(width, None), slice(start + t, start + LENGTHS[1])),
        ):
            changed = [ids.copy() for ids in given]
            changed[1][part] = (changed[1][part] + 17) % 900 + 5
            after = network.layers(read(changed))
            for a, b in zip(before, after, strict=True):
                assert torch.equal(a[same, side], b[same, side])
                assert torch.equal(a[:start], b[:start]) and torch.equal(
                    a[start + LENGTHS[1] :], b[start + LENGTHS[1] :]
                )
            if len(changed[1][part]):
                far = start + (LENGTHS[1] - 1 if side.start == 0 else 0)
                assert not torch.equal(before[-1][far, side], after[-1][far, side])


@each
def test_a_token_is_asked_for_where_nobody_has_read_it(kind):
    """No gradient of an answer's loss reaches the embedding of what is asked for."""
    objectives = chosen("bidirectional_lm")
    example = batch_of(objectives, corpus_of(shards=1, documents=4, sentences=6, words=5), rows=2)
    torch.manual_seed(0)
    network = building.network_of(SHAPES[kind], objectives.values()).eval()
    batch = collate(example)
    asked = {name: batch.targets[name] for name in ("forward_lm", "backward_lm")}
    kept = {}
    network.backbone.embeddings.register_forward_hook(lambda module, given, x: kept.update(x=x.requires_grad_()) or x)
    for name, step in (("forward_lm", 1), ("backward_lm", -1)):
        answers = asked[name]
        assert torch.equal(batch.streams["encoder"].tokens[answers.index + step], answers.labels)
        for m in (0, len(answers.index) // 2, len(answers.index) - 1):
            batch.forget()
            logits = network.logits(batch, name)[m]
            (reached,) = torch.autograd.grad(logits[answers.labels[m]], kept["x"])
            rows = reached.abs().sum(-1).nonzero()[:, 0]
            place = int(answers.index[m])
            assert place in rows and (rows * step <= place * step).all()


def test_both_directions_have_one_softmax_and_the_loss_is_their_sum():
    objectives = chosen("bidirectional_lm")
    network = building.network_of(SHAPES["elmo"].model_copy(update={"tied": False}), objectives.values())
    heads = network.heads
    assert heads["forward_lm"].softmax is heads["backward_lm"].softmax
    names = [name for name, _ in network.named_parameters() if name.startswith("heads.")]
    assert names == ["heads.forward_lm.softmax.vocabulary", "heads.forward_lm.softmax.bias"]
    batch = collate(batch_of(objectives, corpus_of(shards=1, documents=4, sentences=6, words=5), rows=2))
    losses = objectives["bidirectional_lm"].loss(network, batch)
    states, softmax = network.states(batch), heads["forward_lm"].softmax
    for half, name in enumerate(("forward_lm", "backward_lm")):
        answers = batch.targets[name]
        logits = states[answers.index].chunk(2, -1)[half] @ softmax.vocabulary.T + softmax.bias
        near(losses[name].total, F.cross_entropy(logits, answers.labels, reduction="sum"))
    assert objectives["bidirectional_lm"].weights() == {"forward_lm": 1.0, "backward_lm": 1.0}


def test_embeddings_answer_where_they_are_tied():
    network = building.network_of(SHAPES["elmo"], chosen("bidirectional_lm").values())
    assert network.heads["backward_lm"].softmax.vocabulary is network.backbone.embeddings.tokens.weight


# letters


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train([" ".join(words) for words in sentences(300)] + ["naïve 北京"], vocab_size=150)


def test_letters_are_those_of_the_text(tokenizer):
    table = letters(tokenizer)
    assert table.shape == (tokenizer.size, LONGEST) and table.min() >= 0 and table.max() < LETTERS
    for row, name, special in zip(
        table, tokenizer.tokens(range(tokenizer.size)), tokenizer.special.tolist(), strict=True
    ):
        written = [*name.encode()] if special else [*(name[2:] if name[:2] == "##" else name).encode()]
        found = row[row != EMPTY].tolist()
        assert found[0] == (SPECIAL if special else BEGIN) and found[-1] == END
        assert [c for c in found[1:-1] if c != 32] == written
        # a piece that begins a word stands after a space, another does not; Chinese needs none
        assert (found[1] == 32) == (not special and name[:2] != "##" and name[0] not in "北京")
    assert len({row.tobytes() for row in table[tokenizer.ordinary]}) >= len(tokenizer.ordinary) - 2


def test_a_long_token_is_cut():
    long = Tokenizer.train(["x" * 70 + " y"] * 3, kind="wordpiece", vocab_size=300)
    table, sizes = letters(long), [len(text) for text in long.alphabet.surface]
    assert max(sizes) > LONGEST
    assert table[int(np.argmax(sizes))].tolist() == [BEGIN, 32, *b"x" * (LONGEST - 3), END]


def char_cnn(tokenizer, highways=2):
    torch.manual_seed(0)
    made = CharCNN(LETTERS, 16, {1: 4, 2: 4, 3: 8, 7: 16}, highways, 12)
    made.spell(torch.from_numpy(letters(tokenizer)), EMPTY)
    return made


def test_a_vector_is_the_papers_written_out(tokenizer):
    """One token after another, filter by filter, over all fifty places."""
    made, table = char_cnn(tokenizer), letters(tokenizer)
    assert made.table.shape[1] < LONGEST  # places that nothing fills are not computed
    tokens = torch.tensor([7, 60, 2, 60, 99])
    rows = []
    for token in tokens.tolist():
        x = made.letters.weight[torch.from_numpy(table[token])]  # [50, 16]
        values = []
        for convolution in made.convolutions:
            wide = convolution.kernel_size[0]
            windows = [x[at : at + wide].T for at in range(LONGEST - wide + 1)]
            products = torch.stack([(convolution.weight * window).sum((1, 2)) for window in windows])
            values.append((products + convolution.bias).max(0).values.relu())
        y = torch.cat(values)
        for highway in made.highways:
            gate = torch.sigmoid(highway.gate(y))
            y = gate * torch.relu(highway.layer(y)) + (1 - gate) * y
        rows.append(made.projection(y))
    theirs, weight = torch.stack(rows), torch.randn(5, 12)
    near(made(tokens), theirs)
    for a, b in zip(
        gradients(made.parameters(), (made(tokens) * weight).sum()),
        gradients(made.parameters(), (theirs * weight).sum()),
        strict=True,
    ):
        near(a, b)


def test_a_token_that_was_never_met_has_a_vector_of_its_letters(tokenizer):
    made = char_cnn(tokenizer)
    with torch.no_grad():
        every = made(torch.arange(tokenizer.size))
    assert len(every.unique(dim=0)) >= tokenizer.size - 2 and bool(every.isfinite().all())


def test_without_letters_nothing_is_guessed():
    network = backbone_of(PRESETS["elmo-tiny"].model_copy(update={"vocab_size": 20}))
    with pytest.raises(AssertionError, match="must be told how its tokens are written"):
        network(read([np.array([1, 2])]))


# shapes


SMALL = {
    "elmo": _elmo(64, 48, 64),
    "subword": SHAPES["elmo"],
    "three layers": SHAPES["elmo"].model_copy(update={"layers": 3}),
    "transformer": _elmo_transformer(2, 256, 64),
    "before": SHAPES["elmo-transformer"].model_copy(update={"norm": "before"}),
    "before, rotary": _elmo_transformer(2, 256, 64).model_copy(update={"norm": "before", "bias": False}),
    "buckets": SHAPES["elmo-transformer"].model_copy(update={"positions": "buckets", "embedding_norm": False}),
    "bert of letters": Shape(
        width=64, heads=2, layers=2, feed_forward=80, embedding="char_cnn", filters=64, tied=False
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_parameters_are_counted(name):
    shape = SMALL[name].model_copy(update={"vocab_size": 50})
    assert sum(p.numel() for p in backbone_of(shape).parameters()) == parameters(shape)


def test_the_papers_model_has_the_papers_sizes():
    shape = PRESETS["elmo"]
    assert shape.convolutions == {1: 32, 2: 32, 3: 64, 4: 128, 5: 256, 6: 512, 7: 1024}
    assert (shape.one_way.width, shape.feed_forward, shape.layers, shape.token_width) == (512, 4096, 2, 512)
    assert round(parameters(shape) / 1e6, 1) == 93.7  # the release's 93.6 have one bias for each gate


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"heads": 4}, "heads 4 does not go with family elmo; 1 would fit"),
        ({"positions": "rotary"}, "positions rotary does not go with family elmo"),
        ({"causal": True}, "causal True does not go with family elmo"),
        ({"feed_forward": 32}, "cells must be more than half its width"),
        ({"width": 65}, "half the width either way"),
        ({"embedding": "char_cnn"}, "no matrix of tokens to answer by; tied false would fit"),
        ({"filters": 100}, "multiple of 64"),
    ],
)
def test_what_does_not_fit_is_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        Shape(**{**SHAPES["elmo"].model_dump(), **settings})
    if "causal" in settings:
        with pytest.raises(ValueError, match="causal True does not go with family elmo-transformer"):
            Shape(**{**SHAPES["elmo-transformer"].model_dump(), **settings})


# from text to answers


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    lines = [" ".join(words).capitalize() + "." for words in sentences(600)]
    (folder / "text.txt").write_text("\n\n".join("\n".join(lines[n : n + 10]) for n in range(0, 600, 10)))
    unmask.prepare([str(folder / "text.txt")], out=folder / "corpus", vocab_size=120, valid=0.05)
    return folder / "corpus"


TRAINED = {"length": 32, "batch_size": 4, "steps": 4, "device": "cpu", "precision": "float32"}
TINY = {"name": "elmo-tiny", "width": 32, "feed_forward": 24, "filters": 64}


@pytest.mark.parametrize(
    "shape",
    [
        TINY,
        {**TINY, "embedding": "subword", "tied": True},
        {"name": "elmo-transformer-tiny", "width": 64, "heads": 1, "feed_forward": 24, "filters": 64},
    ],
)
def test_the_road(corpus, tmp_path, shape):
    """Pre-trained, opened with all its layers, and fine-tuned."""
    whole = unmask.pretrain(corpus, out=tmp_path / "a", model=shape, objective="bidirectional_lm", **TRAINED)
    assert {"loss/forward_lm", "loss/backward_lm", "perplexity/backward_lm"} <= set(whole["figures"])
    loaded = unmask.load(tmp_path / "a", device="cpu")
    given = ["the long film", "a play"]
    layers = [loaded.hidden(given, layer=layer) for layer in range(3)]
    for states in zip(*layers, strict=True):
        assert states[0].shape == states[1].shape == states[2].shape == (len(states[0]), loaded.shape.width)
        ahead, back = np.split(states[0], 2, axis=1)
        assert np.array_equal(ahead, back)  # of both directions the lowest layer is the same
        assert not np.array_equal(*np.split(states[1], 2, axis=1)) and not np.array_equal(states[1], states[2])
    for ours, last in zip(layers[2], loaded.hidden(given), strict=True):
        assert np.array_equal(ours, last)
    files = {name: classified(tmp_path / f"{name}.tsv", 40, n) for n, name in enumerate(("train", "valid"))}
    for tuning in ("frozen", {"freeze_first": {"n": 1}}):
        out = tmp_path / (tuning if isinstance(tuning, str) else "freeze_first")
        tuned = unmask.finetune(
            tmp_path / "a", task="classify", tuning=tuning, out=out, epochs=1, seeds=[1], **files,
            device="cpu", precision="float32",
        )  # fmt: skip
        (said,) = tuned.predict(["the lovely film is long"])
        assert said.labels[0] in ("good", "bad") and tuned.task.pool == "mean"
        (again,) = unmask.load(out, device="cpu").predict(["the lovely film is long"])
        assert again.probabilities == pytest.approx(said.probabilities, rel=1e-5)


def test_company_and_models_that_do_not_fit_are_refused(corpus, tmp_path, capsys):
    for objective, model, told in (
        ("bidirectional_lm,masked_lm", "elmo-tiny", "bidirectional_lm"),
        ("bidirectional_lm", "bert-tiny", "cannot train bert-tiny; --model could be elmo-tiny"),
        ("masked_lm", "elmo-tiny", "cannot train elmo-tiny"),
    ):
        command = ["pretrain", str(corpus), "--objective", objective, "--model", model, "--out", str(tmp_path / "out")]
        assert main(command) == 2
        error = capsys.readouterr().err.strip()
        assert told in error and "\n" not in error
