"""What is read from the left: causal_lm, GPT-2's parts and numbers, and what a causal model is used for."""

import numpy as np
import pytest
import torch

import unmask
from fake_corpus import corpus_of
from small_base import EXACT, base, classified
from unmask.commands.pretrain import Pretrain
from unmask.config import build
from unmask.errors import UserError
from unmask.hub.names import to_theirs
from unmask.hub.shapes import write_shape
from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.nn import attention
from unmask.nn.attention import Manner
from unmask.nn.batch import collate
from unmask.nn.heads import CausalLMHead
from unmask.nn.layout import Layout
from unmask.nn.network import Network
from unmask.objectives.causal_lm import CausalLM
from unmask.tasks.classify import Classify
from unmask.text.example import Example, Stream, Targets
from unmask.text.sampling.plan import Plan, draw

GPT2 = Shape(
    family="gpt2", vocab_size=199, width=48, layers=3, heads=4, feed_forward=100, max_length=64, dropout=0,
    attention_dropout=0, norm="before", norm_eps=1e-5, segments=0, activation="gelu_tanh", embedding_norm=False,
    causal=True,
)  # fmt: skip
MODERNBERT = Shape(
    family="modernbert", vocab_size=199, width=48, layers=4, heads=4, feed_forward=72, max_length=64, dropout=0,
    attention_dropout=0, positions="rotary", norm="before", norm_eps=1e-5, bias=False, gated=True, segments=0,
    window=8, global_every=3, causal=True,
)  # fmt: skip
SHAPES = {"gpt2": GPT2, "gpt2, larger": GPT2.model_copy(update={"width": 96, "layers": 2, "heads": 3})}
LENGTHS = np.array([7, 31, 1, 64, 12])


def network_of(shape):
    """Random weights everywhere, in biases and norms too, so that none of them can be forgotten."""
    torch.manual_seed(5)
    network = Network(Encoder(shape), {"causal_lm": CausalLMHead(shape)})
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.12)
    return network


def texts():
    return Stream(np.random.default_rng(3).integers(3, 199, LENGTHS.sum()), LENGTHS)


def padded(values):
    rows = np.zeros((len(LENGTHS), LENGTHS.max()), np.int64)
    for row, text in zip(rows, np.split(values, np.cumsum(LENGTHS)[:-1]), strict=True):
        row[: len(text)] = text
    return torch.from_numpy(rows)


def reference_of(network, shape):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(**write_shape(shape, "c"), attn_implementation="eager")
    model = transformers.GPT2LMHeadModel(config)
    theirs = to_theirs(GPT2, dict(network.named_parameters()))
    missing, unexpected = model.load_state_dict({n: t.detach().clone() for n, t in theirs.items()}, strict=False)
    assert set(missing) <= {"lm_head.weight"} and not unexpected
    return model


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("case", SHAPES)
def test_states_logits_loss_and_gradients_are_gpt2s(case, training, agreement):
    """Packed against padded; the loss is each sequence's next tokens."""
    network = network_of(SHAPES[case]).train(training)
    model = reference_of(network, SHAPES[case]).train(training)
    stream, near = texts(), agreement(case, model)
    mask = torch.from_numpy(np.arange(LENGTHS.max()) < LENGTHS[:, None])
    theirs = model(
        input_ids=padded(stream.tokens), attention_mask=mask.long(), output_hidden_states=True,
        labels=padded(stream.tokens).masked_fill(~mask, -100),
    )  # fmt: skip
    index = np.flatnonzero(np.arange(LENGTHS.sum()) != np.repeat(stream.starts, LENGTHS))
    targets = Targets(index - 1, stream.tokens[index])
    batch = collate(Example({"encoder": stream}, {"causal_lm": targets}))
    for mine, reference in zip(network.backbone.layers(batch.streams["encoder"]), theirs.hidden_states, strict=True):
        near("states", mine, reference[mask])
    every = network.heads["causal_lm"](network.states(batch))
    near("logits", every, theirs.logits[mask])
    loss = network.answer(batch, ["causal_lm"])["causal_lm"]
    near("loss", loss.total.detach() / loss.count, theirs.loss.detach())
    (loss.total / loss.count).backward()
    theirs.loss.backward()
    mine = to_theirs(GPT2, {name: p.grad for name, p in network.named_parameters()})
    for name, parameter in model.named_parameters():
        near("gradients", mine[name], parameter.grad, name)


