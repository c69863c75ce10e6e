"""XLNet against transformers' class of the same weights, packed against padded, and what its two streams may see.

A number agrees when it is no further off than 1e-5 times the largest of its kind in the reference.
"""

import numpy as np
import pytest
import torch

from unmask.hub.names import to_theirs
from unmask.hub.shapes import write_shape
from unmask.models.backbone import backbone_of
from unmask.models.shape import Shape
from unmask.models.xlnet import Memory
from unmask.nn.batch import collate
from unmask.nn.even import missing
from unmask.nn.heads import PermutationLMHead
from unmask.nn.losses import cross_entropy
from unmask.nn.network import Network
from unmask.text.corruption.permutation import queries
from unmask.text.example import Example, Stream, Targets

transformers = pytest.importorskip("transformers")
NEAR = 1e-5
SMALL = Shape(
    family="xlnet", vocab_size=199, width=48, layers=3, heads=4, feed_forward=100, max_length=64, positions="relative",
    embedding_norm=False, dropout=0, attention_dropout=0,
)  # fmt: skip
SHAPES = {"xlnet": SMALL, "xlnet, one layer": SMALL.model_copy(update={"layers": 1, "width": 32, "heads": 2})}
LENGTHS = np.array([7, 31, 1, 64, 12])
ASKED = np.array([2, 6, 0, 11, 11])
MODES = pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])


def network_of(shape=SMALL):
    """Random weights everywhere, in biases and norms too, so that none of them can be forgotten."""
    torch.manual_seed(5)
    network = Network(backbone_of(shape), {"permutation_lm": PermutationLMHead(shape)})
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.normal_(centre, 0.2 if "attention" in name else 0.12)
    return network


def reference_of(network, shape=SMALL, **settings):
    """Transformers' class, given our weights by its own strict loading."""
    config = {**write_shape(shape, "config.json"), "pad_token_id": 0, "attn_implementation": "eager", **settings}
    model = transformers.XLNetLMHeadModel(transformers.XLNetConfig(**config))
    theirs = {name: t.detach().clone() for name, t in to_theirs(shape, dict(network.named_parameters())).items()}
    missing, unexpected = model.load_state_dict(theirs, strict=False)
    assert set(missing) <= {"lm_loss.weight"} and not unexpected
    return model


def content(lengths=LENGTHS, segments=True, seed=3):
    """Texts whose last tokens in some order are asked for; every token of the last one is, but its first."""
    rng = np.random.default_rng(seed)
    total = int(sum(lengths))
    return Stream(
        rng.integers(3, 199, total).astype(np.int32), np.array(lengths), rng.integers(0, 2, total) if segments else None
    )


def permuted(stream, asked=ASKED, seed=4):
    """The stream with a factorisation order, and the places that are asked, the last of the order."""
    rng = np.random.default_rng(seed)
    order = np.zeros(len(stream.tokens), np.int64)
    for start, length, count in zip(stream.starts, stream.lengths, asked, strict=True):
        ranks = rng.permutation(length)
        order[start : start + length] = np.where(ranks >= length - count, ranks + 1, 0)
    return Stream(stream.tokens, stream.lengths, stream.segments, order=order), np.flatnonzero(order)


def batch_of(stream, index, memory=None):
    streams = {"encoder": stream, "query": queries(stream, index, 1)} | ({"memory": memory} if memory else {})
    labels = stream.tokens[index].astype(np.int64)
    return collate(Example(streams, {"permutation_lm": Targets(np.arange(len(index)), labels, "query")}), 80)


def padded(values, lengths, fill=0):
    rows = np.full((len(lengths), max(lengths)), fill, np.int64)
    for row, text in zip(rows, np.split(values, np.cumsum(lengths)[:-1]), strict=True):
        row[: len(text)] = text
    return torch.from_numpy(rows)


def asked_of(stream, index):
    """What transformers is given for the same: and which of its M places are asked at all."""
    length, sequence, position = max(stream.lengths), stream.sequence, stream.position
    mask = torch.from_numpy(np.arange(length) < stream.lengths[:, None])
    order = padded(stream.order, stream.lengths)
    counts = np.bincount(sequence[index], minlength=len(stream.lengths))
    mapping = torch.zeros(len(counts), max(counts), length)
    number = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
    mapping[sequence[index], number, position[index]] = 1
    hidden = order[:, None, :] > order[:, :, None]
    hidden[sequence[index], position[index], position[index]] = True  # a target does not see itself
    given = {"perm_mask": hidden.float(), "target_mapping": mapping, **read_by(stream, mask)}
    return given, mask, mapping.sum(-1) > 0


def read_by(stream, mask):
    segments = {} if stream.segments is None else {"token_type_ids": padded(stream.segments, stream.lengths)}
    return {"input_ids": padded(stream.tokens, stream.lengths), "attention_mask": mask.float(), **segments}


def agree(mine, reference, what=""):
    assert mine.shape == reference.shape
    assert (mine - reference).abs().max().item() <= NEAR * reference.abs().max().item(), what


