"""Hugging Face folders: what stands there is read, what is written transformers opens, and nothing hostile passes."""

import itertools
import json
import os
import pickle
import re
import shutil
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from unmask import hub
from unmask.errors import UserError
from unmask.hub.families import FAMILIES
from unmask.hub.names import theirs, to_ours, to_theirs
from unmask.hub.shapes import read_shape, write_shape
from unmask.models.backbone import backbone_of
from unmask.models.reformer_parts import ReformerParts
from unmask.models.shape import Shape
from unmask.nn.batch import collate
from unmask.nn.network import Network
from unmask.presets import PRESETS, T5_1_1
from unmask.presets import T5 as LIKE_T5
from unmask.tasks.classify import Classify
from unmask.tasks.tag import Tag
from unmask.text.example import Example, Stream, Targets
from unmask.text.tokens.tokenizer import Tokenizer
from unmask.training import weights

BERT = Shape(vocab_size=64, width=24, layers=2, heads=3, feed_forward=40, max_length=32, norm_eps=1e-7)
MODERNBERT = Shape(
    family="modernbert", vocab_size=64, width=24, layers=5, heads=3, feed_forward=40, max_length=32, positions="rotary",
    norm="before", norm_eps=1e-5, bias=False, gated=True, segments=0, window=8, global_every=3, dropout=0.2,
    rotary_base=1234.0, local_rotary_base=99.0,
)  # fmt: skip
GPT2 = Shape(
    family="gpt2", vocab_size=64, width=24, layers=2, heads=3, feed_forward=40, max_length=32, norm="before",
    norm_eps=1e-6, segments=0, activation="gelu_tanh", embedding_norm=False, causal=True, dropout=0.2,
)  # fmt: skip
BART = Shape(
    family="bart", vocab_size=64, width=24, layers=2, decoder_layers=3, heads=3, feed_forward=40, max_length=32,
    norm_eps=1e-5, segments=0, dropout=0.2, activation_dropout=0.3, embedding_scale="input",
)  # fmt: skip
NARROW = {"vocab_size": 64, "width": 24, "layers": 2, "decoder_layers": 3, "heads": 3, "head_width": 6,
          "feed_forward": 40, "max_length": 32}  # fmt: skip
T5 = LIKE_T5.model_copy(update=NARROW)
NEWER = T5.model_copy(update=T5_1_1)
XLNET = Shape(
    family="xlnet", vocab_size=64, width=24, layers=2, heads=3, feed_forward=40, max_length=32, positions="relative",
    embedding_norm=False, activation_dropout=0.1,
)  # fmt: skip
ELECTRA = BERT.model_copy(update={"family": "electra", "embedding_width": 16})
SHAPES = {"bert": BERT, "modernbert": MODERNBERT, "gpt2": GPT2, "electra": ELECTRA}
ALBERT = ELECTRA.model_copy(update={"family": "albert", "layer_sharing": "all", "activation": "gelu_tanh"})
ROBERTA = BERT.model_copy(update={"family": "roberta", "segments": 1, "norm_eps": 1e-5})
DISTILBERT = BERT.model_copy(update={"family": "distilbert", "segments": 0, "norm_eps": 1e-12})
SHAPES |= {"albert": ALBERT, "bart": BART, "t5": T5, "t5-v1.1": NEWER, "xlnet": XLNET, "roberta": ROBERTA}
SHAPES |= {"distilbert": DISTILBERT}
LONGFORMER = ROBERTA.model_copy(
    update={"family": "longformer", "window": 8, "global_every": 0, "global_tokens": "first"}
)
SHAPES |= {"longformer": LONGFORMER}
DEBERTA = BERT.model_copy(update={"family": "deberta", "positions": "disentangled", "dropout": 0.2})
SHAPES |= {"deberta": DEBERTA.model_copy(update={"embedding_width": 16})}
MOBILEBERT = BERT.model_copy(
    update={"family": "mobilebert", "embedding_width": 16, "bottleneck": 12, "feed_forwards": 3, "activation": "relu",
            "norm_kind": "none"}
)  # fmt: skip
SHAPES |= {"mobilebert": MOBILEBERT}
REFORMER = Shape(
    family="reformer", vocab_size=64, width=48, layers=3, heads=3, head_width=7, feed_forward=40, max_length=32,
    positions="axial", norm="before", embedding_norm=False, tied=False, segments=0, dropout=0.2, activation="relu",
    activation_dropout=0.2,
    reformer={"local_chunk": 4, "lsh_chunk": 8, "hashes": 2, "buckets": (2, 4), "hash_seed": 3, "axial": (4, 8),
              "axial_width": 10},
)  # fmt: skip
SHAPES |= {"reformer": REFORMER}


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(["a film about the capital of france, and a fine one"], "wordpiece", 64)


def tensors_of(shape, heads=None):
    torch.manual_seed(0)
    made = hub.heads_of(shape)
    network = Network(backbone_of(shape), {name: made[name]() for name in (made if heads is None else heads)})
    return {name: torch.randn_like(p) for name, p in network.named_parameters()}


@pytest.fixture(params=SHAPES)
def written(request, tmp_path, tokenizer):
    shape = SHAPES[request.param]
    hub.write(tmp_path / "model", shape, tensors := tensors_of(shape), tokenizer)
    return tmp_path / "model", shape, tensors


@pytest.fixture
def bert(tmp_path, tokenizer):
    hub.write(tmp_path / "model", BERT, tensors_of(BERT), tokenizer)
    return tmp_path / "model"