@pytest.mark.parametrize("shape", [GPT2, MODERNBERT], ids=["gpt2", "modernbert"])
def test_nothing_depends_on_what_comes_after(shape):
    """Bit by bit, wherever a text is changed."""
    network, stream = network_of(shape).eval(), texts()

    def logits(tokens):
        batch = collate(Example({"encoder": Stream(tokens, LENGTHS)}))
        return network.heads["causal_lm"](network.states(batch))

    before = logits(stream.tokens)
    for at in (3, 20, 60, int(LENGTHS.sum()) - 1):
        changed = stream.tokens.copy()
        changed[at] = 198 - changed[at] + 1
        own = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
        same = (own != own[at]) | (np.arange(len(own)) < at)
        after = logits(changed)
        assert torch.equal(after[same], before[same])
        assert not torch.equal(after[at], before[at])


@pytest.mark.parametrize("window", [None, 8])
@pytest.mark.parametrize("row_length", [None, 70])
def test_rows_are_the_definition(window, row_length):
    layout = Layout.of(LENGTHS, row_length)
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(int(LENGTHS.sum()), 3, 8, generator=generator) for _ in range(3)]
    found = []
    for route in (attention.rows, attention.dense):
        leaves = [x.clone().requires_grad_() for x in given]
        out = route(*leaves, layout, Manner(window, causal=True))
        out.square().sum().backward()
        found.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for mine, reference in zip(*found, strict=True):
        assert torch.allclose(mine, reference, atol=1e-5)


def test_every_token_is_asked_by_the_one_before_it():
    corpus = corpus_of(shards=1, documents=20, sentences=3, words=6)
    example = draw(Plan(corpus, "full_sentences", 64, 8), [CausalLM()], corpus.tokenizer, 0, 0)
    stream, asked = example.streams["encoder"], example.targets["causal_lm"]
    assert np.array_equal(stream.tokens[asked.index + 1], asked.labels)
    assert np.array_equal(stream.sequence[asked.index], stream.sequence[asked.index + 1])
    left = np.setdiff1d(np.arange(len(stream.tokens)), asked.index + 1)
    closing = stream.starts + stream.lengths - 1
    unknown = np.flatnonzero(stream.tokens == corpus.tokenizer.unk)
    assert np.array_equal(left, np.unique([*stream.starts, *closing, *unknown]))
    assert (asked.labels == corpus.tokenizer.sep).any()  # between documents


def test_the_shape_knows_and_the_task_reads_the_last_token():
    config = Pretrain(corpus="c", out="o", objective="causal_lm").resolved(100)
    assert config.model.causal
    task = Classify(labels=("a", "b"))
    assert task.suited(GPT2, 16).pool == "last" and task.suited(MODERNBERT, 16).pool == "last"
    assert task.suited(GPT2.model_copy(update={"causal": False}), 16).pool == "cls"
    with pytest.raises(UserError, match="last or mean would fit"):
        Classify(labels=("a", "b"), pool="cls").suited(GPT2, 16)


def test_a_causal_model_learns_nothing_that_needs_both_sides():
    for objective in ("masked_lm", "unified_lm"):
        with pytest.raises(UserError, match=f"{objective} cannot train gpt2-tiny; --model could be bert-tiny"):
            build(Pretrain, {"corpus": "c", "out": "o", "objective": objective, "model": "gpt2-tiny"})
    assert build(Pretrain, {"corpus": "c", "out": "o", "objective": "causal_lm", "model": "gpt2-tiny"}).model.causal
    with pytest.raises(UserError, match="cannot train gpt2-tiny; --objective could be causal_lm"):
        build(Pretrain, {"corpus": "c", "out": "o", "model": "gpt2-tiny"})


def test_a_causal_classifier_is_written_as_transformers_reads_it(tmp_path):
    pytest.importorskip("transformers")
    home = base(tmp_path / "base", family="gpt2", norm="before", norm_eps=1e-5, segments=0, activation="gelu_tanh",
                embedding_norm=False, causal=True)  # fmt: skip
    train = classified(tmp_path / "train.tsv", 16, 0)
    unmask.finetune(home, task="classify", train=train, valid=train, steps=2, out=tmp_path / "run", **EXACT)
    notes = unmask.convert(tmp_path / "run", to="hf", out=tmp_path / "hf")
    assert any("AutoModelForSequenceClassification" in note for note in notes)


def test_other_objectives_are_refused_beside_it():
    with pytest.raises(ValueError, match="causal_lm reads all of a text from the left, masked_lm from both sides"):
        Pretrain(corpus="c", out="o", objective="causal_lm,masked_lm")