@MODES
@pytest.mark.parametrize("segments", [True, False], ids=["segments", "one text"])
@pytest.mark.parametrize("shape", SHAPES)
def test_states_of_the_content_alone(shape, segments, training, agreement):
    network = network_of(SHAPES[shape]).train(training)
    model, stream = reference_of(network, SHAPES[shape]).train(training), content(segments=segments)
    mask, near = torch.from_numpy(np.arange(64) < LENGTHS[:, None]), agreement(shape, model, smallest=0)
    with torch.no_grad():
        theirs = model(**read_by(stream, mask), output_hidden_states=True)
        ours = network.backbone.layers(collate(Example({"encoder": stream}), 80).streams["encoder"])
        logits = network.heads["permutation_lm"](ours[-1])
    assert len(ours) == len(theirs.hidden_states) == SHAPES[shape].layers + 1
    for mine, reference in zip(ours, theirs.hidden_states, strict=True):
        near("states", mine, reference[mask])
    assert theirs.logits[mask].std() > 0.1  # else agreement would say nothing
    near("logits", logits, theirs.logits[mask])


@MODES
@pytest.mark.parametrize("segments", [True, False], ids=["segments", "one text"])
@pytest.mark.parametrize("shape", SHAPES)
def test_logits_loss_and_gradients_of_what_is_asked(shape, segments, training, agreement):
    network = network_of(SHAPES[shape]).train(training)
    model = reference_of(network, SHAPES[shape]).train(training)
    stream, index = permuted(content(segments=segments))
    batch = batch_of(stream, index)
    given, mask, asked = asked_of(stream, index)
    theirs, near = model(**given, output_hidden_states=True), agreement(shape, model, smallest=0)
    near("states", network.backbone.embeddings(batch.streams["encoder"]), theirs.hidden_states[0][mask])
    near("states", network.states(batch, "query"), theirs.hidden_states[-1][asked])
    near("logits", network.logits(batch, "permutation_lm"), theirs.logits[asked])
    loss, labels = network.answer(batch, ["permutation_lm"])["permutation_lm"], batch.targets["permutation_lm"].labels
    reference = torch.nn.functional.cross_entropy(theirs.logits[asked], labels)
    near("loss", loss.total.detach() / loss.count, reference.detach())
    (loss.total / loss.count).backward()
    reference.backward()
    compare_gradients(network, model, SHAPES[shape], segments, near)


def compare_gradients(network, model, shape, segments, near):
    mine = {n: p.grad for n, p in network.named_parameters() if segments or "attention.segment" not in n}
    mine = to_theirs(shape, mine)
    reference = {
        n: p.grad for n, p in model.named_parameters() if segments or not n.endswith(("r_s_bias", "seg_embed"))
    }
    assert set(mine) == set(reference)
    for name, gradient in reference.items():
        assert gradient.abs().max() > 1e-5, name  # else agreement would say nothing
        near("gradients", mine[name], gradient, name)


def earlier(lengths, before):
    """Texts that stand so far before others."""
    stream = content(lengths, segments=False, seed=before)
    return Stream(stream.tokens, stream.lengths, places=stream.position - before)


@MODES
def test_with_memory(training, agreement):
    """Two segments read before, each a memory to the next; the last ones are of unequal lengths."""
    network = network_of().train(training)
    model, same = reference_of(network, mem_len=9).train(training), [9] * 5
    first, second = earlier(same, 18), earlier(same, 9)
    stream, index = permuted(content())
    mems = None
    for read in (first, second):
        mems = model(input_ids=padded(read.tokens, same), use_mems=True, mems=mems).mems
    given, _, asked = asked_of(stream, index)
    theirs = model(**given, mems=mems, use_mems=True)
    batch = batch_of(stream, index)
    read = [collate(Example({"encoder": x})).streams["encoder"] for x in (first, second)]
    backbone = network.backbone
    memory = backbone.remember(read[1], backbone.remember(read[0]))
    states = backbone.queried(batch.streams["encoder"], batch.streams["query"], memory)
    logits = network.heads["permutation_lm"](states)
    near = agreement("xlnet, with memory", model, smallest=0)
    near("logits", logits, theirs.logits[asked])
    assert (logits - network.logits(batch, "permutation_lm")).abs().max() > 0.1  # it does look back
    labels = batch.targets["permutation_lm"].labels
    (loss := cross_entropy(logits, labels)).total.div(loss.count).backward()
    torch.nn.functional.cross_entropy(theirs.logits[asked], labels).backward()
    compare_gradients(network, model, SMALL, True, near)


def test_a_memory_that_stands_after_is_one_before_in_a_mirror():
    """Their backward data: texts from behind, with distances of the other sign, the second half of a batch."""
    network = network_of().eval()
    model, size = reference_of(network, mem_len=8, bi_data=True).eval(), 8
    x, y = content([size] * 2, segments=False), content([size] * 2, segments=False, seed=8)
    places = np.concatenate([np.arange(-size, 0), np.arange(size, 2 * size)])
    beside = Stream(y.tokens, y.lengths, places=places)
    turned = [padded(s.tokens, s.lengths) for s in (x, y)]
    for ids in turned:
        ids[1] = ids[1].flip(0)
    with torch.no_grad():
        mems = model(input_ids=turned[1], use_mems=True).mems
        theirs = model(input_ids=turned[0], mems=mems, use_mems=True).logits
        batch = collate(Example({"encoder": x, "memory": beside}))
        logits = network.heads["permutation_lm"](network.states(batch))
    agree(logits, torch.cat([theirs[0], theirs[1].flip(0)]))


