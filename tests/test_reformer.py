"""A reformer: states that are rebuilt, what is seen of a text, what it writes. Agreement with transformers:
test_reformer_parity; attention and buckets: test_chunked."""

from pathlib import Path

import numpy as np
import pytest
import torch

import test_reformer_parity as parity
from fake_corpus import FakeTokenizer
from unmask.commands.pretrain import Pretrain
from unmask.config import build
from unmask.errors import UserError
from unmask.hub.shapes import write_shape
from unmask.inference.generation.generate import generate
from unmask.inference.generation.settings import Generation
from unmask.inference.model import Model
from unmask.models.backbone import backbone_of
from unmask.models.counting import parameters
from unmask.models.shape import Shape
from unmask.nn import dropout, reversible
from unmask.nn.batch import collate
from unmask.presets import PRESETS
from unmask.runs.estimate import _numbers_per_token
from unmask.text.example import Example, Stream

SMALL = {"family": "reformer", "vocab_size": 90, "width": 64, "layers": 4, "heads": 2, "feed_forward": 48,
         "max_length": 128, "positions": "axial", "norm": "before", "embedding_norm": False, "tied": False,
         "segments": 0, "dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1}  # fmt: skip
PARTS = {"local_chunk": 8, "lsh_chunk": 8, "hashes": 2, "axial": (16, 8), "lsh_dropout": 0.1}
LENGTHS = [5, 100, 1, 30, 16]
STILL = {"dropout": 0, "attention_dropout": 0, "activation_dropout": 0}


def shape_of(parts=None, **changed):
    return Shape(**{**SMALL, **changed, "reformer": {**PARTS, **(parts or {})}})


def sequences_of(lengths=LENGTHS, order=None):
    tokens = np.random.default_rng(1).integers(0, 90, sum(lengths))
    return collate(Example({"encoder": Stream(tokens, np.array(lengths), order=order)})).streams["encoder"]


def reformer_of(shape, spread=0.15):
    torch.manual_seed(2)
    made = backbone_of(shape)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=spread) if parameter.dim() > 1 else None
    return made


def gradients(states, model):
    weight = torch.randn(states.shape, generator=torch.Generator().manual_seed(1), dtype=states.dtype)
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return dict(zip(learning, torch.autograd.grad((states * weight).sum(), list(learning.values())), strict=True))


# states that are rebuilt


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("parts", [{}, {"feed_forward_chunk": 20}, {"attention": "lsh", "hashes": 3}])
@pytest.mark.parametrize("causal", [False, True])
def test_gradients_are_those_of_plain_backpropagation(training, parts, causal):
    """Through the same arithmetic, with the same dropout and the same buckets."""
    model, sequences = reformer_of(shape_of(parts, causal=causal)).train(training), sequences_of()
    dropout.seed(3, 4, 0)
    rebuilt = model(sequences)
    after = dropout.mark(torch.device("cpu"))
    dropout.seed(3, 4, 0)
    kept = model.layers(sequences)[-1]
    assert torch.equal(rebuilt, kept)
    mine, plain = gradients(rebuilt, model), gradients(kept, model)
    for name, gradient in plain.items():
        assert (mine[name] - gradient).abs().max() <= 1e-5 * gradient.abs().max(), name
    assert dropout.mark(torch.device("cpu")) == after  # what is drawn again is not drawn twice


