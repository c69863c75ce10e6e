"""ELECTRA: its parts and numbers are transformers', and what its two networks learn of each other is the paper's."""

import json

import numpy as np
import pytest
import torch

import unmask
from fake_corpus import corpus_of
from small_base import EXACT, classified, sentences
from unmask.commands.pretrain import Pretrain
from unmask.errors import UserError
from unmask.hub.names import to_theirs
from unmask.hub.shapes import write_shape
from unmask.inference import building
from unmask.inference.loading import load
from unmask.models.counting import parameters
from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.nn.drawing import drawn
from unmask.nn.heads import CausalLMHead, MaskedLMHead, ReplacedTokenHead, SpanBoundaryHead
from unmask.nn.network import Network
from unmask.objectives.replaced_token_detection import ReplacedTokenDetection
from unmask.presets import PRESETS
from unmask.text.example import Example, Stream, Targets
from unmask.text.sampling.plan import Plan, draw

ELECTRA = Shape(
    family="electra", vocab_size=199, width=48, layers=3, heads=4, feed_forward=100, max_length=64, dropout=0,
    attention_dropout=0, embedding_width=20,
)  # fmt: skip
BOTH = ELECTRA.model_copy(update={"vocab_size": 1000, "width": 48, "heads": 6, "embedding_width": 20})
RTD = ReplacedTokenDetection()
PLAIN = ELECTRA.model_copy(update={"embedding_width": None, "width": 96, "layers": 2, "heads": 3})
LENGTHS = np.array([7, 31, 1, 64, 12])
DISCRIMINATOR = ("replaced_token_detection", ReplacedTokenHead, "ElectraForPreTraining")
GENERATOR = ("masked_lm", MaskedLMHead, "ElectraForMaskedLM")


def network_of(shape, heads):
    """Random weights everywhere, in biases and norms too, so that none of them can be forgotten."""
    torch.manual_seed(5)
    network = Network(Encoder(shape), heads)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.12)
    return network


def padded(values):
    rows = np.zeros((len(LENGTHS), LENGTHS.max()), np.int64)
    for row, text in zip(rows, np.split(values, np.cumsum(LENGTHS)[:-1]), strict=True):
        row[: len(text)] = text
    return torch.from_numpy(rows)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("shape", [ELECTRA, PLAIN], ids=["narrow embeddings", "larger, of one width"])
@pytest.mark.parametrize("name, head, cls", [DISCRIMINATOR, GENERATOR])
def test_states_logits_loss_and_gradients_are_transformers(name, head, cls, shape, training, agreement):
    """Packed against padded."""
    transformers = pytest.importorskip("transformers")
    network = network_of(shape, {name: head(shape)}).train(training)
    config = transformers.ElectraConfig(**write_shape(shape, "c"), attn_implementation="eager")
    model = getattr(transformers, cls)(config).train(training)
    theirs = to_theirs(shape, dict(network.named_parameters()))
    missing, unexpected = model.load_state_dict({n: t.detach().clone() for n, t in theirs.items()}, strict=False)
    assert set(missing) <= {"generator_lm_head.weight"} and not unexpected

    near, rng = agreement("electra" + ", larger" * (shape is PLAIN), model), np.random.default_rng(3)
    tokens, segments = rng.integers(3, 199, LENGTHS.sum()), rng.integers(0, 2, LENGTHS.sum())
    labels = rng.integers(0, 2 if name == DISCRIMINATOR[0] else 199, LENGTHS.sum())
    mask = torch.from_numpy(np.arange(LENGTHS.max()) < LENGTHS[:, None])
    wanted = padded(labels) if name == DISCRIMINATOR[0] else padded(labels).masked_fill(~mask, -100)
    said = model(
        input_ids=padded(tokens), token_type_ids=padded(segments), attention_mask=mask.long(), labels=wanted,
        output_hidden_states=True,
    )  # fmt: skip
    targets = Targets(np.arange(LENGTHS.sum()), labels)
    batch = collate(Example({"encoder": Stream(tokens, LENGTHS, segments)}, {name: targets}))
    for mine, reference in zip(network.backbone.layers(batch.streams["encoder"]), said.hidden_states, strict=True):
        near("states", mine, reference[mask])
    logits = network.logits(batch, name)
    logits = logits[:, 1] if name == DISCRIMINATOR[0] else logits
    assert said.logits[mask].std() > 0.1
    near("logits", logits, said.logits[mask])
    loss = network.answer(batch, [name])[name]
    near("loss", loss.total.detach() / loss.count, said.loss.detach())
    (loss.total / loss.count).backward()
    said.loss.backward()
    mine = to_theirs(shape, {name: p.grad for name, p in network.named_parameters()})
    for weight, parameter in model.named_parameters():
        near("gradients", mine[weight], parameter.grad, weight)


