"""Models to use, from Hugging Face folders and from runs: states without padding, masks filled, converted both ways."""

import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from unmask import hub
from unmask.commands.convert import Convert
from unmask.commands.fill import Fill
from unmask.errors import UserError
from unmask.inference.loading import load
from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.nn.heads import MaskedLMHead, SequenceRelationHead
from unmask.nn.network import Network
from unmask.text.sampling.batches import by_length
from unmask.text.tokens.tokenizer import Tokenizer
from unmask.training.checkpoint import Checkpoints, State

TEXT = "paris is the capital of france and berlin that of germany"
SIZE = 80


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train([TEXT], "wordpiece", SIZE)


def shape_of(family, **changes):
    if family == "bert":
        shape = Shape(vocab_size=SIZE, width=24, layers=2, heads=3, feed_forward=40, max_length=32)
    else:
        shape = Shape(
            family="modernbert", vocab_size=SIZE, width=24, layers=4, heads=3, feed_forward=40, max_length=32,
            positions="rotary", norm="before", norm_eps=1e-5, bias=False, gated=True, segments=0, window=8,
            global_every=3,
        )  # fmt: skip
    return shape.model_copy(update=changes)


def network_of(shape, names=("masked_lm",)):
    torch.manual_seed(0)
    makers = {
        "masked_lm": MaskedLMHead,
        "next_sentence": SequenceRelationHead,
        "sentence_order": SequenceRelationHead,
    }
    network = Network(Encoder(shape), {name: makers[name](shape) for name in names})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return network


def write_run(folder, shape, tokenizer, objective=("masked_lm",), steps=(3,), scores=(None,)):
    """As pre-training leaves one. A later checkpoint has other weights."""
    network = network_of(shape, objective)
    for step, score in zip(steps, scores, strict=True):
        with torch.no_grad():
            network.backbone.embeddings.tokens.weight[0, 0] = step
        Checkpoints(folder).save(State(step, 9, score=score), dict(network.named_parameters()), {})
    tokenizer.save(folder)
    config = {"model": shape.model_dump(), "objective": {name: {} for name in objective}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return network


@pytest.fixture(params=["bert", "modernbert"])
def folder(request, tmp_path, tokenizer):
    shape = shape_of(request.param)
    hub.write(tmp_path / "model", shape, dict(network_of(shape).named_parameters()), tokenizer)
    return tmp_path / "model"


@pytest.fixture
def model(folder):
    return load(folder, device="cpu")


# states


def test_states_of_each_sequence_alone(model):
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, SIZE, length).tolist() for length in (3, 31, 1, 12, 3)]
    for layer in (0, 1, -1):
        together = model.hidden(texts, layer)
        assert [states.shape for states in together] == [(len(text), 24) for text in texts]
        assert {states.dtype for states in together} == {np.dtype("float32")}
        for text, states in zip(texts, together, strict=True):
            np.testing.assert_allclose(states, model.hidden([text], layer)[0], atol=3e-6)
    assert not np.allclose(together[0][:1], together[2])


def test_packing_into_many_batches_changes_nothing(model, monkeypatch):
    texts = [[n % SIZE] * (1 + n % 30) for n in range(50)]
    before = model.hidden(texts)
    monkeypatch.setattr("unmask.inference.model.TOKENS_AT_ONCE", 40)
    for one, other in zip(before, model.hidden(texts), strict=True):
        np.testing.assert_allclose(one, other, atol=3e-6)


def test_states_are_those_of_transformers(folder, model):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModel.from_pretrained(folder)
    ids = transformers.AutoTokenizer.from_pretrained(folder)(TEXT, return_tensors="pt")
    with torch.inference_mode():
        states = theirs(**ids, output_hidden_states=True).hidden_states
    for layer, reference in enumerate(states):
        np.testing.assert_allclose(model.hidden([TEXT], layer)[0], reference[0].numpy(), atol=1e-5)


def test_layers_count_from_both_ends(model):
    layers = model.shape.layers
    for layer in range(layers + 1):
        one, other = (model.hidden([[5, 6, 7]], n)[0] for n in (layer, layer - layers - 1))
        assert np.array_equal(one, other)


def test_no_texts_no_states(model):
    assert model.hidden([]) == []