def held(model, sequences, how):
    """Bytes that are kept for the backward pass, weights not counted."""
    weights, found = {p.data_ptr() for p in model.parameters()}, {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        states = how(model, sequences)
    return sum(found.values()), states


def test_memory_does_not_grow_with_depth():
    """But by the order of tokens in lsh layers: 4 bytes of each token, head and round."""
    sequences = sequences_of([100, 128])
    two, six, twelve = (reformer_of(shape_of(layers=n)).train() for n in (2, 6, 12))
    (few, _), (some, _), (many, _) = (held(model, sequences, lambda m, s: m(s)) for model in (two, six, twelve))
    assert few == some == many
    grown = (
        held(twelve, sequences, lambda m, s: m.layers(s)[-1])[0] / held(two, sequences, lambda m, s: m.layers(s)[-1])[0]
    )
    assert grown > 4


def test_the_order_of_tokens_is_all_that_a_layer_keeps(monkeypatch):
    """The tensors that steps hold on to until the backward pass: none but these orders."""
    seen = []
    own = reversible.rebuilt
    monkeypatch.setattr("unmask.models.reformer.rebuilt", lambda steps, a, b: seen.extend(steps) or own(steps, a, b))
    model, sequences = reformer_of(shape_of(layers=4)).train(), sequences_of([100, 128])
    states = model(sequences)
    places = {id(place): place for step in seen for place in places_of(step.run)}
    orders = [place.order for place in places.values()]
    assert len(orders) == 4 and states.requires_grad
    sorting = [order for order in orders if order.dtype == torch.int32]
    assert [order.numel() for order in sorting] == [2 * 2 * 256] * 2  # rounds, heads, tokens made even
    assert all(order.untyped_storage().nbytes() <= 4 * 2 * 2 * 256 for order in orders)


def places_of(function):
    """The `Place`s that a function is closed over."""
    for cell in function.__closure__ or ():
        inner = cell.cell_contents
        if type(inner).__name__ == "Place":
            yield inner
        elif callable(inner) and hasattr(inner, "__closure__"):
            yield from places_of(inner)


def test_in_bfloat16_gradients_are_as_good_as_those_of_plain_backpropagation():
    """The streams are float32, so that rounding does not add up from layer to layer as they are rebuilt."""
    shape, sequences = shape_of({"attention": "local", "lsh_dropout": 0}, layers=12, **STILL), sequences_of()
    model = reformer_of(shape, spread=0.05).bfloat16()
    mine, plain = (gradients(how(sequences), model) for how in (model, lambda s: model.layers(s)[-1]))
    exact = gradients(model.float()(sequences), model)

    def error(found):
        apart = sum((found[name].float() - exact[name]).square().sum() for name in exact)
        return (apart / sum(gradient.square().sum() for gradient in exact.values())).sqrt()

    assert error(mine) <= 1.2 * error(plain) < 0.05


def test_frozen_layers_get_no_gradient_and_others_theirs():
    model, sequences = reformer_of(shape_of()).train(), sequences_of()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(("embeddings", "blocks.0", "blocks.1")))
    dropout.seed(3, 4, 0)
    rebuilt = model(sequences)
    dropout.seed(3, 4, 0)
    mine, plain = gradients(rebuilt, model), gradients(model.layers(sequences)[-1], model)
    assert min(int(name.split(".")[1]) for name in mine if name.startswith("blocks")) == 2
    for name, gradient in plain.items():
        assert (mine[name] - gradient).abs().max() <= 1e-5 * gradient.abs().max(), name


def test_a_step_is_a_function_of_its_seed_and_number():
    """In however many parts: the rotations are the same in all of them."""
    model, sequences = reformer_of(shape_of({"lsh_dropout": 0}, **STILL)).train(), sequences_of()

    def states(seed, step, part):
        dropout.seed(seed, step, part)
        return model(sequences)

    assert torch.equal(states(1, 2, 0), states(1, 2, 0)) and torch.equal(states(1, 2, 0), states(1, 2, 3))
    assert not torch.equal(states(1, 2, 0), states(1, 3, 0)) and not torch.equal(states(1, 2, 0), states(2, 2, 0))
    model.eval()
    assert torch.equal(states(1, 2, 0), states(5, 6, 0))


# what is seen


def seen_by(model, place, lengths=LENGTHS, order=None):
    """[T] whether what stands there moves the state of one token."""
    seen, sequences = [], sequences_of(lengths, order)
    hook = model.embeddings.register_forward_hook(lambda module, inputs, out: seen.append(out))
    states = model(sequences)
    hook.remove()
    return torch.autograd.grad(states[place].square().sum(), seen[0])[0].abs().sum(-1) > 0