def test_a_text_in_segments_is_the_text_read_in_turn():
    """With memory the segments have the states of one pass in which none of them sees the next."""
    backbone, sizes = network_of().backbone.eval(), np.array([[10, 7, 13], [4, 9, 1]])
    whole = content(sizes.sum(1), segments=False)
    number = np.concatenate([np.repeat([0, 1, 2], each) for each in sizes])
    once = Stream(whole.tokens, whole.lengths, order=number)
    with torch.no_grad():
        reference = backbone.layers(collate(Example({"encoder": once})).streams["encoder"])
        memory = None
        for part in range(3):
            here = np.flatnonzero(number == part)
            stream = Stream(whole.tokens[here], sizes[:, part], places=whole.position[here])
            read = collate(Example({"encoder": stream})).streams["encoder"]
            states = backbone.layers(read, memory)
            for mine, theirs in zip(states, reference, strict=True):
                agree(mine, theirs[here])
            memory = joined(memory, read, states, whole, here, number, part)


def joined(memory, read, states, whole, here, number, part):
    """All that was read up to now, by sequence."""
    before = np.flatnonzero(number < part)
    order = np.argsort(np.concatenate([before, here]), kind="stable")
    seen = np.sort(np.concatenate([before, here]))
    lengths = np.bincount(whole.sequence[seen], minlength=2)
    stream = Stream(whole.tokens[seen], lengths, places=whole.position[seen])
    states = states[:-1]  # no layer reads the last ones
    kept = states if memory is None else [torch.cat(each) for each in zip(memory.states, states, strict=True)]
    return Memory(collate(Example({"encoder": stream})).streams["encoder"], [x[order] for x in kept])


def test_a_query_sees_what_comes_before_it_in_the_order_and_nothing_else():
    """Perturbation: other tokens at its own place or later leave its state bit-equal, any one before it does not."""
    network = network_of().eval()
    stream, index = permuted(content())
    backbone, batch = network.backbone, batch_of(stream, index)
    tokens = batch.streams["encoder"].tokens

    def states():
        with torch.no_grad():
            return backbone.queried(batch.streams["encoder"], batch.streams["query"])

    before, kept = states(), tokens.clone()
    for place in range(0, len(tokens), 3):
        tokens[place] = (kept[place] + 50) % 199
        changed = (states() != before).any(-1).numpy()
        tokens[place] = kept[place]
        same = stream.sequence[index] == stream.sequence[place]
        assert np.array_equal(changed, same & (stream.order[index] > stream.order[place]))


def test_a_query_knows_where_it_stands():
    backbone = network_of().eval().backbone
    stream = Stream(np.arange(7, 16), np.array([9]), order=np.array([0, 0, 1, 0, 0, 1, 0, 0, 0]))
    batch = batch_of(stream, np.array([2, 5]))
    with torch.no_grad():
        one, other = backbone.queried(batch.streams["encoder"], batch.streams["query"])
    assert (one - other).abs().max() > 1e-3


def test_only_what_is_asked_goes_through_the_query_stream_and_the_vocabulary():
    network = network_of()
    stream, index = permuted(content())
    batch, total = batch_of(stream, index), int(LENGTHS.sum())
    rows = {}
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.LayerNorm):
            module.register_forward_hook(lambda m, inputs, out, name=name: rows.__setitem__(name, len(inputs[0])))
    assert network.logits(batch, "permutation_lm").shape == (len(index), 199)
    last = SMALL.layers - 1
    for name, found in rows.items():
        if "distance" in name:
            continue
        keys = name.endswith(("key", "value"))
        wanted = total if keys else len(index) if f".{last}." in name else total + len(index)
        assert found == wanted + missing(wanted), name


def test_nothing_may_be_asked():
    network, stream = network_of(), content()
    batch = batch_of(
        Stream(stream.tokens, stream.lengths, order=np.zeros(len(stream.tokens), np.int64)), np.empty(0, int)
    )
    loss = network.answer(batch, ["permutation_lm"])["permutation_lm"]
    assert loss.count == 0 and loss.total == 0


def test_dropout_is_for_training():
    shape = SMALL.model_copy(update={"dropout": 0.1, "attention_dropout": 0.1})
    network = network_of(shape)
    batch = batch_of(*permuted(content()))
    streams = [batch.streams[name] for name in ("encoder", "query")]
    evaluated = network.eval().backbone.queried(*streams)
    assert torch.equal(evaluated, network.eval().backbone.queried(*streams))
    assert not torch.equal(evaluated, network.train().backbone.queried(*streams))
