"""Layers with weights in common (ALBERT): one set of them, and otherwise the same computation."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

import unmask
from small_base import EXACT, classified, sentences
from unmask.errors import UserError
from unmask.hub.shapes import write_shape
from unmask.inference.building import network_of
from unmask.models.backbone import backbone_of
from unmask.models.counting import parameters
from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.objectives.masked_lm import MaskedLM
from unmask.presets import PRESETS
from unmask.text.example import Example, Stream
from unmask.training.placement import Placement, Weights
from unmask.tuning.freeze_first import FreezeFirst

SIZES = {"vocab_size": 90, "width": 32, "layers": 4, "heads": 2, "feed_forward": 48, "dropout": 0}
BERT = Shape(**SIZES, attention_dropout=0, max_length=40)
MODERNBERT = PRESETS["modernbert-tiny"].model_copy(update={**SIZES, "window": 6, "global_every": 2})
T5 = PRESETS["t5-tiny"].model_copy(update={**SIZES, "decoder_layers": 3, "head_width": 16})
SHAPES = {"bert": BERT, "modernbert": MODERNBERT, "t5": T5}
SHARED = {"attention": ("attention",), "feed_forward": ("feed_forward",), "all": ("attention", "feed_forward")}


def sharing(shape, what):
    return shape.model_copy(update={"layer_sharing": what})


def sequences():
    stream = Stream(np.random.default_rng(0).integers(0, 90, 36), np.array([21, 15]))
    return collate(Example({"encoder": stream}, {})).streams["encoder"]


@pytest.mark.parametrize("name, what", itertools.product(SHAPES, ["none", *SHARED]))
def test_parameters_are_counted(name, what):
    shape = sharing(SHAPES[name], what)
    assert parameters(shape) == sum(p.numel() for p in backbone_of(shape).parameters())


@pytest.mark.parametrize("what, parts", SHARED.items())
def test_what_is_shared_and_nothing_else_is_one_weight(what, parts):
    first, *others = Encoder(sharing(BERT, what)).blocks
    for block in others:
        pairs = zip(first.named_parameters(), block.parameters(), strict=True)
        assert all((weight is other) == name.startswith(parts) for (name, weight), other in pairs)


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_it_computes_what_layers_of_equal_weights_compute(name):
    """Windows stay those of each layer; a shared weight's gradient is the sum of theirs."""
    shape = SHAPES[name]
    one, many = Encoder(sharing(shape, "all")).eval(), Encoder(shape).eval()
    for parameter in one.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    many.load_state_dict(one.state_dict())
    (ours, theirs), read = (model(sequences()) for model in (one, many)), sequences()
    assert torch.equal(ours, theirs)
    gradients = []
    for model in (one, many):
        model(read).square().sum().backward()
        gradients.append([dict(block.named_parameters()) for block in model.blocks])
    shared, apart = gradients
    for weight in apart[1]:
        total = sum(block[weight].grad for block in apart if weight in block)
        torch.testing.assert_close(shared[1][weight].grad, total, rtol=1e-4, atol=1e-4 * float(total.abs().max()))


def test_places_for_adapters_are_each_layers_own():
    first, second, *_ = Encoder(sharing(BERT, "all")).blocks
    first.after_attention = torch.nn.Linear(32, 32)
    assert isinstance(second.after_attention, torch.nn.Identity)


def test_rounded_weights_stay_one():
    network = network_of(sharing(BERT, "all"), [MaskedLM()])
    weights = Weights(network, Placement(torch.device("cpu"), torch.bfloat16))
    first, *others = network.backbone.blocks
    assert all(block.attention.qkv.weight is first.attention.qkv.weight for block in others)
    assert first.attention.qkv.weight.dtype == torch.bfloat16
    assert len(weights.trained) == len(dict(network.named_parameters()))


@pytest.mark.parametrize("n", [1, 3])
def test_some_of_the_layers_cannot_stay_as_they_are(n):
    with pytest.raises(UserError, match=f"--tuning.n {n}: the layers have weights in common; 0 or 4, all, would fit"):
        FreezeFirst(n=n).fit(sharing(BERT, "all"))
    FreezeFirst(n=0).fit(sharing(BERT, "all"))
    FreezeFirst(n=4).fit(sharing(BERT, "all"))


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("albert")])
def test_alberts_are_as_large_as_those_of_transformers(name):
    transformers = pytest.importorskip("transformers")
    config = transformers.AlbertConfig(**write_shape(PRESETS[name], Path("config.json")))
    with torch.device("meta"):
        theirs = transformers.AlbertModel(config, add_pooling_layer=False)
    assert parameters(PRESETS[name]) == sum(p.numel() for p in theirs.parameters())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("albert")
    documents = ("\n".join(" ".join(words) + "." for words in sentences(12, seed)) for seed in range(40))
    (home / "text.txt").write_text("\n\n".join(documents), encoding="utf-8")
    unmask.prepare([str(home / "text.txt")], out=home / "corpus", vocab_size=120, valid=0, processes=1)
    objective = {"masked_lm": {}, "sentence_order": {}}
    made = {"objective": objective, "model": "albert-tiny", "steps": 2, "length": 32, "batch_size": 8}
    unmask.pretrain(home / "corpus", out=home / "run", **made, **EXACT)
    return home / "run"


@pytest.mark.parametrize("to", ["run", "hf", "fine-tuned"])
def test_what_was_trained_is_opened_again_as_one_weight(run, tmp_path, to):
    if to == "hf":
        unmask.convert(run, to="hf", out=tmp_path / "hf")
    if to == "fine-tuned":
        files = {name: classified(tmp_path / f"{name}.tsv", 40, n) for n, name in enumerate(("train", "valid"))}
        unmask.finetune(run, task="classify", out=tmp_path / to, epochs=1, seeds=[1], **files, **EXACT)
    model = unmask.load(run if to == "run" else tmp_path / to)
    first, *others = model.network.backbone.blocks
    assert all(block.attention.qkv.weight is first.attention.qkv.weight for block in others)
    assert sum(p.numel() for p in model.network.backbone.parameters()) == parameters(model.shape)
    if to != "fine-tuned":
        assert model.network.heads["masked_lm"].vocabulary is model.network.backbone.embeddings.tokens.weight
        assert model.heads == ["masked_lm", "sentence_order"]