@pytest.mark.parametrize(
    "texts, layer, words",
    [
        ([[5], []], -1, ["sequence 1", "one or more token ids"]),
        ([[5] * 33], -1, ["sequence 0", "33 tokens", "up to 32"]),
        ([[5], [6, SIZE]], -1, ["sequence 1", f"{SIZE} is no token", f"0 to {SIZE - 1}"]),
        ([[-1]], -1, ["-1 is no token"]),
        ([[0.5]], -1, ["token ids"]),
        ([[[5]]], -1, ["token ids"]),
        ([TEXT * 9], -1, ["sequence 0", "tokens"]),
        (TEXT, -1, ["a list, each a text"]),
        ([[5]], 9, ["layer 9", "0 (the embeddings)"]),
        ([[5]], -9, ["layer -9"]),
    ],
)
def test_what_cannot_be_read_is_refused(model, texts, layer, words):
    with pytest.raises(UserError) as caught:
        model.hidden(texts, layer)
    assert all(word in str(caught.value) for word in words) and "\n" not in str(caught.value)


def test_groups_hold_every_sequence_once_within_the_budget():
    lengths = np.random.default_rng(0).integers(1, 60, 200).tolist()
    groups = list(by_length(lengths, 100))
    assert sorted(n for group in groups for n in group) == list(range(200))
    assert all(sum(lengths[n] for n in group) <= 100 for group in groups)
    flat = [lengths[n] for group in groups for n in group]
    assert flat == sorted(flat, reverse=True)
    assert list(by_length([500, 3], 100)) == [[0], [1]]  # one that is longer than the budget goes alone


def test_bfloat16_is_near_and_comes_as_float32(folder, model):
    rough = load(folder, device="cpu", precision="bfloat16")
    (one,), (other,) = model.hidden([TEXT]), rough.hidden([TEXT])
    assert other.dtype == np.float32
    assert not np.array_equal(one, other)
    assert np.abs(one - other).max() < 0.1 * np.abs(one).max()


def test_weights_lie_where_torch_would_have_put_them(model):
    """As in a file they may lie anywhere, and a product of one row is rounded by that."""
    assert not any(weight.data_ptr() % 64 for weight in model.network.parameters())


# masks


def test_masks_are_filled_as_transformers_does(folder, model):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    text = "paris is [MASK] capital of [MASK]"
    ids = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        chances = theirs(ids).logits[0][ids[0] == model.tokenizer.mask, : model.tokenizer.size].softmax(-1)
    found = model.fill(text, k=3)
    assert [len(mask) for mask in found] == [3, 3]
    for mask, reference in zip(found, chances, strict=True):
        best = reference.topk(3)
        assert [token for token, _ in mask] == model.tokenizer.tokens(best.indices)
        np.testing.assert_allclose([chance for _, chance in mask], best.values, atol=1e-5)


def test_all_probabilities_sum_to_one(model):
    (mask,) = model.fill("[MASK]", k=10_000)
    assert len(mask) == model.tokenizer.size
    assert sum(chance for _, chance in mask) == pytest.approx(1, abs=1e-5)


def test_a_text_without_a_mask_is_refused(model):
    with pytest.raises(UserError, match=r"write \[MASK\] where"):
        model.fill("paris is the capital")


def test_without_a_head_no_mask_is_filled(tmp_path, tokenizer):
    shape = shape_of("bert")
    hub.write(tmp_path / "bare", shape, dict(network_of(shape, ()).named_parameters()), tokenizer)
    model = load(tmp_path / "bare")
    assert model.heads == [] and any(note.startswith("no masked_lm head") for note in model.notes)
    with pytest.raises(UserError, match="no head that fills masks"):
        model.fill("[MASK]")


def test_the_command_shows_and_returns(folder, model, capsys):
    text = "paris [MASK] of [bold]france"
    found = Fill(model=str(folder), texts=[text, "[MASK]"], k=2, device="cpu").run()
    assert found == [model.fill(text, 2), model.fill("[MASK]", 2)]
    shown = capsys.readouterr().out
    assert all(word in shown for word in (text, found[0][0][0][0], found[1][0][1][0], f"{found[0][0][0][1]:.3f}"))


# runs


def test_a_run_is_loaded_whole(tmp_path, tokenizer):
    network = write_run(tmp_path / "run", shape_of("bert"), tokenizer, ("masked_lm", "next_sentence"))
    model = load(tmp_path / "run")
    assert model.heads == ["masked_lm", "next_sentence"] and model.shape == shape_of("bert")
    assert model.network.heads["masked_lm"].vocabulary is model.encoder.embeddings.tokens.weight
    stored = dict(model.network.named_parameters())
    assert all(torch.equal(stored[name], p) for name, p in network.named_parameters())
    assert not model.network.training