def change_config(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def change_tensors(folder, change):
    path = folder / "model.safetensors"
    save_file(change(load_file(path)) or {}, path, {"format": "pt"})


def refused(folder, *words):
    """The one line that says why."""
    with pytest.raises(UserError) as caught:
        hub.read(folder)
    line = str(caught.value)
    assert "\n" not in line
    assert all(word in line for word in (str(folder), *words)), line
    return line


# names


@pytest.mark.parametrize("family", FAMILIES)
def test_rules_are_reversible(family):
    """Every weight has names of its own there, and comes back from them as it was."""
    ours = tensors_of(SHAPES[family])
    names = [part for name in ours for part in theirs(family, name)]
    assert all(theirs(family, name) for name in ours) and len(names) == len(set(names))
    back = to_ours(family, to_theirs(SHAPES[family], ours), list(ours))
    assert list(back) == list(ours) and all(torch.equal(back[name], ours[name]) for name in ours)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_rule_is_used(family):
    ours = {
        *tensors_of(SHAPES[family]),
        *(
            f"heads.task.{name}.weight"
            for name in ("pooler", "dense", "norm", "classifier", "score", "out_proj", "logits_proj", "pre_classifier")
        ),
        "heads.decoder_lm.vocabulary",
        "backbone.embeddings.positions.weight",
    }
    used = {name for ours in ours for name in theirs(family, ours)}
    for pattern in FAMILIES[family].rules.values():
        stems = tuple(re.split("[{^]", pattern.replace("#", layer))[0] for layer in "01")
        assert any(name.startswith(stems) for name in used), pattern


def test_queries_keys_and_values_are_joined_in_that_order():
    parts = {f"bert.encoder.layer.1.attention.self.{part}.bias": torch.full((2,), n) for n, part in
             enumerate(["query", "key", "value"])}  # fmt: skip
    name = "backbone.blocks.1.attention.qkv.bias"
    assert to_ours("bert", parts, [name])[name].tolist() == [0, 0, 1, 1, 2, 2]
    del parts["bert.encoder.layer.1.attention.self.key.bias"]
    assert to_ours("bert", parts, [name]) == {}


# shapes


@pytest.mark.parametrize(
    "shape", [*SHAPES.values(), *(shape for shape in PRESETS.values() if shape.family in FAMILIES)]
)
def test_shapes_come_back_equal(shape):
    assert read_shape(write_shape(shape, "c"), "c") == shape


def test_a_shape_without_local_layers_comes_back_with_the_same_meaning():
    shape = MODERNBERT.model_copy(update={"window": None})
    back = read_shape(write_shape(shape, "c"), "c")
    assert all(back.is_global(i) for i in range(back.layers))


def test_an_empty_configuration_has_their_defaults():
    transformers = pytest.importorskip("transformers")
    for cls in (
        transformers.BertConfig,
        transformers.ModernBertConfig,
        transformers.BartConfig,
        transformers.T5Config,
        transformers.XLNetConfig,
        transformers.RobertaConfig,
        transformers.DistilBertConfig,
        transformers.LongformerConfig,
        transformers.ReformerConfig,
        transformers.MobileBertConfig,
    ):
        bare = read_shape({"model_type": cls.model_type}, "c")
        assert bare == read_shape(cls().to_dict(), "c")
    assert read_shape({"model_type": "bert"}, "c") == PRESETS["bert-base"]
    assert read_shape({"model_type": "modernbert"}, "c") == PRESETS["modernbert-base"]
    assert read_shape({"model_type": "xlnet"}, "c") == PRESETS["xlnet-large"]
    assert read_shape({"model_type": "t5"}, "c") == PRESETS["t5-small"]
    still = {"attention_dropout": 0.0, "activation_dropout": 0.0}  # where the release's file says otherwise
    assert read_shape({"model_type": "bart"}, "c") == PRESETS["bart-large"].model_copy(update=still)
    assert read_shape({"model_type": "electra"}, "c") == PRESETS["electra-small"]
    assert read_shape({"model_type": "distilbert"}, "c") == PRESETS["distilbert-base"]
    released = {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}  # by roberta-base
    assert read_shape({"model_type": "roberta", **released}, "c") == PRESETS["roberta-base"]
    released |= {"vocab_size": 50265, "max_position_embeddings": 4098, "attention_window": [512] * 12}
    told = {"architectures": ["LongformerForSequenceClassification"]}
    assert read_shape({"model_type": "longformer", **released, **told}, "c") == PRESETS["longformer-base"]


@pytest.mark.parametrize("sizes", [{"hidden_size": 10**9, "embedding_size": 10**9}, {"vocab_size": 10**12}], ids=str)
def test_sizes_that_no_machine_holds_are_refused(sizes):
    with pytest.raises(UserError, match=r"c: its sizes make [\d,]+ parameters"):
        read_shape({"model_type": "mobilebert", "intra_bottleneck_size": 10**6, **sizes}, "c")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_size_has_its_default(family):
    assert set(FAMILIES[family].numbers.values()) <= set(FAMILIES[family].defaults)


def test_settings_of_older_versions_are_understood():
    old = {
        "model_type": "modernbert",
        "global_attn_every_n_layers": 2,
        "global_rope_theta": 5.0,
        "local_rope_theta": 6.0,
    }
    shape = read_shape(old, "c")
    assert (shape.global_every, shape.rotary_base, shape.local_rotary_base) == (2, 5.0, 6.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_second_names_of_settings_are_understood_as_there(family):
    """What transformers calls by either name is read by either, each alone."""
    from transformers import AutoConfig

    written = write_shape(SHAPES[family], "c")
    assert FAMILIES[family].aliases == AutoConfig.for_model(written["model_type"]).attribute_map
    for alias, name in FAMILIES[family].aliases.items():
        second = {(alias if each == name else each): value for each, value in written.items()}
        assert alias in second and read_shape(second, "c") == read_shape(written, "c")
        read_shape({**second, name: written[name]}, "c")  # both, and alike


@pytest.mark.parametrize(
    "family, settings, word",
    [
        ("bert", {"hidden_act": "relu"}, "hidden_act 'relu'"),
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ("bert", {"is_decoder": True}, "is_decoder"),
        ("bert", {"pruned_heads": {"0": [1]}}, "pruned_heads"),
        ("bert", {"tie_word_embeddings": False}, "tie_word_embeddings"),
        ("bert", {"num_attention_heads": 5}, "heads must divide the width"),
        ("bert", {"hidden_size": "wide"}, "hidden_size"),
        ("bert", {"layer_norm_eps": -1}, "norm_eps"),
        ("bert", {"model_type": "llama"}, "model_type 'llama'"),
        ("bert", {"num_hidden_layers": 1000}, "too few tensors"),
        ("bert", {"num_hidden_layers": 10**9}, "layers"),
        ("modernbert", {"hidden_activation": "silu"}, "hidden_activation"),
        ("modernbert", {"attention_bias": True}, "attention_bias"),
        ("modernbert", {"mlp_dropout": 0.5}, "mlp_dropout"),
        ("modernbert", {"layer_types": ["full_attention"] * 4 + ["sliding_attention"]}, "layer_types"),
        ("modernbert", {"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "rope_type 'yarn'"),
        (
            "modernbert",
            {"rope_parameters": {"full_attention": {"type": "linear", "factor": 2.0}}},
            "rope_type 'linear'",
        ),
        ("modernbert", {"sliding_window": 3}, "sliding_window 3"),
        ("modernbert", {"global_attn_every_n_layers": 0, "layer_types": None}, "global_attn_every_n_layers 0"),
        ("modernbert", {"global_attn_every_n_layers": -2, "layer_types": None}, "global_attn_every_n_layers -2"),
        ("modernbert", {"rope_parameters": "x"}, "wrong type"),
        ("modernbert", {"global_attn_every_n_layers": "x"}, "wrong type"),
        ("roberta", {"hidden_act": "relu"}, "hidden_act 'relu'"),
        ("roberta", {"pad_token_id": -1}, "pad_token_id -1"),
        ("roberta", {"pad_token_id": "x"}, "pad_token_id 'x'"),
        ("roberta", {"pad_token_id": 30}, "max_position_embeddings"),
        ("distilbert", {"activation": "relu"}, "activation 'relu'"),
        ("distilbert", {"sinusoidal_pos_embds": True}, "sinusoidal_pos_embds"),
        ("longformer", {"hidden_act": "relu"}, "hidden_act 'relu'"),
        ("longformer", {"attention_window": [8, 8, 8]}, "window has 3 widths for 2 layers"),
        ("longformer", {"attention_window": 1}, "attention_window"),
        ("longformer", {"global_tokens": "all"}, "global_tokens"),
        ("bart", {"activation_function": "relu"}, "activation_function"),
        ("bart", {"num_hidden_layers": 1}, "num_hidden_layers 1 and encoder_layers 2 are two names of one setting"),
        ("distilbert", {"num_attention_heads": 1}, "num_attention_heads 1 and n_heads"),
        ("bart", {"decoder_attention_heads": 4}, "decoder_attention_heads"),
        ("bart", {"decoder_ffn_dim": 4}, "decoder_ffn_dim"),
        ("bart", {"normalize_before": True}, "normalize_before"),
        ("bart", {"decoder_layers": 1}, "decoder.layers.1"),
        ("t5", {"feed_forward_proj": "gelu"}, "feed_forward_proj 'gelu'"),
        ("t5", {"feed_forward_proj": "gated-gelu"}, "DenseReluDense.wi.weight"),
        ("t5", {"dense_act_fn": "gelu_new"}, "dense_act_fn 'gelu_new'"),
        ("t5-v1.1", {"dense_act_fn": "relu"}, "dense_act_fn 'relu'"),
        ("t5-v1.1", {"feed_forward_proj": "gated-silu"}, "feed_forward_proj 'gated-silu'"),
        ("t5-v1.1", {"architectures": ["T5EncoderModel"]}, "an encoder alone"),
        ("t5", {"architectures": "T5EncoderModel"}, "an encoder alone"),
        ("t5", {"model_type": "mt5", "feed_forward_proj": "gated-silu"}, "feed_forward_proj 'gated-silu'"),
        ("t5", {"decoder_start_token_id": 64}, "decoder_start_token_id 64: a token's id below 64 would fit"),
        ("t5", {"decoder_start_token_id": 1.5}, "decoder_start_token_id 1.5"),
        ("gpt2", {"embd_pdrop": 0.5}, "embd_pdrop 0.5"),
        ("deberta", {"num_attention_heads": 0}, "wrong type"),
        ("reformer", {"attn_layers": []}, "attn_layers []"),
        ("bert", {"layer_norm_eps": None}, "layer_norm_eps None: must be a number"),
        ("bert", {"num_hidden_layers": "2"}, "num_hidden_layers '2': must be a whole number"),
        ("bert", {"num_attention_heads": 7}, "model: heads must divide the width"),
        ("electra", {"embedding_size": 0}, "embedding_size: "),
        ("t5-v1.1", {"relative_attention_num_buckets": 64}, "relative_attention_num_buckets"),
        ("reformer", {"num_hidden_layers": 1}, "num_hidden_layers 1"),
        ("reformer", {"hidden_act": "silu"}, "hidden_act 'silu'"),
        ("reformer", {"local_num_chunks_after": 1}, "local_num_chunks_after 1"),
        ("reformer", {"axial_pos_embds_dim": [10, 10]}, "axial_pos_embds_dim"),
        ("reformer", {"axial_pos_shape": [4, 4]}, "4,4 has no room for 32 places"),
        ("reformer", {"num_buckets": 3}, "reformer.buckets"),
        ("reformer", {"attn_layers": ["lsh", "full", "local"]}, "reformer.attention"),
        ("deberta", {"relative_attention": False}, "relative_attention False"),
        ("deberta", {"position_biased_input": None}, "position_biased_input True"),
        ("deberta", {"position_buckets": -1}, "position_buckets -1"),
        ("deberta", {"share_att_key": None}, "share_att_key False"),
        ("deberta", {"norm_rel_ebd": "none"}, "norm_rel_ebd 'none'"),
        ("deberta", {"pos_att_type": ["c2p"]}, "pos_att_type ['c2p']"),
        ("deberta", {"pos_att_type": None}, "pos_att_type 'none'"),
        ("deberta", {"max_relative_positions": 64}, "max_relative_positions 64"),
        ("deberta", {"attention_head_size": 16}, "attention_head_size 16"),
        ("mobilebert", {"normalization_type": "layer_norm"}, "normalization_type 'layer_norm'"),
        ("mobilebert", {"use_bottleneck_attention": True}, "use_bottleneck_attention True"),
        ("mobilebert", {"trigram_input": False}, "trigram_input False"),
        ("deberta", {"conv_kernel_size": 3, "conv_act": "gelu"}, "conv_kernel_size 3: the convolution"),
    ],
)
def test_what_has_no_place_here_is_refused_by_name(tmp_path, tokenizer, family, settings, word):
    hub.write(tmp_path / "model", SHAPES[family], tensors_of(SHAPES[family]), tokenizer)
    change_config(tmp_path / "model", **settings)
    in_tensors = word in ("too few tensors", "decoder.layers.1", "DenseReluDense.wi.weight")
    refused(tmp_path / "model", word) if in_tensors else refused(tmp_path / "model", "config.json", word)


@pytest.mark.parametrize(
    "part, told",
    [
        ({"norm": "before"}, "model.norm before: only models with after go out as Hugging Face's bert"),
        ({"segments": 0}, "no place for model.segments 0"),
        ({"causal": True}, "model.causal True: only models with False go out"),
        ({"window": 8}, "model.window 8: only models with None go out"),
        ({"gated": True}, "model.gated True: only models with False go out"),
    ],
)
def test_a_shape_they_do_not_have_is_not_written(tmp_path, tokenizer, part, told):
    shape = BERT.model_copy(update=part)
    with pytest.raises(UserError, match=told):
        hub.write(tmp_path / "out", shape, tensors_of(shape), tokenizer)
    assert list(tmp_path.iterdir()) == []


# folders


def test_what_was_written_is_read_again(written):
    folder, shape, tensors = written
    found = hub.read(folder)
    assert found.shape == shape and found.notes == []
    assert set(found.tensors) == set(tensors)
    assert all(torch.equal(found.tensors[name], tensors[name]) for name in tensors)


@pytest.mark.agreement
def test_there_and_back_it_is_the_same_file(written, tmp_path, tokenizer, record_property):
    folder, _, _ = written
    found = hub.read(folder)
    hub.write(tmp_path / "again", found.shape, found.tensors, tokenizer, begins=found.begins)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    record_property("case", next(family for family, known in SHAPES.items() if known == found.shape))
    record_property("there and back", "same bytes")


OPENED_BY = {
    "bert": ["AutoModelForMaskedLM", "BertForPreTraining"],
    "modernbert": ["AutoModelForMaskedLM"],
    "gpt2": ["AutoModelForCausalLM"],
    "bart": ["AutoModelForSeq2SeqLM"],
    "t5": ["AutoModelForSeq2SeqLM", "T5EncoderModel", "T5ForConditionalGeneration"],
    "t5-v1.1": ["AutoModelForSeq2SeqLM"],
    "electra": ["AutoModelForMaskedLM", "AutoModelForPreTraining"],
    "albert": ["AutoModelForMaskedLM", "AlbertForPreTraining"],
    "xlnet": ["AutoModelForCausalLM"],
    "roberta": ["AutoModelForMaskedLM"],
    "distilbert": ["AutoModelForMaskedLM"],
    "longformer": ["AutoModelForMaskedLM"],
    "deberta": ["AutoModelForMaskedLM"],
    "mobilebert": ["AutoModelForMaskedLM", "MobileBertForPreTraining"],
    "reformer": ["AutoModelForMaskedLM"],
}
POOLER = {"pooler.dense.weight", "pooler.dense.bias"}


def test_transformers_opens_what_was_written(written, tokenizer):
    transformers = pytest.importorskip("transformers")
    folder, shape, tensors = written
    for cls in (getattr(transformers, name) for name in ("AutoModel", *OPENED_BY[shape.family])):
        model, info = cls.from_pretrained(folder, output_loading_info=True)
        # RoBERTa had no task for a pooler, but their bare class has one
        poolerless = type(model) in (transformers.RobertaModel, transformers.LongformerModel)
        assert set(info["missing_keys"]) <= (POOLER if poolerless else set()), cls
        assert not info["mismatched_keys"], cls
        stored = model.get_input_embeddings().weight
        assert torch.equal(stored, tensors["backbone.embeddings.tokens.weight"])
    assert type(model).__name__ == json.loads((folder / "config.json").read_text())["architectures"][0]
    opened = transformers.AutoTokenizer.from_pretrained(folder)
    text = "a film about [MASK], and unseen words"
    (pieces,) = tokenizer.encode([text])
    end = [] if shape.causal else [tokenizer.sep]  # a text that is to be written on is left open
    assert opened(text)["input_ids"] == [tokenizer.cls, *pieces.ids, *end]
    assert (opened.pad_token_id, opened.mask_token_id) == (tokenizer.pad, tokenizer.mask)
    assert ("token_type_ids" in opened(text)) == (shape.segments > 1)
    assert len(opened(100 * text, truncation=True)["input_ids"]) == shape.max_length  # what the model reads


@pytest.mark.parametrize("family", FAMILIES)
def test_what_transformers_wrote_is_read(family, tmp_path):
    """Whole, without heads, without its prefix, in shards, and of a class whose head is not ours."""
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(**{**write_shape(SHAPES[family], "c"), "pad_token_id": 0})
    names = {
        "bert": ["BertForPreTraining", "BertForMaskedLM", "BertModel", "BertForSequenceClassification"],
        "modernbert": ["ModernBertForMaskedLM", "ModernBertModel", "ModernBertForSequenceClassification"],
        "gpt2": ["GPT2LMHeadModel", "GPT2Model", "GPT2ForTokenClassification"],
        "bart": ["BartForConditionalGeneration", "BartModel"],
        "t5": ["T5ForConditionalGeneration", "T5Model"],
        "t5-v1.1": ["T5ForConditionalGeneration", "T5Model"],
        "electra": ["ElectraForPreTraining", "ElectraForMaskedLM", "ElectraModel", "ElectraForTokenClassification"],
        "albert": ["AlbertForPreTraining", "AlbertForMaskedLM", "AlbertModel", "AlbertForTokenClassification"],
        "xlnet": ["XLNetLMHeadModel", "XLNetModel", "XLNetForTokenClassification"],
        "roberta": ["RobertaForMaskedLM", "RobertaModel", "RobertaForTokenClassification"],
        "distilbert": ["DistilBertForMaskedLM", "DistilBertModel", "DistilBertForTokenClassification"],
        "longformer": ["LongformerForMaskedLM", "LongformerModel", "LongformerForTokenClassification"],
        "mobilebert": [
            "MobileBertForPreTraining",
            "MobileBertForMaskedLM",
            "MobileBertModel",
            "MobileBertForTokenClassification",
        ],
        "deberta": ["DebertaV2ForMaskedLM", "DebertaV2Model", "DebertaV2ForSequenceClassification"],
        "reformer": ["ReformerForMaskedLM", "ReformerModel", "ReformerForSequenceClassification"],
    }[family]
    heads = {
        "ForPreTraining": ["masked_lm", "next_sentence"],
        "ForMaskedLM": ["masked_lm"],
        "ForConditionalGeneration": ["decoder_lm"],
        "XLNetLMHeadModel": ["permutation_lm"],
    }
    if family in ("gpt2", "t5", "t5-v1.1"):
        heads = {"": [*RULES_HEADS[family]]}  # it has no weights of its own
    if family == "albert":
        heads["ForPreTraining"] = ["masked_lm", "sentence_order"]
    if family == "electra":
        heads["ForPreTraining"] = ["replaced_token_detection"]
    for name in names:
        model = getattr(transformers, name)(config)
        model.save_pretrained(tmp_path / name)
        model.save_pretrained(tmp_path / "shards" / name, max_shard_size=10_000)
        found, shards = hub.read(tmp_path / name), hub.read(tmp_path / "shards" / name)
        assert found.heads == next((h for end, h in heads.items() if name.endswith(end)), [])
        assert (tmp_path / "shards" / name / "model.safetensors.index.json").exists()
        assert all(torch.equal(found.tensors[n], shards.tensors[n]) for n in shards.tensors)
        embeddings = model.get_input_embeddings().weight
        assert torch.equal(found.tensors["backbone.embeddings.tokens.weight"], embeddings)
        absent = {head for heads in heads.values() for head in heads if head in RULES_HEADS[family]} - set(found.heads)
        assert {note.split()[1] for note in found.notes if note.startswith("no ")} == absent
        ends = ("classifier.weight", "classifier.dense.weight")
        told = any(end in note for note in found.notes for end in ends)
        assert told == name.endswith("Classification")


@pytest.mark.parametrize(
    "family, name, auto",
    [
        ("roberta", "XLMRobertaForMaskedLM", "AutoModelForMaskedLM"),
        ("roberta", "CamembertForMaskedLM", "AutoModelForMaskedLM"),
        ("t5-v1.1", "MT5ForConditionalGeneration", "AutoModelForSeq2SeqLM"),
    ],
)
def test_what_goes_by_another_name_is_read(family, name, auto, tmp_path, tokenizer):
    """They come back by the family's own name, with the same weights and the same logits."""
    transformers = pytest.importorskip("transformers")
    # since version 5 of transformers every mt5 is tied unless its file holds another matrix
    shape, cls = SHAPES[family].model_copy(update={"tied": True}), getattr(transformers, name)
    config = {**write_shape(shape, "c"), "pad_token_id": tokenizer.pad}
    del config["model_type"]
    model = cls(cls.config_class(**config)).eval()
    model.save_pretrained(tmp_path / "theirs")
    change_config(tmp_path / "theirs", scale_decoder_outputs=None, feed_forward_proj=None)
    found = hub.read(tmp_path / "theirs")
    assert found.shape == shape and found.heads == [*RULES_HEADS[family]] and found.pad == tokenizer.pad
    hub.write(tmp_path / "ours", found.shape, found.tensors, tokenizer)
    again = getattr(transformers, auto).from_pretrained(tmp_path / "ours").eval()
    ids = torch.arange(20)[None] % 30 + 5
    told = {"decoder_input_ids": ids} if shape.decoder_layers else {}
    with torch.no_grad():
        assert torch.equal(again(ids, **told).logits, model(ids, **told).logits)


RULES_HEADS = {
    "bert": {"masked_lm", "next_sentence"},
    "modernbert": {"masked_lm"},
    "gpt2": {"causal_lm"},
    "xlnet": {"permutation_lm"},
    "electra": {"masked_lm", "replaced_token_detection"},
    "albert": {"masked_lm", "sentence_order"},
    "roberta": {"masked_lm"},
    "distilbert": {"masked_lm"},
    "longformer": {"masked_lm"},
    "deberta": {"masked_lm"},
    "mobilebert": {"masked_lm", "next_sentence"},
    "reformer": {"masked_lm"},
}
RULES_HEADS |= {family: {"decoder_lm"} for family in ("bart", "t5", "t5-v1.1")}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("scale", ["none", "output"])
def test_t5s_answers_by_its_own_matrix_or_that_of_the_embeddings(tmp_path, tokenizer, tied, scale):
    """Whether states are scaled is another matter, though transformers before 5 took them for one."""
    transformers = pytest.importorskip("transformers")
    shape = NEWER.model_copy(update={"tied": tied, "embedding_scale": scale})
    tensors = tensors_of(shape)
    assert ("heads.decoder_lm.vocabulary" in tensors) != tied
    hub.write(tmp_path / "out", shape, tensors, tokenizer)
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "out")
    assert theirs.config.scale_decoder_outputs == (scale == "output")
    assert torch.equal(theirs.lm_head.weight, theirs.shared.weight) == tied
    theirs.save_pretrained(tmp_path / "again")
    again = hub.read(tmp_path / "again")
    assert again.shape == shape and again.notes == []
    assert all(torch.equal(again.tensors[name], tensors[name]) for name in tensors)


def test_a_t5_of_a_task_is_read_without_its_task(tmp_path):
    transformers = pytest.importorskip("transformers")
    model = transformers.T5ForSequenceClassification(
        transformers.T5Config(**{**write_shape(T5, "c"), "pad_token_id": 0})
    )
    model.save_pretrained(tmp_path / "theirs")
    found = hub.read(tmp_path / "theirs")
    assert torch.equal(found.tensors["backbone.embeddings.tokens.weight"], model.get_input_embeddings().weight)
    assert any(note.startswith("left out of model.safetensors: classification_head") for note in found.notes)


def test_an_old_t5_that_is_not_tied_may_lack_its_head(tmp_path, tokenizer):
    hub.write(tmp_path / "model", NEWER, tensors_of(NEWER), tokenizer)
    change_tensors(tmp_path / "model", lambda tensors: {n: t for n, t in tensors.items() if n != "lm_head.weight"})
    found = hub.read(tmp_path / "model")
    assert found.heads == [] and found.notes == [f"no decoder_lm head: {tmp_path / 'model'} holds none"]


def test_old_files_of_bart_and_t5_hold_the_vocabulary_several_times(tmp_path, tokenizer):
    copies = {
        "bart": ["lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"],
        "t5": ["lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"],
    }
    extra = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    for family, names in copies.items():
        folder, tensors = tmp_path / family, tensors_of(SHAPES[family])
        hub.write(folder, SHAPES[family], tensors, tokenizer)
        first = next(iter(theirs(family, "backbone.embeddings.tokens.weight")))
        change_tensors(folder, lambda t, names=names, first=first: {**t, **{n: t[first].clone() for n in names}})
        if family == "t5":
            change_tensors(folder, lambda t: {**t, extra: torch.ones(32, 3)})
        found = hub.read(folder)
        assert found.notes == [] and found.shape == SHAPES[family]
        assert all(torch.equal(found.tensors[name], tensors[name]) for name in tensors)
        change_tensors(folder, lambda t, name=names[1]: {**t, name: t[name] + 1})
        refused(folder, f"{names[1]} differs from")


def test_two_rows_of_barts_positions_are_read_by_nothing(tmp_path, tokenizer):
    tensors = tensors_of(BART)
    hub.write(tmp_path / "model", BART, tensors, tokenizer)
    stored = load_file(tmp_path / "model" / "model.safetensors")["model.decoder.embed_positions.weight"]
    assert torch.equal(stored[2:], tensors["backbone.decoder.embeddings.positions.weight"])
    assert len(stored) == BART.max_length + 2 and not stored[:2].any()


@pytest.mark.parametrize("specials", ["[PAD] [UNK] [CLS] [SEP] [MASK]", "<s> <pad> </s> <unk> <mask>"])
def test_robertas_positions_are_counted_behind_the_padding(tmp_path, specials):
    transformers = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text("\n".join([*specials.split(), *"abcdefgh"]) + "\n", encoding="utf-8")
    tokenizer = Tokenizer.load(tmp_path / "vocab.txt")
    tensors = {name: 0.2 * tensor for name, tensor in tensors_of(ROBERTA).items()}
    hub.write(tmp_path / "model", ROBERTA, tensors, tokenizer)
    stored = load_file(tmp_path / "model" / "model.safetensors")["roberta.embeddings.position_embeddings.weight"]
    assert torch.equal(stored[tokenizer.pad + 1 :], tensors["backbone.embeddings.positions.weight"])
    assert len(stored) == ROBERTA.max_length + tokenizer.pad + 1 and not stored[: tokenizer.pad + 1].any()
    found = hub.read(tmp_path / "model")
    assert found.shape == ROBERTA and all(torch.equal(found.tensors[name], tensors[name]) for name in tensors)
    theirs = transformers.AutoModel.from_pretrained(tmp_path / "model")
    network = Network(backbone_of(ROBERTA), {"masked_lm": hub.heads_of(ROBERTA)["masked_lm"]()}).eval()
    network.fill(tensors)
    longest = torch.arange(ROBERTA.max_length) % 8 + 5
    batch = collate(Example({"encoder": Stream(longest.numpy(), np.array([len(longest)]))}))
    with torch.inference_mode():
        ours, reference = network.states(batch), theirs(longest[None]).last_hidden_state[0]
    assert (ours - reference).abs().max() < 1e-5 * reference.abs().max()


@pytest.mark.parametrize("part", [{"attention_dropout": 0.7}, {"embedding_scale": "input"}, {"positions": "learned"}])
def test_a_t5_they_do_not_have_is_not_written(tmp_path, tokenizer, part):
    shape = T5.model_copy(update=part)
    with pytest.raises(UserError, match=f"model.{next(iter(part))}"):
        hub.write(tmp_path / "out", shape, tensors_of(shape), tokenizer)


@pytest.mark.parametrize(
    "part, told",
    [({"window": 2}, "cannot run a window of 2; 4 would fit"), ({"window": 7}, "window of 7; 6 is the same")],
)
def test_windows_they_cannot_run_are_not_written(tmp_path, tokenizer, part, told):
    shape = LONGFORMER.model_copy(update=part)
    with pytest.raises(UserError, match=told):
        hub.write(tmp_path / "out", shape, tensors_of(shape), tokenizer)


@pytest.mark.parametrize("legacy", [True, False])
def test_debertas_masked_lm_goes_by_two_names(tmp_path, tokenizer, legacy):
    """The release's files say nothing of ``legacy``, so that transformers takes their head for missing."""
    transformers = pytest.importorskip("transformers")
    config = transformers.DebertaV2Config(**{**write_shape(DEBERTA, "c"), "legacy": legacy})
    torch.manual_seed(0)
    model = transformers.DebertaV2ForMaskedLM(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path / "theirs")
    change_config(tmp_path / "theirs", legacy=None, pos_att_type=["c2p", "p2c"], max_relative_positions=32)
    found = hub.read(tmp_path / "theirs")
    assert found.heads == ["masked_lm"] and found.notes == [] and found.shape == DEBERTA
    network = Network(backbone_of(found.shape), {"masked_lm": hub.heads_of(found.shape)["masked_lm"]()})
    network.fill(found.tensors)
    ids = torch.arange(30) + 3
    stream = collate(Example({"encoder": Stream(ids.numpy(), np.array([30]))})).streams["encoder"]
    with torch.no_grad():
        logits, reference = network.eval().heads["masked_lm"](network.backbone(stream)), model(ids[None]).logits[0]
    assert (logits - reference).abs().max() < 1e-5 * reference.abs().max()
    hub.write(tmp_path / "ours", found.shape, found.tensors, tokenizer)
    again = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "ours").eval()
    with torch.no_grad():
        assert torch.equal(again(ids[None]).logits[0], reference)
    stored = load_file(tmp_path / "ours" / "model.safetensors")
    back = load_file(tmp_path / "theirs" / "model.safetensors")
    same = {name: tensor for name, tensor in stored.items() if name.startswith("deberta.")}
    assert set(same) == {name for name in back if name.startswith("deberta.")}
    assert all(torch.equal(back[name], tensor) for name, tensor in same.items())


def test_what_debertas_release_holds_besides_is_said(tmp_path, tokenizer):
    """The decoder's places and the detector of replaced tokens have no class in transformers."""
    hub.write(tmp_path / "model", DEBERTA, tensors := tensors_of(DEBERTA), tokenizer)
    more = {"deberta.embeddings.position_embeddings.weight": torch.ones(32, 24),
            "mask_predictions.dense.weight": torch.ones(24, 24),
            "lm_predictions.lm_head.bias": torch.ones(64)}  # fmt: skip
    change_tensors(tmp_path / "model", lambda stored: {**stored, **more})
    found = hub.read(tmp_path / "model")
    assert found.notes == [f"left out of model.safetensors: {', '.join(sorted(more))}"]
    assert all(torch.equal(found.tensors[name], tensors[name]) for name in tensors)


def test_a_tensor_by_an_old_name_and_by_todays_is_refused(bert):
    """One of them would be passed over in silence."""
    name = "bert.embeddings.LayerNorm.weight"
    change_tensors(bert, lambda tensors: tensors | {name.replace("weight", "gamma"): 2 * tensors[name]})
    with pytest.raises(UserError, match=f"holds .*{name}.*, two names of one tensor"):
        hub.read(bert)


def test_old_names_are_understood(bert):
    """Gamma and beta, buffers, and a vocabulary matrix stored a second time."""

    def old(tensors):
        renamed = {
            n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
            for n, t in tensors.items()
        }
        renamed["bert.embeddings.position_ids"] = torch.arange(32)[None]
        renamed["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
        renamed["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].clone()
        return renamed

    before = hub.read(bert)
    change_tensors(bert, old)
    after = hub.read(bert)
    assert after.notes == [] and after.heads == before.heads
    assert all(torch.equal(after.tensors[name], before.tensors[name]) for name in before.tensors)


@pytest.mark.parametrize("some", ["", "query"])  # three tensors there are one of ours
def test_half_precision_is_read_as_float32_and_said(bert, some):
    change_tensors(bert, lambda tensors: {n: t.bfloat16() if some in n else t for n, t in tensors.items()})
    found = hub.read(bert)
    assert found.notes == ["stored as bfloat16, read as float32"]
    assert {t.dtype for t in found.tensors.values()} == {torch.float32}


LABELS = ("bad", "fine", "good")
POOLS = {"classify": None, "mean": "mean", "last": "last"}
LIKE_BERT = ("bert", "electra", "albert", "roberta", "distilbert", "longformer")
TASKS = {kind: Classify(labels=LABELS, pool=pool) for kind, pool in POOLS.items()} | {"tag": Tag(labels=LABELS)}


@pytest.mark.parametrize(
    "family, kind",
    [*itertools.product((*LIKE_BERT, "modernbert", "xlnet", "deberta", "mobilebert"), ("classify", "tag")),
     ("modernbert", "mean"), ("gpt2", "last"), ("gpt2", "tag"), ("reformer", "classify")],
)  # fmt: skip
def test_a_task_s_head_says_there_what_it_says_here(tmp_path, tokenizer, family, kind):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    shape, task = SHAPES[family], TASKS[kind]
    network = Network(backbone_of(shape), task.heads(shape)).eval()
    for parameter in network.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    notes = hub.write(tmp_path / "out", shape, dict(network.named_parameters()), tokenizer, task)
    cls = f"AutoModelFor{task.architecture}"
    theirs, info = getattr(transformers, cls).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert theirs.config.id2label == dict(enumerate(LABELS))
    poolerless = family in ("roberta", "longformer") or (kind == "tag" and family in ("bert", "albert", "mobilebert"))
    assert any(note.startswith("no pooler") for note in notes) == poolerless
    read = {"tag": np.arange(20), "last": np.array([19])}
    ids, index = torch.arange(2, 22), read.get(kind, np.array([0]))
    stream = Stream(ids.numpy(), np.array([20]))
    batch = collate(Example({"encoder": stream}, {"task": Targets(index, np.zeros(len(index), np.int64))}))
    with torch.inference_mode():
        told = FAMILIES[family].call(shape, ids[None])
        ours, logits = task.logits(network, batch), theirs(ids[None], **told).logits.squeeze(0)
    assert (ours - logits).abs().max() < 1e-5 * logits.abs().max()
    assert logits.std() > 0.1


@pytest.mark.parametrize(
    "family, pool", [("modernbert", "max"), ("bert", "mean"), ("bert", "attention"), ("xlnet", "mean")]
)
def test_a_task_s_head_that_they_do_not_have_is_refused(tmp_path, tokenizer, family, pool):
    shape, task = SHAPES[family], Classify(labels=LABELS, pool=pool)
    tensors = dict(Network(backbone_of(shape), task.heads(shape)).named_parameters())
    with pytest.raises(UserError, match=f"Hugging Face's {family} classifies from pool .*, not {pool}"):
        hub.write(tmp_path / "out", shape, tensors, tokenizer, task)
    assert list(tmp_path.iterdir()) == []


def test_a_task_for_which_they_have_no_class_is_refused(tmp_path, tokenizer):
    tensors = dict(Network(backbone_of(REFORMER), TASKS["tag"].heads(REFORMER)).named_parameters())
    with pytest.raises(UserError, match="Hugging Face's reformer has no class for TokenClassification"):
        hub.write(tmp_path / "out", REFORMER, tensors, tokenizer, TASKS["tag"])


def test_a_reformer_that_writes_has_its_head_by_the_same_name(tmp_path, tokenizer):
    transformers = pytest.importorskip("transformers")
    shape = REFORMER.model_copy(update={"causal": True, "positions": "learned",
                                        "reformer": ReformerParts(local_chunk=4, lsh_chunk=8)})  # fmt: skip
    hub.write(tmp_path / "out", shape, tensors := tensors_of(shape), tokenizer)
    model, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert type(model) is transformers.ReformerModelWithLMHead and not info["missing_keys"]
    assert torch.equal(model.lm_head.decoder.weight, tensors["heads.causal_lm.vocabulary"])
    found = hub.read(tmp_path / "out")
    assert found.shape == shape and found.heads == ["causal_lm"] and found.notes == []


def test_a_bias_that_reformers_no_longer_add_is_left_out_and_said(tmp_path, tokenizer):
    hub.write(tmp_path / "out", REFORMER, tensors_of(REFORMER), tokenizer)
    change_tensors(tmp_path / "out", lambda found: {**found, "lm_head.bias": torch.ones(64)})
    assert hub.read(tmp_path / "out").notes == ["left out of model.safetensors: lm_head.bias"]


def test_a_head_without_a_place_there_is_said_and_not_written(tmp_path, tokenizer):
    tensors = tensors_of(BERT, ["masked_lm"])
    tensors |= {"heads.sentence_order.pooler.weight": torch.zeros(24, 24)}
    notes = hub.write(tmp_path / "out", BERT, tensors, tokenizer)
    assert "not carried: the sentence_order head, for which Hugging Face's bert has no place" in notes
    assert any(note.startswith("no pooler") for note in notes)
    assert hub.read(tmp_path / "out").heads == ["masked_lm"]


def test_only_an_empty_folder_is_written_to(tmp_path, tokenizer):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="not empty"):
        hub.write(tmp_path / "out", BERT, tensors_of(BERT), tokenizer)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


# what is missing

DENSE = "cls.predictions.transform.dense.weight"


def without(folder, *beginnings):
    change_tensors(folder, lambda tensors: {n: t for n, t in tensors.items() if not n.startswith(beginnings)})


def test_a_head_that_is_there_in_part_is_left_out_where_that_is_allowed(bert):
    without(bert, DENSE)
    refused(bert, DENSE, "missing")
    for allowed in ([], ["next_sentence"]):
        with pytest.raises(UserError, match=f"of the masked_lm head {DENSE} is missing; --allow-missing masked_lm"):
            hub.read(bert, allowed)
    found = hub.read(bert, ["masked_lm"])
    assert found.heads == ["next_sentence"] and not any(name.startswith("heads.masked_lm") for name in found.tensors)
    assert f"left out: the masked_lm head, of which {DENSE} is missing" in found.notes
    assert found.fates[DENSE] == "missing" and found.fates["cls.predictions.bias"] == "unused"


def test_a_head_that_the_folder_says_it_has_must_be_there(bert):
    """Named by its class; what only reads the model goes on, and says so."""
    without(bert, "cls.predictions.")
    assert "no masked_lm head" in hub.read(bert).notes[0]
    with pytest.raises(UserError, match=r"of the masked_lm head cls.predictions.bias, .* is missing; --allow"):
        hub.read(bert, [])
    assert hub.read(bert, ["masked_lm"]).heads == ["next_sentence"]
    for classes in (["BertForNextSentencePrediction"], 5):
        change_config(bert, architectures=classes)
        assert hub.read(bert, []).heads == ["next_sentence"]


def test_what_is_missing_of_the_model_itself_is_never_allowed(bert):
    without(bert, QUERY)
    with pytest.raises(UserError, match=f"{QUERY} is missing"):
        hub.read(bert, ["masked_lm", "next_sentence"])
    with pytest.raises(UserError, match="--allow-missing backbone: bert has no such head; masked_lm, next"):
        hub.read(bert, ["backbone"])


def test_every_tensor_has_a_fate(bert):
    again = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    others = {"bert.embeddings.position_ids", "classifier.weight"}

    def more(tensors):
        vocabulary, bias = tensors["bert.embeddings.word_embeddings.weight"], tensors["cls.predictions.bias"]
        copies = dict(zip(sorted(again), (bias.clone(), vocabulary.clone()), strict=True))
        return {**tensors, **copies, **{name: torch.zeros(1) for name in others}}

    mapped = set(load_file(bert / "model.safetensors"))
    change_tensors(bert, more)
    wanted = dict.fromkeys(mapped, "mapped") | dict.fromkeys(again, "tied") | dict.fromkeys(others, "unused")
    assert hub.read(bert).fates == wanted


# what strangers send


def test_a_pickle_dressed_as_safetensors_is_not_opened(bert, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    for protocol in range(6):
        (bert / "model.safetensors").write_bytes(pickle.dumps(Bomb(), protocol))
        refused(bert, "model.safetensors")
    torch.save({"x": Bomb()}, bert / "model.safetensors")
    refused(bert, "model.safetensors", "a pickle")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580])
def test_a_header_whose_length_begins_as_a_pickle_does_is_none(tmp_path, length):
    path = tmp_path / "model.safetensors"
    for n in range(length):
        save_file({"x": torch.ones(2)}, path, {"note": "a" * n})
        if path.read_bytes()[:2] == length.to_bytes(2, "little"):
            assert weights.read(path)["x"].tolist() == [1, 1]
            return
    raise AssertionError("no header was that long")


def test_a_pickle_alone_is_not_opened(bert):
    (bert / "model.safetensors").rename(bert / "pytorch_model.bin")
    refused(bert, "pytorch_model.bin", "pickle", "unmask convert")


def pickled(folder, tensors, shards=1):
    """The same folder with its weights as old files have them."""
    (folder / "model.safetensors").unlink(missing_ok=True)
    names = [f"pytorch_model-{n}.bin" for n in range(shards)] if shards > 1 else ["pytorch_model.bin"]
    for n, name in enumerate(names):
        torch.save(dict(list(tensors.items())[n::shards]), folder / name)
    if shards > 1:
        places = {tensor: names[n % shards] for n, tensor in enumerate(tensors)}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))


