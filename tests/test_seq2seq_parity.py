"""BART and T5 against transformers' classes of the same weights: states, logits, loss and gradients, packed against
padded. All agree within 1e-5 of the largest number of each in the reference.
"""

import numpy as np
import pytest
import torch

from unmask import hub
from unmask.hub.names import to_theirs
from unmask.hub.shapes import write_shape
from unmask.models.backbone import backbone_of
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.nn.blocks import Memory
from unmask.nn.network import Network
from unmask.presets import T5 as LIKE_T5
from unmask.presets import T5_1_1
from unmask.text.example import Example, Stream, Targets

transformers = pytest.importorskip("transformers")
STILL = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
BART = Shape(
    family="bart", vocab_size=199, width=48, layers=3, decoder_layers=2, heads=4, feed_forward=100, max_length=64,
    norm_eps=1e-5, segments=0, **STILL,
)  # fmt: skip
SIZES = {"vocab_size": 199, "width": 48, "layers": 3, "decoder_layers": 2, "heads": 4, "head_width": 9,
         "feed_forward": 100, **STILL}  # fmt: skip
T5 = LIKE_T5.model_copy(update=SIZES)
NEWER = T5.model_copy(update={**T5_1_1, **STILL})
LARGER = {"width": 96, "layers": 2, "decoder_layers": 4, "heads": 3}
SHORT = ([7, 31, 1, 64, 12], [3, 20, 1, 64, 2])
CASES = {
    "bart": (BART, SHORT),
    "bart, larger": (BART.model_copy(update=LARGER), ([5, 60, 9], [40, 1, 33])),
    "bart, embeddings scaled": (BART.model_copy(update={"embedding_scale": "input"}), SHORT),
    "t5": (T5, SHORT),
    "t5, larger": (T5.model_copy(update=LARGER), ([300, 12, 140], [3, 200, 45])),
    "t5-v1.1": (NEWER, SHORT),
    "t5-v1.1, larger": (NEWER.model_copy(update=LARGER), ([300, 12, 140], [3, 200, 45])),
    "t5-v1.1, one matrix": (NEWER.model_copy(update={"tied": True}), SHORT),
}
CLASSES = {"bart": (transformers.BartConfig, transformers.BartForConditionalGeneration)}
NEWEST = (transformers.T5Config, transformers.T5ForConditionalGeneration)
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2, "forced_eos_token_id": 2}


def _std(shape, name):
    """As large as they can be without a softmax so sharp that float32 itself is off by more than is asked for."""
    if name.endswith(("tokens.weight", "vocabulary")):
        return 0.12 if shape.family == "bart" else 0.5  # T5's states are scaled down before they meet the vocabulary
    if name.endswith(("qkv.weight", "query.weight")) and shape.family != "bart":
        return 0.05  # T5's scores are not scaled
    return 0.12 if shape.width < 64 else 0.08


def network_of(shape):
    """Random weights everywhere, in biases and norms too, so that none of them can be forgotten."""
    torch.manual_seed(5)
    heads = {name: make() for name, make in hub.heads_of(shape).items()}
    network = Network(backbone_of(shape), heads)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.normal_(centre, _std(shape, name))
    return network


def reference_of(network, shape):
    """Transformers' class, given our weights by its own strict loading."""
    config, cls = CLASSES.get(shape.family, NEWEST)
    model = cls(config(**write_shape(shape, "config.json"), **IDS, attn_implementation="eager"))
    if not shape.tied:  # it ties whatever it makes; loading a folder would part them again
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    theirs = to_theirs(shape, dict(network.named_parameters()))
    missing, unexpected = model.load_state_dict({n: t.detach().clone() for n, t in theirs.items()}, strict=False)
    tied = ("embed_tokens.weight", "lm_head.weight") if shape.tied else ("embed_tokens.weight",)
    assert all(name.endswith(tied) for name in missing) and not unexpected
    return model