@pytest.mark.parametrize("scores, step", [((None, None), 7), ((2.0, 3.0), 3), ((3.0, 2.0), 7)])
def test_the_best_checkpoint_is_taken(tmp_path, tokenizer, scores, step):
    write_run(tmp_path / "run", shape_of("bert"), tokenizer, steps=(3, 7), scores=scores)
    model = load(tmp_path / "run")
    assert model.source == tmp_path / "run" / "checkpoints" / f"step-{step}" / "model.safetensors"
    assert model.encoder.embeddings.tokens.weight[0, 0] == step


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda run: run.joinpath("config.yaml").write_text("model: {}"), ["config.yaml", "model and objective"]),
        (lambda run: run.joinpath("config.yaml").write_text("[1]"), ["config.yaml", "settings"]),
        (lambda run: run.joinpath("config.yaml").write_text("a: [", "utf-8"), ["config.yaml", "cannot be read"]),
        (lambda run: run.joinpath("config.yaml").write_text("!!python/object/apply:os.getcwd []"), ["config.yaml"]),
        (lambda run: change_yaml(run, model={"widht": 3}), ["config.yaml", "widht"]),
        (lambda run: change_yaml(run, objective={"dream": {}}), ["config.yaml", "dream", "masked_lm"]),
        (lambda run: change_yaml(run, objective={"masked_lm": {}, "next_sentence": {}}), ["next_sentence", "missing"]),
        (lambda run: change_yaml(run, model=shape_of("bert", layers=3).model_dump()), ["blocks.2", "missing"]),
        (lambda run: change_yaml(run, model=shape_of("bert", vocab_size=70).model_dump()), ["[80, 24]", "[70, 24]"]),
        (lambda run: (run / "checkpoints/step-3").rename(run / "checkpoints/other"), ["no checkpoint yet"]),
        (lambda run: (run / "checkpoints/step-3/model.safetensors").write_bytes(b"\x80\x04."), ["a pickle"]),
        (lambda run: (run / "tokenizer.json").unlink(), ["run"]),
    ],
)  # fmt: skip
def test_a_spoiled_run_is_refused(tmp_path, tokenizer, spoil, words):
    write_run(tmp_path / "run", shape_of("bert"), tokenizer)
    spoil(tmp_path / "run")
    with pytest.raises(UserError) as caught:
        load(tmp_path / "run")
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def change_yaml(run, **settings):
    path = run / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **settings}))


