"""DeBERTa: sizes, and embeddings that differ from a generator's; its numbers are transformers' in test_parity.py."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import unmask
from fake_corpus import corpus_of
from small_base import EXACT, classified, sentences
from unmask.commands.pretrain import Pretrain
from unmask.hub.shapes import write_shape
from unmask.inference import building
from unmask.inference.loading import load
from unmask.models.counting import parameters
from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.nn.embeddings import TokenDifference
from unmask.nn.network import Network
from unmask.objectives.replaced_token_detection import ReplacedTokenDetection
from unmask.presets import PRESETS
from unmask.text.sampling.plan import Plan, draw

RTD = ReplacedTokenDetection(generator=1.0, generator_depth=0.5, embeddings="disentangled")
SMALL = Shape(family="deberta", positions="disentangled", vocab_size=1000, width=48, layers=4, heads=4, segments=0,
              feed_forward=100, max_length=64, dropout=0, attention_dropout=0)  # fmt: skip
TOKENS, THEIRS = "backbone.embeddings.tokens.weight", "companions.generator.embeddings.tokens.weight"


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("deberta")])
def test_sizes_are_those_of_transformers(name):
    transformers = pytest.importorskip("transformers")
    shape = PRESETS[name]
    with torch.device("meta"):
        theirs = transformers.DebertaV2Model(transformers.DebertaV2Config(**write_shape(shape, "c")))
        ours = Encoder(shape)
    assert parameters(shape) == sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("parts", [{}, {"segments": 2}, {"norm": "before"}, {"bias": False, "norm_kind": "rms"}])
def test_parameters_are_counted(parts):
    shape = Shape(**{**SMALL.model_dump(), **parts})
    assert parameters(shape) == sum(p.numel() for p in Encoder(shape).parameters())


@pytest.mark.parametrize(
    "parts", [{"family": "bart", "decoder_layers": 2}, {"family": "elmo-transformer"},
              {"family": "longformer", "window": 8, "global_every": 0}]
)  # fmt: skip
def test_models_of_other_flows_are_refused(parts):
    with pytest.raises(ValueError, match="positions disentangled do not go with"):
        Shape(**{**SMALL.model_dump(), **parts})


# embeddings that differ from a generator's


@pytest.fixture(scope="module")
def batch():
    corpus = corpus_of(shards=1, documents=30, sentences=10, words=6)
    plan = Plan(corpus, "full_sentences", 64, rows_per_step=8)
    return lambda: collate(draw(plan, [RTD], corpus.tokenizer, 0, 0))


def network_of(shape=SMALL, objective=RTD):
    torch.manual_seed(2)
    network = building.network_of(shape, [objective])
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1) if parameter.dim() > 1 else None
    return network


def gradients(network):
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def test_the_generator_is_as_wide_and_half_as_deep():
    base = PRESETS["deberta-v3-base"]
    assert RTD.companions(base)["generator"] == base.model_copy(update={"layers": 6})
    assert RTD.companions(PRESETS["deberta-v3-large"])["generator"].layers == 12


@pytest.mark.parametrize("depth", [0.5, 1.0])
def test_differences_begin_at_nothing(depth):
    """With a generator of the model's own shape too, which else would begin with the model's weights."""
    network = building.network_of(SMALL, [RTD.model_copy(update={"generator_depth": depth})])
    mine, others = network.backbone.embeddings.tokens, network.companions["generator"].embeddings.tokens
    assert not mine.weight.any() and others.weight.std() > 0.01
    assert torch.equal(mine(torch.arange(9)), others(torch.arange(9)))
    assert network.heads["generator"].vocabulary is others.weight
    names = [name for name, _ in network.named_parameters()]
    assert names.count(TOKENS) == names.count(THEIRS) == 1 and "heads.generator.vocabulary" not in names


def test_no_loss_moves_the_other_s_embeddings(batch):
    """That of detection gives nothing to any weight of the generator, and the generator's nothing to the model."""
    network, drawn = network_of(), batch()
    losses = RTD.loss(network, drawn)
    losses["replaced_token_detection"].total.backward(retain_graph=True)
    found = gradients(network)
    assert found[TOKENS].abs().max() > 0
    assert not [name for name in found if "generator" in name]
    network.zero_grad()
    losses["generator"].total.backward()
    found = gradients(network)
    assert found[THEIRS].abs().max() > 0
    assert not [name for name in found if "generator" not in name]


def test_gradients_are_those_of_models_with_embeddings_of_their_own(batch):
    """Of a discriminator whose embeddings are the sum, and of a generator beside which there is none."""
    network, drawn = network_of(), batch()
    losses = RTD.loss(network, drawn)
    sum(RTD.weights()[name] * loss.total / loss.count for name, loss in losses.items()).backward()
    found = gradients(network)
    network.zero_grad()
    sum_of_both = network.state_dict()[TOKENS] + network.state_dict()[THEIRS]
    network.settle()
    assert network.difference is None and torch.equal(network.state_dict()[TOKENS], sum_of_both)
    drawn.forget()
    again = Network(network.backbone, {"replaced_token_detection": network.heads["replaced_token_detection"]})
    (loss := again.answer(drawn, ["replaced_token_detection"])["replaced_token_detection"]).total.backward()
    assert torch.equal(loss.total, losses["replaced_token_detection"].total)
    generator = Network(network.companions["generator"], {"generator": network.heads["generator"]})
    drawn.forget()
    drawn.streams["encoder"] = drawn.streams["generator"]
    drawn.targets["generator"].stream = "encoder"
    generator.answer(drawn, ["generator"])["generator"].total.backward()
    for name, gradient in gradients(network).items():
        which = "generator" if "generator" in name else "replaced_token_detection"
        expected = gradient * RTD.weights()[which] / losses[which].count
        assert (found[name] - expected).abs().max() <= 1e-5 * max(1e-2, expected.abs().max()), name