@pytest.mark.parametrize("parts", [{}, {"norm": "before"}, {"positions": "rotary", "bias": False, "segments": 0},
                                   {"norm": "before", "embedding_norm": False}])  # fmt: skip
@pytest.mark.parametrize("width", [None, 20])
def test_parameters_are_counted(parts, width):
    shape = Shape(**{**ELECTRA.model_dump(), "family": "bert", "embedding_width": width, **parts})
    assert parameters(shape) == sum(p.numel() for p in Encoder(shape).parameters())


def test_any_head_answers_in_the_width_of_tokens():
    heads = {"masked_lm": MaskedLMHead(ELECTRA), "causal_lm": CausalLMHead(ELECTRA),
             "span_boundary": SpanBoundaryHead(ELECTRA, 5, 6)}  # fmt: skip
    network = network_of(ELECTRA, heads)
    every = np.arange(9)
    places = {"span_boundary": Targets(np.stack([every, every], 1), every, places=every % 5)}
    targets = {name: places.get(name, Targets(every, every)) for name in heads}
    batch = collate(Example({"encoder": Stream(np.arange(9) + 3, np.array([9]))}, targets))
    for name, head in network.heads.items():
        assert network.logits(batch, name).shape == (9, 199)
        assert head.vocabulary is network.backbone.embeddings.tokens.weight


# the two together


@pytest.fixture(scope="module")
def corpus():
    return corpus_of(shards=1, documents=30, sentences=10, words=6)


def drawn_batch(corpus, rows=8, rank=0, world=1, objective=RTD):
    plan = Plan(corpus, "full_sentences", 64, rows_per_step=rows)
    return collate(draw(plan, [objective], corpus.tokenizer, 0, 0, rank=rank, world=world))


def electra_of(shape=BOTH, objective=RTD):
    torch.manual_seed(2)
    network = building.network_of(shape, [objective])
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1) if parameter.dim() > 1 else None
    return network


def test_the_step_is_that_of_the_release(corpus):
    """Two models of transformers that share their embeddings, on the tokens that were drawn: losses and gradients."""
    transformers = pytest.importorskip("transformers")
    network, batch = electra_of(), drawn_batch(corpus)
    losses = RTD.loss(network, batch)
    weights = RTD.weights()
    sum(weights[name] * loss.total / loss.count for name, loss in losses.items()).backward()

    shapes = {"generator": network.companions["generator"].shape, "discriminator": BOTH}
    configs = {name: transformers.ElectraConfig(**write_shape(shape, "c")) for name, shape in shapes.items()}
    generator = transformers.ElectraForMaskedLM(configs["generator"])
    discriminator = transformers.ElectraForPreTraining(configs["discriminator"])
    parts = {
        generator: Network(network.companions["generator"], {"masked_lm": network.heads["generator"]}),
        discriminator: building.alone(network),
    }
    for model, part in parts.items():
        theirs = {
            n: t.detach().clone() for n, t in to_theirs(part.backbone.shape, dict(part.named_parameters())).items()
        }
        assert not model.load_state_dict(theirs, strict=False).unexpected_keys
        model.tie_weights()
    generator.electra.embeddings = discriminator.electra.embeddings
    generator.generator_lm_head.weight = discriminator.electra.embeddings.word_embeddings.weight
    lengths = [*batch.streams["encoder"].layout.lengths]

    def said(model, stream):
        rows = torch.nn.utils.rnn.pad_sequence(batch.streams[stream].tokens.split(lengths), batch_first=True)
        mask = torch.arange(rows.shape[1]) < torch.tensor(lengths)[:, None]
        return model(input_ids=rows, attention_mask=mask.long()).logits[mask]

    asked, found = batch.targets["generator"], batch.targets["replaced_token_detection"].labels
    mlm = torch.nn.functional.cross_entropy(said(generator, "generator")[asked.index], asked.labels)
    logits = said(discriminator, "encoder")
    total = mlm + 50 * torch.nn.functional.binary_cross_entropy_with_logits(logits, found.float())
    assert 0.05 < found.float().mean() < 0.3
    ours = sum(weights[name] * loss.total.item() / loss.count for name, loss in losses.items())
    assert ours == pytest.approx(total.item(), rel=1e-5)
    total.backward()
    for model, part in parts.items():
        mine = to_theirs(part.backbone.shape, {name: p.grad for name, p in part.named_parameters()})
        for name, parameter in model.named_parameters():
            scale = max(parameter.grad.abs().max().item(), 1e-2)
            assert (mine[name] - parameter.grad).abs().max() <= 1e-5 * scale, name


