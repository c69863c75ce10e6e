"""Our encoder against transformers' classes of the same weights: states, logits and gradients, packed against padded.

They agree when no number is further off than 1e-5 times the largest of its kind in the reference.
"""

import numpy as np
import pytest
import torch

from unmask.hub.families import FAMILIES
from unmask.hub.names import to_theirs
from unmask.hub.shapes import write_shape
from unmask.models.backbone import backbone_of
from unmask.models.shape import Shape
from unmask.nn.batch import Answers, Batch, collate
from unmask.nn.heads import MaskedLMHead, SequenceRelationHead
from unmask.nn.losses import cross_entropy
from unmask.nn.network import Network
from unmask.text.example import Example, Stream, Targets

transformers = pytest.importorskip("transformers")
PAD = 1
"""As in RoBERTa's vocabulary, whose positions are counted behind it."""

BERT = Shape(
    vocab_size=199,
    width=48,
    layers=3,
    heads=4,
    feed_forward=100,
    max_length=64,
    dropout=0,
    attention_dropout=0,
)
MODERNBERT = Shape(
    family="modernbert", vocab_size=199, width=48, layers=5, heads=4, feed_forward=72, max_length=512, dropout=0,
    attention_dropout=0, positions="rotary", norm="before", norm_eps=1e-5, bias=False, gated=True, segments=0,
    window=128, global_every=3,
)  # fmt: skip
ALBERT = BERT.model_copy(
    update={"family": "albert", "layer_sharing": "all", "embedding_width": 20, "activation": "gelu_tanh"}
)
ROBERTA = BERT.model_copy(update={"family": "roberta", "segments": 1, "norm_eps": 1e-5})
DISTILBERT = BERT.model_copy(update={"family": "distilbert", "segments": 0})
LONGFORMER = ROBERTA.model_copy(
    update={"family": "longformer", "window": 8, "global_every": 0, "global_tokens": "first", "max_length": 600}
)
MOBILEBERT = BERT.model_copy(
    update={"family": "mobilebert", "embedding_width": 20, "bottleneck": 32, "feed_forwards": 3, "activation": "relu",
            "norm_kind": "none"}
)  # fmt: skip
MASKED_LM = {
    "modernbert": "ModernBertForMaskedLM",
    "roberta": "RobertaForMaskedLM",
    "distilbert": "DistilBertForMaskedLM",
    "longformer": "LongformerForMaskedLM",
    "deberta": "DebertaV2ForMaskedLM",
}
"""Their class with that one head."""
DEBERTA = BERT.model_copy(
    update={"family": "deberta", "positions": "disentangled", "segments": 0, "norm_eps": 1e-7, "max_length": 512}
)
WIDER = {"width": 64, "layers": 2, "heads": 2, "feed_forward": 96, "max_length": 700, "segments": 2}
PAIRS = {
    "bert": ("BertForPreTraining", "next_sentence", "seq_relationship_logits"),
    "mobilebert": ("MobileBertForPreTraining", "next_sentence", "seq_relationship_logits"),
    "albert": ("AlbertForPreTraining", "sentence_order", "sop_logits"),
}
"""Their class with two heads, our name of the second and theirs of what it says."""
LARGER = {"width": 96, "layers": 4, "heads": 3, "feed_forward": 160}
CASES = {
    "bert": (BERT, [7, 31, 1, 64, 12]),
    "bert, larger": (BERT.model_copy(update=LARGER), [64, 1, 40]),
    "bert without segments": (BERT, [7, 31, 1, 64, 12]),
    "albert": (ALBERT, [7, 31, 1, 64, 12]),
    "albert, larger": (ALBERT.model_copy(update=LARGER), [64, 1, 40]),
    "mobilebert": (MOBILEBERT, [7, 31, 1, 64, 12]),
    "mobilebert, larger": (MOBILEBERT.model_copy(update={**LARGER, "bottleneck": 48, "feed_forwards": 1}), [64, 1, 40]),
    "roberta": (ROBERTA, [7, 31, 1, 64, 12]),
    "roberta, larger": (ROBERTA.model_copy(update=LARGER), [64, 1, 40]),
    "roberta without segments": (ROBERTA, [7, 31, 1, 64, 12]),
    "roberta with two segments": (ROBERTA.model_copy(update={"segments": 2}), [7, 31, 1, 64, 12]),
    "distilbert": (DISTILBERT, [7, 31, 1, 64, 12]),
    "distilbert, larger": (DISTILBERT.model_copy(update=LARGER), [64, 1, 40]),
    "longformer": (LONGFORMER, [7, 31, 1, 600, 12]),
    "longformer, larger": (LONGFORMER.model_copy(update=LARGER), [64, 1, 600]),
    "longformer, no token global": (LONGFORMER.model_copy(update={"global_tokens": "none"}), [7, 31, 1, 600, 12]),
    "longformer, a question global": (
        LONGFORMER.model_copy(update={"global_tokens": "question", "segments": 2}),
        [7, 31, 1, 64, 12],
    ),
    "longformer, windows of each layer": (LONGFORMER.model_copy(update={"window": (4, 64, 16)}), [300, 40, 131, 1]),
    "longformer within its window": (LONGFORMER.model_copy(update={"window": 512}), [7, 31, 1, 64, 12]),
    "modernbert": (MODERNBERT, [7, 31, 1, 64, 12]),
    "modernbert, larger": (MODERNBERT.model_copy(update=LARGER), [64, 1, 40]),
    "modernbert beyond its window": (MODERNBERT, [300, 40, 131, 9]),
    "modernbert with biases": (
        MODERNBERT.model_copy(update={"bias": True, "window": 10}),
        [7, 31, 1, 64, 12],
    ),
    "modernbert, every layer global": (MODERNBERT.model_copy(update={"window": None}), [7, 31, 200]),
    "deberta": (DEBERTA.model_copy(update={"max_length": 64}), [7, 31, 1, 64, 12]),
    "deberta beyond half its buckets": (DEBERTA, [7, 300, 1, 512, 131]),
    "deberta, larger, beyond its buckets": (DEBERTA.model_copy(update=WIDER), [150, 700, 1, 9]),
    "deberta with narrower embeddings": (
        DEBERTA.model_copy(update={"embedding_width": 20, "segments": 2, "max_length": 64}),
        [7, 31, 1, 64, 12],
    ),
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network_of(shape):
    """Random weights everywhere, in biases and norms too, so that none of them can be forgotten."""
    torch.manual_seed(5)
    heads = {"masked_lm": MaskedLMHead(shape)}
    if shape.family in PAIRS:
        heads[PAIRS[shape.family][1]] = SequenceRelationHead(shape)
    network = Network(backbone_of(shape), heads)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.normal_(centre, 0.12 if shape.width < 96 else 0.08)  # as large as float32 bears
        if shape.trigrams:  # theirs take what pads a shorter text for the token behind its last
            network.backbone.embeddings.tokens.weight[PAD] = 0
    return network


def reference_of(network, shape):
    """Transformers' class, given our weights by its own strict loading."""
    settings = {**write_shape(shape, "config.json", PAD), "pad_token_id": PAD, "attn_implementation": "eager"}
    ids = {"bos_token_id": 0, "cls_token_id": 0, "eos_token_id": 2, "sep_token_id": 2}
    cls = getattr(transformers, PAIRS[shape.family][0] if shape.family in PAIRS else MASKED_LM[shape.family])
    model = cls(cls.config_class(**settings, **ids))
    theirs = to_theirs(shape, dict(network.named_parameters()), PAD)
    tied = {f"{FAMILIES[shape.family].vocabulary}.{leaf}" for leaf in ("weight", "bias")}
    missing, unexpected = model.load_state_dict({n: t.detach().clone() for n, t in theirs.items()}, strict=False)
    assert set(missing) <= tied and not unexpected
    return model


def texts_of(shape, lengths, told=True):
    rng = np.random.default_rng(3)
    tokens = rng.integers(3, shape.vocab_size, sum(lengths)).astype(np.int32)
    segments = rng.integers(0, shape.segments, sum(lengths)) if shape.segments and told else None
    if shape.global_tokens == "question":  # text A, and B behind it
        segments = np.concatenate([np.arange(length) >= length // 2 for length in lengths]).astype(int)
    return Stream(tokens, np.array(lengths), segments)


def padded(values, lengths, fill=0):
    rows = np.full((len(lengths), max(lengths)), fill, np.int64)
    for row, text in zip(rows, np.split(values, np.cumsum(lengths)[:-1]), strict=True):
        row[: len(text)] = text
    return torch.from_numpy(rows)


def far_of(shape, lengths):
    """[N, L] what is global; of two texts the first half is A, its last token the separator."""
    far = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for row, length in zip(far, lengths, strict=True):
        row[: {"first": 1, "question": max(1, length // 2 - 1)}[shape.global_tokens]] = 1
    return far


def run_reference(model, stream, shape):
    lengths = stream.lengths
    mask = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None])
    segments = {} if stream.segments is None else {"token_type_ids": padded(stream.segments, lengths)}
    told = {} if shape.global_tokens == "none" else {"global_attention_mask": far_of(shape, lengths)}
    ids = padded(stream.tokens, lengths, PAD)
    return mask, model(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True, **segments, **told)


def ours_of(stream):
    everywhere = np.arange(len(stream.tokens))
    targets = {
        "masked_lm": Targets(everywhere, (stream.tokens * 7 + 3) % 199),
        **{name: Targets(stream.starts, np.arange(len(stream.lengths)) % 2) for _, name, _ in PAIRS.values()},
    }
    return collate(Example({"encoder": stream}, targets))


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("case", CASES)
def test_states_and_logits(case, training, agreement):
    shape, lengths = CASES[case]
    network = network_of(shape).train(training)
    model = reference_of(network, shape).train(training)
    stream, near = texts_of(shape, lengths, "without segments" not in case), agreement(case, model)
    with torch.no_grad():
        mask, theirs = run_reference(model, stream, shape)
        batch = ours_of(stream)
        ours = network.backbone.layers(batch.streams["encoder"])
        assert len(ours) == len(theirs.hidden_states) == shape.layers + 1
        for mine, reference in zip(ours, theirs.hidden_states, strict=True):
            near("states", mine, reference[mask])
        logits = theirs.prediction_logits if shape.family in PAIRS else theirs.logits
        assert logits[mask].std() > 0.1  # else agreement would say nothing
        near("logits", network.logits(batch, "masked_lm"), logits[mask])
        if shape.family in PAIRS:
            _, name, said = PAIRS[shape.family]
            near("logits", network.logits(batch, name), theirs[said])


@pytest.mark.parametrize("case", CASES)
def test_gradients_of_every_parameter(case, agreement):
    shape, lengths = CASES[case]
    network = network_of(shape).train()
    model = reference_of(network, shape).train()
    stream, near = texts_of(shape, lengths, "without segments" not in case), agreement(case, model)
    batch = ours_of(stream)
    heads = list(network.heads)
    total = sum(loss.total / loss.count for loss in network.answer(batch, heads).values())
    total.backward()

    mask, theirs = run_reference(model, stream, shape)
    logits = theirs.prediction_logits if shape.family in PAIRS else theirs.logits
    loss = torch.nn.functional.cross_entropy(logits[mask], batch.targets["masked_lm"].labels)
    if shape.family in PAIRS:
        _, name, said = PAIRS[shape.family]
        loss = loss + torch.nn.functional.cross_entropy(theirs[said], batch.targets[name].labels)
    near("loss", total.detach(), loss.detach())
    loss.backward()

    mine = to_theirs(shape, {name: p.grad for name, p in network.named_parameters() if p.grad is not None}, PAD)
    reference = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    reference.pop("decoder.weight", None)
    assert set(mine) == set(reference)
    assert any("query_global" in name for name in mine) == (shape.global_tokens != "none")
    for name, gradient in reference.items():
        near("gradients", mine[name], gradient, name)


def test_rotary_angles_and_turns():
    from transformers.models.modernbert import modeling_modernbert as reference

    from unmask.nn.positions import angles, rotate

    q, positions = torch.randn(9, 2, 12), torch.tensor([0, 1, 2, 50, 100, 511, 512, 4000, 8191])
    inverse = 1 / (10_000 ** (torch.arange(0, 12, 2).float() / 12))
    whole = (positions[:, None].float() * inverse).repeat(1, 2)
    turned, _ = reference.apply_rotary_pos_emb(q[None], q[None], whole.cos()[None], whole.sin()[None], unsqueeze_dim=2)
    assert torch.equal(rotate(q, *angles(positions, 12, 10_000.0)), turned[0])


def test_without_dropout_training_is_evaluating():
    for shape, lengths in (CASES["bert"], CASES["modernbert"]):
        network, batch = network_of(shape), ours_of(texts_of(shape, lengths))
        sequences = batch.streams["encoder"]
        assert torch.equal(network.train().backbone(sequences), network.eval().backbone(sequences))


def test_where_all_segments_have_one_vector_all_are_text_a():
    network, stream = network_of(ROBERTA), texts_of(ROBERTA, [9, 4])
    pair = Stream(stream.tokens, stream.lengths, np.arange(13) % 2)
    alone, paired = (ours_of(given).streams["encoder"] for given in (stream, pair))
    assert torch.equal(network.backbone(alone), network.backbone(paired))


def test_with_dropout_training_is_not_evaluating():
    shape = BERT.model_copy(update={"dropout": 0.1})
    network, sequences = network_of(shape), ours_of(texts_of(shape, [9, 4])).streams["encoder"]
    assert not torch.equal(network.train().backbone(sequences), network.eval().backbone(sequences))


def test_a_head_answers_as_its_definition_says():
    """Only at its targets, and with a sum and a count."""
    network, stream = network_of(BERT).eval(), texts_of(BERT, [6, 3])
    batch = ours_of(stream)
    batch.targets["masked_lm"] = Answers(torch.tensor([8, 2]), torch.tensor([5, 6]), "encoder")
    logits = network.logits(Batch(batch.streams, batch.targets), "masked_lm")
    everywhere = network.heads["masked_lm"](network.states(batch))
    assert torch.allclose(logits, everywhere[[8, 2]], atol=1e-6)
    loss = cross_entropy(logits, torch.tensor([5, 6]))
    expected = -(logits.log_softmax(-1)[0, 5] + logits.log_softmax(-1)[1, 6])
    assert loss.count == 2 and torch.allclose(loss.total, expected)
