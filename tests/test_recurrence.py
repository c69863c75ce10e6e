"""The GRU: beside torch's own, sequence by sequence; as a backbone that is read at first tokens."""

import numpy as np
import pytest
import torch

import unmask
from small_base import sentences
from test_sentence_objectives import SHAPES
from unmask import calls
from unmask.commands.convert import Convert
from unmask.commands.prepare import Prepare
from unmask.commands.pretrain import Pretrain
from unmask.errors import UserError
from unmask.models.backbone import backbone_of
from unmask.models.counting import parameters
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.nn.recurrence import Recurrence
from unmask.presets import PRESETS
from unmask.text.example import Example, Stream

LENGTHS = (3, 9, 1, 5, 5)


def each(x_TE, lengths=LENGTHS):
    return x_TE.split(list(lengths))


def gradients(module, x_TE, loss):
    module.zero_grad()
    x_TE.grad = None
    loss.square().sum().backward()
    return [p.grad.clone() for p in module.parameters()] + [x_TE.grad.clone()]


@pytest.mark.parametrize("first_last", [False, True])
def test_each_sequence_is_read_as_if_alone(first_last):
    torch.manual_seed(0)
    recurrence, x_TE = Recurrence(6, 8), torch.randn(sum(LENGTHS), 6, requires_grad=True)
    ours = recurrence(x_TE, LENGTHS, first_last)
    turned = [x.roll(-1, 0) if first_last else x for x in each(x_TE)]
    states = [recurrence.gru(x)[0] for x in turned]
    theirs = torch.cat([h.roll(1, 0) if first_last else h for h in states])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    for mine, other in zip(gradients(recurrence, x_TE, ours), gradients(recurrence, x_TE, theirs), strict=True):
        assert (mine - other).norm() <= 1e-5 * other.norm()


def test_bfloat16_adds_up_in_float32():
    torch.manual_seed(0)
    exact, lengths = Recurrence(32, 32), (120,) * 8
    x = torch.randn(sum(lengths), 32).bfloat16()
    for weight in exact.parameters():
        weight.data = weight.data.bfloat16().float()
    narrow = Recurrence(32, 32)
    narrow.load_state_dict(exact.state_dict())
    narrow.bfloat16()
    (mine, wide) = (module(x.to(kind), lengths) for module, kind in ((narrow, torch.bfloat16), (exact, torch.float32)))
    assert mine.dtype == torch.bfloat16
    mine.sum().backward()
    wide.sum().backward()
    for (name, a), b in zip(narrow.named_parameters(), exact.parameters(), strict=True):
        assert a.grad.dtype == torch.bfloat16
        assert (a.grad.float() - b.grad).norm() < 0.005 * b.grad.norm(), name


def batch_of(sequences):
    lengths = np.array([len(ids) for ids in sequences])
    return collate(Example({"encoder": Stream(np.concatenate(sequences), lengths)})).streams["encoder"]


def test_first_tokens_see_all_and_the_others_what_stands_before_them():
    torch.manual_seed(0)
    network = backbone_of(SHAPES["gru"]).eval()
    text, other = [2, 10, 11, 12, 13, 3], [2, 20, 3]
    states = network(batch_of([text, other]))
    torch.testing.assert_close(states[:6], network(batch_of([text])))
    for place in range(1, 6):
        changed = [*text]
        changed[place] = 99
        again = network(batch_of([changed, other]))
        same = [bool(torch.equal(a, b)) for a, b in zip(states, again, strict=True)]
        assert same == [False] + [p < place for p in range(1, 6)] + [True] * 3


@pytest.mark.parametrize("layers", [1, 3])
def test_parameters_are_counted(layers):
    for shape in (
        Shape(**{**SHAPES["gru"].model_dump(), "layers": layers}),
        PRESETS["gru-large"].model_copy(
            update={"vocab_size": 50, "width": 48, "embedding_width": 12, "layers": layers}
        ),
    ):
        assert sum(p.numel() for p in backbone_of(shape).parameters()) == parameters(shape)