def test_a_local_token_sees_its_chunk_and_the_one_before():
    model = reformer_of(shape_of({"attention": "local"}, layers=1)).eval()
    assert seen_by(model, 5 + 21).nonzero().flatten().tolist() == [*range(5 + 8, 5 + 24)]
    assert seen_by(model, 5 + 3).nonzero().flatten().tolist() == [*range(5, 5 + 8), *range(5 + 96, 5 + 100)]
    assert seen_by(model, 1).nonzero().flatten().tolist() == [*range(5)]


def test_from_the_left_nothing_behind_a_token_is_seen():
    """Of what comes later no number is seen; but where it comes to stand decides which of those before are."""
    model = reformer_of(shape_of(causal=True)).eval()
    for place in (5, 5 + 40, 5 + 99, 106 + 12):
        seen = seen_by(model, place).nonzero().flatten()
        start = 5 if place < 105 else 106
        assert seen.min() >= start and seen.max() == place


def test_an_order_hides_what_it_hides():
    order = np.concatenate([np.arange(n)[::-1] for n in LENGTHS])
    model = reformer_of(shape_of()).eval()
    seen = seen_by(model, 5 + 40, order=order).nonzero().flatten()
    assert seen.min() == 5 + 40 and seen.max() < 105


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("parts", [{}, {"lsh_chunk": 12}, {"buckets": (2, 4)}])
def test_states_do_not_depend_on_company(causal, parts):
    model, together = reformer_of(shape_of(parts, causal=causal)).eval(), sequences_of()
    states, start = model(together), 0
    for length in LENGTHS:
        own = slice(start, start := start + length)
        stream = Stream(together.tokens[own].numpy(), np.array([length]))
        alone = model(collate(Example({"encoder": stream})).streams["encoder"])
        assert (alone - states[own]).abs().max() <= 1e-5 * states.abs().max()


def test_axial_positions_are_rows_and_columns():
    table = backbone_of(shape_of()).embeddings.positions
    found = table(torch.arange(128)).view(16, 8, 32)
    assert (found[3, :, :8] == found[3, 0, :8]).all() and (found[:, 5, 8:] == found[0, 5, 8:]).all()
    assert len(found.view(128, 32).unique(dim=0)) == 128
    assert 0.8 < table.rows.std() < 1.2 and 0.8 < table.columns.std() < 1.2


# what it writes


@pytest.mark.parametrize("beams", [1, 3])
def test_texts_are_those_of_transformers_without_its_cache(beams, monkeypatch):
    """With its cache it finds other buckets than where all is read anew, so other texts."""
    transformers = pytest.importorskip("transformers")
    shape = parity.shape_of({"hashes": 2, "buckets": 4}, causal=True)
    network = parity.network_of(shape).eval()
    model = Model(Path("it"), shape, network, FakeTokenizer(size=199, sep=198))
    prompts = [np.random.default_rng(n).integers(1, 198, n).tolist() for n in (7, 21, 2, 33, 1)]
    settings = {"beams": beams} if beams > 1 else {}
    ours = generate(model, prompts, Generation(max_new_tokens=12, **settings))
    reference = parity.reference_of(network, shape).eval()
    reference.generation_config = transformers.GenerationConfig(
        pad_token_id=0, eos_token_id=198, max_new_tokens=12, num_beams=beams, use_cache=False
    )
    theirs = [reference.generate(input_ids=torch.tensor([ids]), do_sample=False)[0].tolist() for ids in prompts]
    assert ours == [ids[: ids.index(198)] if 198 in ids else ids for ids in theirs]
    assert len({token for ids, text in zip(prompts, ours, strict=True) for token in text[len(ids) :]}) > 5


# its shape