def test_no_gradient_from_the_discriminator_to_the_generator(corpus):
    network, batch = electra_of(), drawn_batch(corpus)
    losses = RTD.loss(network, batch)
    losses["replaced_token_detection"].total.backward(retain_graph=True)
    shared = {id(p) for p in network.backbone.embeddings.parameters()}
    generators = [*network.companions.parameters(), *network.heads["generator"].parameters()]
    alone = [p for p in generators if id(p) not in shared]
    assert alone and all(p.grad is None for p in alone)
    assert all(p.grad is not None for p in network.backbone.parameters())
    network.zero_grad()
    losses["generator"].total.backward()
    discriminators = [p for p in network.backbone.parameters() if id(p) not in shared]
    assert all(p.grad is None for p in discriminators)
    assert all(p.grad is not None for p in [*alone, *network.backbone.embeddings.parameters()])


def test_what_the_generator_guessed_right_counts_as_original(corpus):
    batch = drawn_batch(corpus)
    asked, before = batch.targets["generator"], batch.streams["encoder"].tokens.clone()
    guessed = asked.labels.clone()
    guessed[::2] = 7 + (guessed[::2] == 7)
    RTD._replace(batch, guessed)
    found = batch.targets["replaced_token_detection"]
    assert torch.equal(found.index, torch.arange(len(before)))  # every token is asked about, special ones too
    wrong = asked.index[::2]
    assert torch.equal(torch.nonzero(found.labels).flatten(), wrong)
    after = batch.streams["encoder"].tokens
    assert torch.equal(torch.nonzero(after != before).flatten(), wrong)
    assert torch.equal(after[wrong], guessed[::2])


def test_every_choice_is_masked_and_asked_of_the_generator(corpus):
    """Which sees masks, where the discriminator's text is whole until it is filled."""
    batch, tokenizer = drawn_batch(corpus, rows=40), corpus.tokenizer
    masked, asked = batch.streams["generator"].tokens, batch.targets["generator"]
    assert torch.equal(torch.nonzero(masked == tokenizer.mask).flatten(), asked.index)
    assert torch.equal(batch.streams["encoder"].tokens[asked.index], asked.labels)
    assert not torch.from_numpy(tokenizer.special)[asked.labels].any()
    ordinary = int((~tokenizer.special)[batch.streams["encoder"].tokens.numpy()].sum())
    assert abs(len(asked.index) / ordinary - 0.15) < 5 * (0.15 * 0.85 / ordinary) ** 0.5
    kept = drawn_batch(corpus, rows=40, objective=ReplacedTokenDetection(mask=0.85))
    share = (kept.streams["generator"].tokens[kept.targets["generator"].index] == tokenizer.mask).float().mean()
    assert abs(share - 0.85) < 5 * (0.85 * 0.15 / len(kept.targets["generator"].index)) ** 0.5


def test_tokens_are_drawn_by_their_probabilities():
    logits = torch.tensor([2.0, 0.0, -torch.inf, 1.0, -1.0])
    count = 40_000
    lots = torch.rand(count, generator=torch.Generator().manual_seed(0))
    found = drawn(logits.expand(count, -1), lots)
    shares, wanted = found.bincount(minlength=5) / count, logits.softmax(-1)
    assert shares[2] == 0
    assert ((shares - wanted).abs() <= 5 * (wanted * (1 - wanted) / count).sqrt()).all()
    edges = drawn(logits.expand(2, -1), torch.tensor([0.0, 1 - 2**-24]))
    assert edges.tolist() == [0, 4]


def test_what_is_drawn_does_not_depend_on_how_a_step_is_shared_out(corpus):
    network = electra_of().eval()
    whole, parts = drawn_batch(corpus), [drawn_batch(corpus, rank=rank, world=4) for rank in range(4)]
    for batch in (whole, *parts):
        RTD.loss(network, batch)
    for take in (lambda b: b.targets["generator"].lots, lambda b: b.streams["encoder"].tokens,
                 lambda b: b.targets["replaced_token_detection"].labels):  # fmt: skip
        assert torch.equal(take(whole), torch.cat([take(part) for part in parts]))


def test_embeddings_are_shared_and_the_rest_is_not():
    network = electra_of()
    generator = network.companions["generator"]
    pairs = zip(generator.embeddings.parameters(), network.backbone.embeddings.parameters(), strict=True)
    assert all(own is shared for own, shared in pairs)
    assert network.heads["generator"].vocabulary is network.backbone.embeddings.tokens.weight
    names = [name for name, _ in network.named_parameters()]
    assert not any(name.startswith("companions.generator.embeddings") for name in names)
    assert "companions.generator.projection.weight" in names and "companions.generator.blocks.0.norm" not in names