def padded(values, lengths, fill=0):
    rows = np.full((len(lengths), max(lengths)), fill, np.int64)
    for row, text in zip(rows, np.split(values, np.cumsum(lengths)[:-1]), strict=True):
        row[: len(text)] = text
    return torch.from_numpy(rows)


def ours_of(lengths):
    rng = np.random.default_rng(3)
    source, text = (Stream(rng.integers(3, 199, sum(each)), np.array(each)) for each in lengths)
    text = Stream(text.tokens, text.lengths, reads="encoder")
    asked = Targets(np.arange(len(text.tokens)), (text.tokens * 7 + 3) % 199, "decoder")
    return Example({"encoder": source, "decoder": text}, {"decoder_lm": asked})


def run_reference(model, example):
    source, text = example.streams["encoder"], example.streams["decoder"]
    masks = [torch.from_numpy(np.arange(s.lengths.max()) < s.lengths[:, None]) for s in (source, text)]
    labels = padded(example.targets["decoder_lm"].labels, text.lengths, -100)
    return masks, model(
        input_ids=padded(source.tokens, source.lengths), attention_mask=masks[0].long(),
        decoder_input_ids=padded(text.tokens, text.lengths), decoder_attention_mask=masks[1].long(), labels=labels,
        output_hidden_states=True,
    )  # fmt: skip


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("case", CASES)
def test_every_layer_the_logits_the_loss_and_every_gradient(case, training, agreement):
    shape, lengths = CASES[case]
    network, example = network_of(shape).train(training), ours_of(lengths)
    model = reference_of(network, shape).train(training)
    (of_source, of_text), theirs = run_reference(model, example)
    near = agreement(case, model)
    batch = collate(example, 64)
    read = network.backbone.layers(batch.streams["encoder"])
    memory = Memory(network.states(batch, "encoder"), batch.streams["encoder"].layout)
    written = network.backbone.decoder_layers(batch.streams["decoder"], memory)
    for name, mine, reference, mask in (
        ("encoder", read, theirs.encoder_hidden_states, of_source),
        ("decoder", written, theirs.decoder_hidden_states, of_text),
    ):
        assert len(mine) == len(reference) == 1 + (shape.layers if name == "encoder" else shape.decoder_layers)
        for n, (one, other) in enumerate(zip(mine, reference, strict=True)):
            near("states", one, other[mask], f"{name}, layer {n}")
    logits = theirs.logits[of_text]
    assert logits.std() > 0.1, "else agreement would say nothing"
    near("logits", network.logits(batch, "decoder_lm"), logits)
    (loss,) = network.answer(batch, ["decoder_lm"]).values()
    near("loss", loss.total.detach() / loss.count, theirs.loss.detach())

    (loss.total / loss.count).backward()
    theirs.loss.backward()
    gradients = to_theirs(shape, {name: p.grad for name, p in network.named_parameters()})
    gradients.pop("final_logits_bias", None)  # learned here, and no weight there
    reference = {name: p.grad for name, p in model.named_parameters()}
    assert set(gradients) == set(reference)
    for name, gradient in reference.items():
        near("gradients", gradients[name], gradient, name)


def test_what_begins_is_what_transformers_begins_with():
    """T5's initial weights: those of each kind are as large, queries smaller than keys."""
    torch.manual_seed(0)
    shape = T5.model_copy(update={"vocab_size": 3000, "width": 128, "heads": 8, "head_width": 16, "feed_forward": 512})
    ours = to_theirs(shape, dict(backbone_of(shape).named_parameters(prefix="backbone")))
    model = transformers.T5Model(transformers.T5Config(**write_shape(shape, "c")))
    for name, weight in model.named_parameters():
        doubt = 4 / weight.numel() ** 0.5  # of two standard deviations measured on so many numbers
        assert ours[name].std().item() == pytest.approx(weight.std().item(), rel=0.03 + doubt, abs=1e-6), name