def test_another_padding_in_the_settings_is_said(folder):
    """Its own tokenizer's is taken, and written."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    before = load(folder).notes
    path.write_text(json.dumps({**config, "pad_token_id": 3}))
    assert load(folder).notes == [*before, "its tokenizer pads with token 0, as is done here; its config.json says 3"]


def test_a_tokenizer_of_another_model_is_refused(folder):
    Tokenizer.train(["many other words make a larger vocabulary " + TEXT], "wordpiece", 200).save(folder)
    with pytest.raises(UserError, match=f"its model {SIZE}; give it its own"):
        load(folder)


@pytest.mark.parametrize("name, word", [("absent", "does not exist"), (".", "holds no model")])
def test_a_place_without_a_model_is_refused(tmp_path, name, word):
    with pytest.raises(UserError, match=word):
        load(tmp_path / name)


def test_an_unknown_device_is_refused(folder):
    with pytest.raises(UserError, match="device"):
        load(folder, device="abacus")


def test_a_fetched_model_is_a_local_one(folder, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    asked = []

    def fetch(name, allow_patterns):
        asked.append(name)
        assert not any(pattern.endswith((".bin", ".py", "*")) for pattern in allow_patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert load("hf:owner/name").heads == ["masked_lm"] and asked == ["owner/name"]

    def offline(name, allow_patterns):
        raise OSError("no route\nto anywhere")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(UserError, match=r"hf:owner/name: could not be fetched \(no route\)"):
        load("hf:owner/name")


# conversion


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_there_and_back_nothing_changes(tmp_path, tokenizer, family, monkeypatch):
    monkeypatch.setattr("unmask.commands.convert.find_spec", lambda name: None)
    heads = ("masked_lm", "next_sentence") if family == "bert" else ("masked_lm",)
    network = write_run(tmp_path / "run", shape_of(family), tokenizer, heads)
    notes = Convert(src=str(tmp_path / "run"), to="hf", out=tmp_path / "hf").run()
    assert "not installed" in notes[-1]
    Convert(src=str(tmp_path / "hf"), to="unmask", out=tmp_path / "back").run()
    back = load(tmp_path / "back")
    assert back.shape == shape_of(family) and back.tokenizer.hash == tokenizer.hash
    stored = dict(back.network.named_parameters())
    assert all(torch.equal(stored[name], p) for name, p in network.named_parameters())


def test_an_export_is_opened_with_transformers(tmp_path, tokenizer):
    pytest.importorskip("transformers")
    write_run(tmp_path / "run", shape_of("modernbert"), tokenizer, ("masked_lm", "sentence_order"))
    notes = Convert(src=str(tmp_path / "run"), to="hf", out=tmp_path / "hf").run()
    assert any(note.startswith("not carried: the sentence_order head") for note in notes)
    assert "opened again and run: states, masked_lm are equal bit for bit" in notes
    assert notes[-1].startswith("opened with transformers")


@pytest.mark.parametrize("to", ["hf", "unmask"])
def test_an_export_that_differs_is_not_kept(folder, tmp_path, monkeypatch, to):
    """The check would find a wrong weight: here one is changed on its way to the file."""
    from unmask.training import tensors

    save = tensors.save_file

    def spoiled(tensors, *args, **kwargs):
        if not tensors:
            return save(tensors, *args, **kwargs)
        name = max(tensors, key=lambda name: (name.endswith("norm.weight"), name))
        return save({**tensors, name: tensors[name] + 1e-3}, *args, **kwargs)

    monkeypatch.setattr(tensors, "save_file", spoiled)
    with pytest.raises(RuntimeError, match="are not those of"):
        Convert(src=str(folder), to=to, out=tmp_path / "out").run()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["hf", "unmask"])
def test_a_folder_in_use_is_left_alone(folder, tmp_path, to):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="not empty"):
        Convert(src=str(folder), to=to, out=tmp_path / "out").run()
    assert (tmp_path / "out" / "mine.txt").read_text() == "x"


def test_a_run_is_not_made_a_run_again(tmp_path, tokenizer):
    write_run(tmp_path / "run", shape_of("bert"), tokenizer)
    with pytest.raises(UserError, match="is a run already"):
        Convert(src=str(tmp_path / "run"), to="unmask", out=tmp_path / "out").run()


def test_old_files_and_missing_heads_are_converted_where_that_is_asked_for(tmp_path, tokenizer):
    network = network_of(shape_of("bert"), ("masked_lm", "next_sentence"))
    hub.write(tmp_path / "model", shape_of("bert"), dict(network.named_parameters()), tokenizer)
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    (tmp_path / "model" / "model.safetensors").unlink()
    lost = "cls.predictions.transform.dense.bias"
    torch.save({name: tensor for name, tensor in tensors.items() if name != lost}, tmp_path / "model/pytorch_model.bin")
    with pytest.raises(UserError, match=r"a pickle, .* unmask convert"):
        load(tmp_path / "model")
    convert = {"src": str(tmp_path / "model"), "to": "hf", "out": tmp_path / "out"}
    with pytest.raises(UserError, match=f"of the masked_lm head {lost} is missing; --allow-missing masked_lm goes on"):
        Convert(**convert).run()
    assert not (tmp_path / "out").exists()
    notes = Convert(**convert, allow_missing=["masked_lm"], list_tensors=True).run()
    assert f"tensors of pytorch_model.bin: {len(tensors) - 5} mapped, 0 tied, 1 missing, 4 unused" in notes
    assert f"  missing {lost}" in notes and "  mapped  bert.embeddings.LayerNorm.bias" in notes
    assert load(tmp_path / "out").heads == ["next_sentence"]
    left = {name for name in tensors if not name.startswith("cls.predictions.")}
    assert set(load_file(tmp_path / "out" / "model.safetensors")) == left


@pytest.mark.parametrize("option", ["allow_missing", "list_tensors"])
def test_of_a_run_nothing_is_missing(tmp_path, tokenizer, option):
    write_run(tmp_path / "run", shape_of("bert"), tokenizer)
    given = {"allow_missing": ["masked_lm"], "list_tensors": True}[option]
    with pytest.raises(UserError, match=f"--{option.replace('_', '-')}: .* is no Hugging Face folder; leave it out"):
        Convert(src=str(tmp_path / "run"), to="hf", out=tmp_path / "out", **{option: given}).run()