def test_letters_have_no_vectors_to_differ():
    shape = {**SMALL.model_dump(), "family": "bert", "embedding": "char_cnn", "tied": False, "filters": 64}
    with pytest.raises(ValueError, match="embeddings disentangled are of subwords"):
        Pretrain(corpus="c", out="o", model=shape, length=64,
                 objective={"replaced_token_detection": {"embeddings": "disentangled"}})  # fmt: skip


# a run

MADE = {"length": 32, "batch_size": 8, **EXACT}
OBJECTIVE = {"replaced_token_detection": {"generator": 1.0, "generator_depth": 0.5, "embeddings": "disentangled"}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("deberta")
    text = "\n\n".join(" ".join(words) + "." for words in sentences(800))
    (home / "text.txt").write_text(text, encoding="utf-8")
    unmask.prepare([str(home / "text.txt")], out=home / "corpus", vocab_size=120, valid=0.1, processes=1)
    unmask.pretrain(home / "corpus", out=home / "run", objective=OBJECTIVE, model="deberta-v3-tiny", steps=12,
                    eval_every=6, lr=1e-2, **MADE)  # fmt: skip
    return home / "run"


def stored(run):
    return load_file(next((run / "checkpoints").glob("step-*12")) / "model.safetensors")


def test_a_run_opens_with_vectors_of_its_own(run):
    kept, model = stored(run), load(run)
    assert kept[TOKENS].abs().max() > 1e-3  # it learned to differ
    assert torch.equal(model.encoder.embeddings.tokens.weight, kept[TOKENS] + kept[THEIRS])
    assert not isinstance(model.encoder.embeddings.tokens, TokenDifference)
    assert torch.equal(model.part("generator").encoder.embeddings.tokens.weight, kept[THEIRS])


def test_it_is_tuned_and_converted_whole(run, tmp_path):
    transformers = pytest.importorskip("transformers")
    train = classified(tmp_path / "train.tsv", 16, 0)
    tuned = unmask.finetune(run, task="classify", train=train, valid=train, tuning="frozen", steps=1,
                            out=tmp_path / "tuned", **EXACT)  # fmt: skip
    whole = load(run).encoder.embeddings.tokens.weight
    assert torch.equal(tuned.encoder.embeddings.tokens.weight, whole)
    notes = unmask.convert(run, to="hf", out=tmp_path / "model")
    assert any(note.startswith("not carried: the replaced_token_detection head") for note in notes)
    theirs = transformers.AutoModel.from_pretrained(tmp_path / "model")
    assert torch.equal(theirs.get_input_embeddings().weight, whole)
    unmask.convert(run, to="hf", out=tmp_path / "generator", part="generator")
    config = json.loads((tmp_path / "generator" / "config.json").read_text())
    assert config["architectures"] == ["DebertaV2ForMaskedLM"] and config["num_hidden_layers"] == 1


def test_a_narrower_generator_is_converted(run, tmp_path):
    """It shares the model's vectors, which it brings to its own width ahead of its own norm."""
    pytest.importorskip("transformers")
    unmask.pretrain(run.parent / "corpus", out=tmp_path / "run", objective="replaced_token_detection",
                    model="deberta-v3-tiny", steps=1, **MADE)  # fmt: skip
    shared, narrow = load(tmp_path / "run").encoder, load(tmp_path / "run").part("generator").encoder
    assert narrow.shape.width < shared.shape.width == narrow.shape.token_width
    assert narrow.embeddings.norm.weight.shape == (narrow.shape.width,)
    assert torch.equal(narrow.embeddings.tokens.weight, shared.embeddings.tokens.weight)
    notes = unmask.convert(tmp_path / "run", to="hf", out=tmp_path / "generator", part="generator")
    assert any(note.startswith("opened with transformers (AutoModelForMaskedLM)") for note in notes)


@pytest.mark.parametrize("given", ["the run", "its generator", "its model"])
def test_it_goes_on_from_what_it_is_given(run, tmp_path, given):
    """Differences are to the generator's vectors if these come along, and else the generator has the model's."""
    base, model = run, load(run)
    if given != "the run":
        base, part = tmp_path / "base", "generator" if given == "its generator" else None
        unmask.convert(run, to="hf", out=base, part=part)
        model = load(base)
    unmask.pretrain(run.parent / "corpus", out=tmp_path / "more", objective=OBJECTIVE, base=str(base), steps=1,
                    lr=1e-9, **MADE)  # fmt: skip
    again = load(tmp_path / "more")
    texts = ["the film was good", "a dull book"]
    for one, other in zip(model.hidden(texts), again.hidden(texts), strict=True):
        assert np.abs(one - other).max() < 1e-4
    beside = again.part("generator").encoder.embeddings.tokens.weight
    wanted = stored(run)[THEIRS] if given == "the run" else model.encoder.embeddings.tokens.weight
    assert (beside - wanted).abs().max() < 1e-6


def test_a_model_may_begin_with_what_differed(run, tmp_path):
    """Another objective gets whole vectors."""
    unmask.pretrain(run.parent / "corpus", out=tmp_path / "mlm", base=str(run), steps=1, lr=1e-9, **MADE)
    one, other = (load(home).encoder.embeddings.tokens.weight for home in (run, tmp_path / "mlm"))
    assert (one - other).abs().max() < 1e-6