@pytest.mark.parametrize("shards", [1, 3])
def test_of_a_pickle_numbers_alone_are_read_where_that_is_asked_for(bert, shards):
    before = hub.read(bert)
    pickled(bert, load_file(bert / "model.safetensors"), shards)
    refused(bert, "pytorch_model.bin", "pickle")
    found = hub.read(bert, pickled=True)
    assert found.heads == before.heads and found.notes == []
    assert all(torch.equal(found.tensors[name], before.tensors[name]) for name in before.tensors)


def test_a_pickle_that_holds_anything_else_is_refused(bert, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    tensors = load_file(bert / "model.safetensors")
    name = next(iter(tensors))
    wide = torch.zeros(1).expand(tensors[name].shape)
    for spoilt in (
        {**tensors, name: Bomb()}, {**tensors, name: 3}, {**tensors, name: wide}, {**tensors, 3: wide},
        {"state_dict": tensors}, list(tensors.values()), {**tensors, name: torch.zeros(24, 24).to_sparse()},
    ):  # fmt: skip
        pickled(bert, {})
        torch.save(spoilt, bert / "pytorch_model.bin")
        with pytest.raises(UserError, match=r"_model.bin: (holds more than weights|must hold tensors)") as caught:
            hub.read(bert, pickled=True)
        assert "\n" not in str(caught.value)
    for content in (b"", b"PK\x03\x04", pickle.dumps(Bomb()), b"\x80\x04."):
        (bert / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(UserError, match="holds more than weights, or is damaged; not opened"):
            hub.read(bert, pickled=True)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("keep", [0, 7, 100, -1, -500])
def test_a_truncated_file_is_refused(bert, keep):
    path = bert / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    refused(bert, "model.safetensors")


@pytest.mark.parametrize("name", ["\ud800", "a" * 5000, "b\0"])
def test_names_that_no_file_has_are_refused(bert, name):
    index = {"weight_map": {"bert.embeddings.LayerNorm.weight": name}}
    (bert / "model.safetensors").unlink()
    (bert / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="is no name of a file") as refusal:
        hub.read(bert)
    assert len(str(refusal.value)) < 400


def test_what_a_file_says_is_repeated_on_one_short_line(bert):
    change_config(bert, hidden_act="x" * 5000 + "\x1b[31m\n")
    with pytest.raises(UserError) as refusal:
        hub.read(bert)
    told = str(refusal.value)
    assert "hidden_act" in told and len(told) < 800 and told.isprintable()


def test_a_header_that_lies_is_refused(bert):
    path = bert / "model.safetensors"
    for length in (2**63, 10**12):
        path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
        refused(bert, "model.safetensors")
    header = json.dumps({"x": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    refused(bert, "model.safetensors")


QUERY = "bert.encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.pop(QUERY) is None or t, [QUERY, "missing"]),
        (lambda t: {**t, QUERY: torch.zeros(24, 25)}, [QUERY, "[24, 25] instead of [24, 24]"]),
        (lambda t: {**t, QUERY: torch.zeros(24, 24, dtype=torch.int64)}, [QUERY, "int64 instead of floats"]),
        (
            lambda t: {**t, "bert.encoder.layer.2.output.dense.bias": torch.zeros(24)},
            ["layer.2", "not part of"],
        ),
        (lambda t: {**t, "bert.../../../etc/x": torch.zeros(1)}, ["not part of"]),
        (
            lambda t: t.pop("cls.predictions.transform.dense.weight") is None or t,
            ["transform.dense.weight", "missing"],
        ),
        (lambda t: {**t, "cls.predictions.decoder.weight": torch.zeros(64, 24)}, ["decoder.weight differs"]),
        (lambda t: {"x": torch.zeros(1)}, ["too few tensors"]),
        (lambda t: {}, ["too few tensors"]),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(bert, change, words):
    change_tensors(bert, change)
    refused(bert, "model.safetensors", *words)


def test_links_and_names_that_leave_the_folder_are_refused(bert, tmp_path):
    path = bert / "model.safetensors"
    shutil.copy(path, tmp_path / "outside.safetensors")
    path.unlink()
    path.symlink_to(tmp_path / "outside.safetensors")
    refused(bert, "outside the folder")
    path.unlink()
    for name in ("../outside.safetensors", str(tmp_path / "outside.safetensors"), "a/b.safetensors", ".."):
        places = dict.fromkeys(load_file(tmp_path / "outside.safetensors"), name)
        (bert / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
        refused(bert, "outside the folder")


def test_the_download_cache_of_hugging_face_is_inside(bert, tmp_path):
    home = tmp_path / "models--a--b"
    (home / "blobs").mkdir(parents=True)
    (home / "snapshots").mkdir()
    shutil.move(bert / "model.safetensors", home / "blobs" / "0123")
    (bert / "model.safetensors").symlink_to("../../blobs/0123")
    shutil.move(bert, home / "snapshots" / "rev")
    assert hub.read(home / "snapshots" / "rev").heads == ["masked_lm", "next_sentence"]


@pytest.mark.parametrize(
    "index, word",
    [
        ({}, "weight_map"),
        ({"weight_map": ["x"]}, "weight_map"),
        ({"weight_map": {"x": 3}}, "weight_map"),
        ({"weight_map": {"x": "absent.safetensors"}}, "absent.safetensors"),
        ({"weight_map": {"x": "shard.safetensors"}}, "x is not in shard.safetensors"),
    ],
)
def test_an_index_that_lies_is_refused(bert, index, word):
    (bert / "model.safetensors").rename(bert / "shard.safetensors")
    (bert / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(bert, word)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_configuration_that_is_none_is_refused(bert, content):
    (bert / "config.json").write_bytes(content)
    refused(bert, "config.json")


def test_json_is_bounded(tmp_path):
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(weights.MOST_JSON + 1)
    with pytest.raises(UserError, match="larger than"):
        weights.read_json(tmp_path / "config.json")


# writing


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    weights.write(path, {"x": torch.ones(3)})

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        weights.write(path, {"x": torch.zeros(3)})
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    assert weights.read(path)["x"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("left", ["file", "folder", "link"])
def test_what_a_killed_process_left_beside_weights_is_in_nobodys_way(tmp_path, left):
    beside, elsewhere = tmp_path / ".model.safetensors.partial", tmp_path / "mine"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    {"file": beside.touch, "folder": beside.mkdir, "link": lambda: beside.symlink_to(elsewhere)}[left]()
    weights.write(tmp_path / "model.safetensors", {"a": torch.ones(2)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "model.safetensors"]
    assert (elsewhere / "kept").exists()


@pytest.mark.parametrize("there", ["pipe", "folder", "link to a pipe"])
def test_what_is_no_file_is_not_replaced_by_weights(tmp_path, there):
    path, pipe = tmp_path / "model.safetensors", tmp_path / "pipe"
    os.mkfifo(pipe)
    {"pipe": lambda: pipe.rename(path), "folder": path.mkdir, "link to a pipe": lambda: path.symlink_to(pipe)}[there]()
    before = {each: each.lstat().st_ino for each in tmp_path.iterdir()}
    with pytest.raises(UserError, match="is there and is no file; name another"):
        weights.write(path, {"a": torch.ones(2)})
    assert {each: each.lstat().st_ino for each in tmp_path.iterdir()} == before


def test_a_full_disk_leaves_no_half_folder(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match="No space left"):
        hub.write(tmp_path / "out", BERT, tensors_of(BERT), tokenizer)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("architecture", "tokens"),
    [("ForMaskedLM", "none"), ("Model", "none"), ("ForTokenClassification", "none"),
     ("ForSequenceClassification", "first"), ("ForQuestionAnswering", "question")],
)  # fmt: skip
def test_a_longformers_global_tokens_are_those_its_class_takes_untold(architecture, tokens):
    config = {**write_shape(LONGFORMER, "c"), "architectures": [f"Longformer{architecture}"]}
    assert read_shape(config, "c") == LONGFORMER
    del config["global_tokens"]
    assert read_shape(config, "c") == LONGFORMER.model_copy(update={"global_tokens": tokens})


def test_a_longformers_global_tokens_are_told_with_each_call(tmp_path, tokenizer):
    for tokens, said in (("first", True), ("none", False)):
        shape = LONGFORMER.model_copy(update={"global_tokens": tokens})
        notes = hub.write(tmp_path / tokens, shape, tensors_of(shape), tokenizer)
        assert any("global_attention_mask with each call" in note for note in notes) == said


@pytest.mark.parametrize(
    ("part", "word"),
    [({"window": 7}, "no window of 7"), ({"global_every": 2}, "sees all"), ({"segments": 0}, "segments 0")],
)
def test_a_longformer_they_do_not_have_is_not_written(tmp_path, tokenizer, part, word):
    shape = LONGFORMER.model_copy(update=part)
    with pytest.raises(UserError, match=word):
        hub.write(tmp_path / "out", shape, tensors_of(shape), tokenizer)