@pytest.mark.parametrize(
    "name, share, width, heads, feed_forward",
    [("electra-small", 0.25, 64, 1, 256), ("electra-base", 1 / 3, 256, 4, 1024), ("electra-large", 0.25, 256, 4, 1024),
     ("electra-small", 1.0, 256, 4, 1024), ("modernbert-mini", 0.25, 64, 1, 96), ("bert-tiny", 0.25, 32, 1, 128)],
)  # fmt: skip
def test_the_generator_is_a_narrower_copy(name, share, width, heads, feed_forward):
    """Widths and heads of the first three: Clark 2020, table 6."""
    shape = PRESETS[name]
    narrow = ReplacedTokenDetection(generator=share).companions(shape)["generator"]
    assert (narrow.width, narrow.heads, narrow.feed_forward) == (width, heads, feed_forward)
    assert narrow.token_width == shape.token_width and narrow.layers == shape.layers


def test_what_hides_tokens_too_is_refused():
    for other in ("masked_lm", "structural", "causal_lm"):
        with pytest.raises(ValueError, match=f"nothing hidden, and {other} hides some|causal_lm reads all"):
            Pretrain(corpus="c", out="o", objective=f"replaced_token_detection,{other}")
    beside = Pretrain(corpus="c", out="o", objective="next_sentence,replaced_token_detection").objectives
    assert list(beside) == ["replaced_token_detection", "next_sentence"]  # what decides comes first


# a run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("electra")
    text = "\n\n".join(" ".join(words) + "." for words in sentences(800))
    (home / "text.txt").write_text(text, encoding="utf-8")
    unmask.prepare([str(home / "text.txt")], out=home / "corpus", vocab_size=120, valid=0.1, processes=1)
    made = {
        "objective": "replaced_token_detection",
        "model": "electra-tiny",
        "steps": 12,
        "length": 32,
        "batch_size": 8,
    }
    unmask.pretrain(home / "corpus", out=home / "run", **made, eval_every=6, **EXACT)
    return home / "run"


def test_a_run_tells_how_well_both_do_beside_answers_by_frequency(run):
    result = json.loads((run / "result.json").read_text())
    figures, known = result["figures"], result["baseline"]["figures"]
    assert figures["loss"] == pytest.approx(
        figures["loss/generator"] + 50 * figures["loss/replaced_token_detection"], rel=1e-6
    )
    # whoever says "original" everywhere is right where nothing was masked, and where the generator was
    assert 0.8 < known["accuracy/replaced_token_detection"] < 0.95
    assert 0.1 < known["loss/replaced_token_detection"] < 0.5


def test_its_discriminator_is_what_is_tuned(run, tmp_path):
    train = classified(tmp_path / "train.tsv", 16, 0)
    tuned = unmask.finetune(run, task="classify", train=train, valid=train, steps=2, out=tmp_path / "run", **EXACT)
    assert tuned.shape.width == 128 and not dict(tuned.network.companions)
    frozen = unmask.finetune(
        run, task="classify", train=train, valid=train, tuning="frozen", steps=1, out=tmp_path / "frozen", **EXACT
    )
    assert torch.equal(frozen.encoder.blocks[0].attention.qkv.weight, load(run).encoder.blocks[0].attention.qkv.weight)


def test_both_are_written_for_transformers_and_come_back(run, tmp_path):
    pytest.importorskip("transformers")
    notes = unmask.convert(run, to="hf", out=tmp_path / "discriminator")
    assert any("left out: generator" in note for note in notes)
    assert not any("not carried" in note for note in notes)
    unmask.convert(run, to="hf", out=tmp_path / "generator", part="generator")
    names = {"discriminator": "ElectraForPreTraining", "generator": "ElectraForMaskedLM"}
    for part, name in names.items():
        assert json.loads((tmp_path / part / "config.json").read_text())["architectures"] == [name]
    unmask.convert(tmp_path / "discriminator", to="unmask", out=tmp_path / "again")
    model, again = load(run), load(tmp_path / "again")
    assert torch.equal(model.encoder.projection.weight, again.encoder.projection.weight)
    assert again.heads == ["replaced_token_detection"]
    generator = load(tmp_path / "generator")
    assert generator.shape.width == model.part("generator").shape.width == 32
    assert len(generator.fill("the [MASK] was good")[0]) == 5
    with pytest.raises(UserError, match=r"--part x: was not trained beside .*; generator would fit"):
        unmask.convert(run, to="hf", out=tmp_path / "no", part="x")
    with pytest.raises(UserError, match="nothing was; leave it out"):
        load(tmp_path / "generator").part("generator")