@pytest.mark.parametrize("setting", [{"heads": 4}, {"gated": True}, {"window": 8}, {"positions": "rotary"}])
def test_parts_that_it_does_not_have_are_refused(setting):
    with pytest.raises(ValueError, match=f"{next(iter(setting))} .* does not go with family gru"):
        Shape(**{**SHAPES["gru"].model_dump(), **setting})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    lines = [" ".join(words).capitalize() + "." for words in sentences(600)]
    (folder / "text.txt").write_text("\n\n".join("\n".join(lines[n : n + 10]) for n in range(0, 600, 10)))
    calls.call(Prepare, str(folder / "text.txt"), out=folder / "corpus", vocab_size=120, valid=0.05)
    return folder / "corpus"


SMALL = {"length": 32, "batch_size": 8, "steps": 2, "device": "cpu", "precision": "float32"}


@pytest.mark.parametrize(
    ("objective", "model"),
    [
        ("skip_thought", {"name": "gru-tiny", "width": 32, "embedding_width": 16}),
        ({"skip_thought": {"decoder": "transformer"}}, {"name": "bert-tiny", "width": 32, "heads": 2}),
        ("quick_thought", {"name": "gru-tiny", "width": 32}),
        ("contrastive", {"name": "bert-tiny", "width": 32, "heads": 2}),
    ],
)
def test_a_run_is_written_opened_and_gone_on_with(corpus, tmp_path, objective, model):
    calls.call(Pretrain, corpus, objective=objective, model=model, out=tmp_path / "a", **SMALL)
    model = unmask.load(tmp_path / "a")
    (states,) = model.hidden(["the long film"])
    assert states.shape[1] == 32 and np.isfinite(states).all()
    calls.call(
        Pretrain, corpus, objective=objective, base=str(tmp_path / "a"), out=tmp_path / "b", lr=1e-30, weight_decay=0,
        **SMALL,
    )  # fmt: skip
    again = dict(unmask.load(tmp_path / "b").network.named_parameters())
    for name, weight in model.network.named_parameters():
        torch.testing.assert_close(again[name], weight, rtol=0, atol=1e-25)


def test_a_second_encoder_begins_with_the_base(corpus, tmp_path):
    from unmask.inference.building import network_of
    from unmask.objectives.quick_thought import QuickThought
    from unmask.runs.pretraining import take_over

    small = {"name": "bert-tiny", "width": 32, "heads": 2}
    calls.call(Pretrain, corpus, objective="masked_lm", model=small, out=tmp_path / "a", **SMALL)
    base = unmask.load(tmp_path / "a")
    network = network_of(base.shape, [QuickThought()])
    take_over(network, base.network)
    theirs = base.network.backbone.state_dict()
    for part in (network.backbone, network.companions["candidates"]):
        assert all(torch.equal(weight, theirs[name]) for name, weight in part.state_dict().items())


def test_what_hugging_face_has_no_place_for_is_named(corpus, tmp_path):
    calls.call(
        Pretrain,
        corpus,
        objective="quick_thought",
        model={"name": "gru-tiny", "width": 32},
        out=tmp_path / "gru",
        **SMALL,
    )
    with pytest.raises(UserError, match="Hugging Face knows no gru; bert, "):
        calls.call(Convert, str(tmp_path / "gru"), to="hf", out=tmp_path / "hf")
    small = {"name": "bert-tiny", "width": 32, "heads": 2}
    for objective, told in (
        ("quick_thought", "left out: candidates, which was trained beside it"),
        ("contrastive", "not carried: the contrastive head, for which"),
    ):
        calls.call(Pretrain, corpus, objective=objective, model=small, out=tmp_path / objective, **SMALL)
        notes = calls.call(Convert, str(tmp_path / objective), to="hf", out=tmp_path / f"{objective}-hf")
        assert any(note.startswith(told) for note in notes)


@pytest.mark.parametrize("tuning", ["full", "frozen"])
def test_it_is_fine_tuned(corpus, tmp_path, tuning):
    from small_base import classified
    from unmask.commands.finetune import Finetune

    calls.call(
        Pretrain, corpus, objective="skip_thought", model={"name": "gru-tiny", "width": 32}, out=tmp_path / "a", **SMALL
    )
    files = {name: classified(tmp_path / f"{name}.tsv", 40, n) for n, name in enumerate(("train", "valid"))}
    result = calls.call(
        Finetune, str(tmp_path / "a"), task="classify", tuning=tuning, out=tmp_path / "b", epochs=1, seeds=[1], **files,
        device="cpu", precision="float32",
    )  # fmt: skip
    (said,) = result.predict(["the lovely film is long"])
    assert said.labels[0] in ("good", "bad")