def test_it_is_refused_where_a_generator_would_be_narrower():
    with pytest.raises(UserError, match="an encoder of another family would fit"):
        build(Pretrain, {"corpus": "c", "out": "o", "model": "reformer-tiny", "objective": "replaced_token_detection"})


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("reformer")])
def test_sizes_are_those_of_transformers(name):
    transformers = pytest.importorskip("transformers")
    shape = PRESETS[name]
    with torch.device("meta"):
        theirs = transformers.ReformerModel(transformers.ReformerConfig(**write_shape(shape, "c")))
    assert parameters(shape) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("parts", [{}, {"attention": "lsh"}, {"axial_width": 5}, {"attention": "local,lsh,lsh"}])
def test_its_parameters_are_counted(parts):
    for shape in (shape_of(parts, layers=5), shape_of({"axial": None}, positions="learned", head_width=9)):
        assert parameters(shape) == sum(p.numel() for p in backbone_of(shape).parameters())


def test_memory_is_counted_without_the_layers():
    few, many = (_numbers_per_token(PRESETS["reformer-base"].model_copy(update={"layers": n}), 4096) for n in (2, 24))
    assert many < 1.1 * few < _numbers_per_token(PRESETS["bert-large"], 4096) / 3


@pytest.mark.parametrize(
    ("changed", "parts", "why"),
    [
        ({"family": "bert"}, {}, "the settings reformer are for family reformer"),
        ({"tied": True}, {}, "tied True does not go with family reformer; False would fit"),
        ({"segments": 2}, {}, "segments 2 does not go with family reformer; 0 would fit"),
        ({"norm": "after"}, {}, "norm after does not go with family reformer; before would fit"),
        ({"decoder_layers": 2}, {}, "decoder_layers 2 does not go with family reformer"),
        ({"window": 8}, {}, "window 8 does not go with family reformer"),
        ({"positions": "rotary"}, {}, "positions rotary do not go with family reformer; axial would fit"),
        ({"positions": "learned"}, {}, "reformer.axial belongs to positions axial; none would fit"),
        ({"heads": 3}, {}, "heads must divide"),
        ({"max_length": 129}, {}, "reformer.axial 16,8 has no room for 129 places; 3,64 would fit"),
        ({}, {"axial": None}, "reformer.axial none has no room for 128 places"),
        ({}, {"axial_width": 32}, "leaves nothing of 32"),
        ({}, {"buckets": 3}, "multiple of 2"),
        ({}, {"attention": "local,full"}, "'local' or 'lsh'"),
        ({}, {"lsh_chunk": 1}, "greater than or equal to 2"),
    ],
)
def test_what_does_not_go_together_is_refused(changed, parts, why):
    with pytest.raises(ValueError, match=why):
        shape_of(parts, **changed)


def test_other_families_have_none_of_its_parts():
    with pytest.raises(ValueError, match="positions axial do not go with family bert; learned would fit"):
        Shape(positions="axial")
    with pytest.raises(ValueError, match="the settings reformer are for family reformer, which needs them"):
        Shape(**{**SMALL, "reformer": None})


def test_its_parts_are_options():
    given = {"corpus": "c", "out": "o", "model": "reformer-tiny", "model.reformer.hashes": "8",
             "model.reformer.attention": "lsh", "model.reformer.axial": "128,64", "model.max_length": "8192",
             "objective": "causal_lm"}  # fmt: skip
    config = build(Pretrain, given).resolved(90)
    parts = config.model.reformer
    assert (parts.hashes, parts.attention, parts.axial, parts.local_chunk) == (8, ("lsh",), (128, 64), 64)
    assert config.model.causal and config.model.flow == "decoder"
    with pytest.raises(UserError, match=r"reformer\.axial 64,64 has no room for 8192 places; 128,64 would fit"):
        build(Pretrain, {**given, "model.reformer.axial": "64,64"})
    with pytest.raises(UserError, match="a whole number at least 1"):
        build(Pretrain, {**given, "model.reformer.hashes": "0"})
