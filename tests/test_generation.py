"""Texts that models write: token by token as transformers writes them, and drawn as the softmax says."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError

import test_causal
import test_seq2seq_parity as seq2seq
from test_encoder_decoder import MODERN
from unmask import hub
from unmask.commandline.program import main
from unmask.commands.convert import Convert
from unmask.commands.generate import Generate
from unmask.errors import UserError
from unmask.inference.building import network_of
from unmask.inference.generation.choosing import among, drawing
from unmask.inference.generation.generate import generate, way_of
from unmask.inference.generation.settings import Generation
from unmask.inference.generation.ways import filled
from unmask.inference.generation.writer import Reader, Writer
from unmask.inference.loading import load
from unmask.inference.model import Model
from unmask.nn.batch import collate
from unmask.nn.blocks import Memory
from unmask.objectives.causal_lm import CausalLM
from unmask.objectives.denoising import Denoising
from unmask.objectives.masked_seq2seq import MaskedSeq2seq
from unmask.objectives.next_sentence import NextSentence
from unmask.objectives.span_corruption import SpanCorruption
from unmask.presets import PRESETS
from unmask.text.example import Example, Stream
from unmask.text.tokens.tokenizer import Tokenizer
from unmask.training.checkpoint import Checkpoints, State

transformers = pytest.importorskip("transformers")
PROMPTS = [7, 21, 2, 12, 1, 16]
CASES = {
    "gpt2": (test_causal.GPT2, test_causal),
    "bart": (seq2seq.BART, seq2seq),
    "t5": (seq2seq.T5.model_copy(update={"tied": False}), seq2seq),
    "t5-v1.1": (seq2seq.NEWER, seq2seq),
}
each = pytest.mark.parametrize("case", CASES)


@dataclass
class Ids:
    """A tokenizer of 199 tokens that have no letters."""

    sep: int = 3
    size: int = 199
    names: dict[str, str] = field(default_factory=dict)

    def tokens(self, ids):
        return [str(n) for n in ids]


def restless(network):
    """One in which much hangs on the place, so that it does not repeat one token for ever. T5's knows no places."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("positions.weight"):
                parameter.mul_(12)
    return network


def model_of(shape, network, end=3, begins=2):
    return Model(Path("it"), shape, network.eval(), Ids(end), begins=begins if shape.decoder_layers else None)


def prompts(seed=3):
    rng = np.random.default_rng(seed)
    return [rng.integers(4, 199, length).tolist() for length in PROMPTS]


def theirs(network, shape, module, end, **settings):
    """What transformers writes, prompts padded, without what follows an end."""
    reference, given = module.reference_of(network, shape).eval(), prompts()
    rows, mask = (torch.zeros(len(given), max(PROMPTS), dtype=torch.long) for _ in range(2))
    for row, seen, ids in zip(rows, mask, given, strict=True):
        place = slice(0, len(ids)) if shape.decoder_layers else slice(len(row) - len(ids), None)
        row[place], seen[place] = torch.tensor(ids), 1
    if shape.decoder_layers:
        settings |= {"decoder_start_token_id": 2}
    reference.generation_config = transformers.GenerationConfig(pad_token_id=0, eos_token_id=end, **settings)
    written = reference.generate(input_ids=rows, attention_mask=mask, do_sample=False).tolist()
    lead = 1 if shape.decoder_layers else max(PROMPTS)
    found = [text[lead:] for text in written]
    return [text[: text.index(end)] if end in text else text for text in found]


def ours(network, shape, end, **settings):
    whole = generate(model_of(shape, network, end), prompts(), Generation(**settings))
    return [text if shape.decoder_layers else text[len(ids) :] for text, ids in zip(whole, prompts(), strict=True)]


@each
@pytest.mark.parametrize(("beams", "penalty"), [(1, 1.0), (2, 1.0), (5, 2.0), (3, 0.0), (4, -1.0)])
def test_texts_are_those_of_transformers(case, beams, penalty):
    """Several tokens take turns as the one that ends a text, so that some end early and others do not."""
    (shape, module), kind = CASES[case], {"beams": beams, "length_penalty": penalty} if beams > 1 else {}
    network, ended, open_ = restless(module.network_of(shape)), 0, 0
    free = ours(network, shape, end=198, max_new_tokens=20, **kind)
    for end in {text[place] for text in free for place in (0, 3, 9) if len(text) > 9}:
        mine = ours(network, shape, end, max_new_tokens=20, **kind)
        reference = theirs(network, shape, module, end, max_new_tokens=20, num_beams=beams, length_penalty=penalty)
        assert mine == reference
        ended += sum(len(text) < 20 for text in mine)
        open_ += sum(len(text) == 20 for text in mine)
    assert ended and open_
    assert sum(len(set(text)) for text in free) > (10 if case == "t5" else 40), "else agreement would say little"


# --- what is kept ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [test_causal.GPT2, test_causal.MODERNBERT], ids=["gpt2", "modernbert"])
def test_what_is_written_on_is_what_would_be_read_anew(shape):
    network = test_causal.network_of(shape).eval()
    texts, more = prompts(), torch.arange(30).view(5, 6) + 9
    writer = Writer(network.backbone, network.heads["causal_lm"], 199, sequences(texts))
    with torch.inference_mode():
        scores = writer.begin()
        for tokens in more:
            assert_read(network, texts, scores)
            scores = writer.add(tokens)
            texts = [[*ids, int(token)] for ids, token in zip(texts, tokens, strict=True)]
        writer.pick(torch.tensor([4, 1]))
        assert_read(network, [[*texts[n], 8] for n in (4, 1)], writer.add(torch.tensor([8, 8])))


def sequences(texts, **parts):
    lengths = np.array([len(ids) for ids in texts])
    return collate(Example({"it": Stream(np.concatenate(texts), lengths, **parts)})).streams["it"]


def assert_read(network, texts, scores):
    given = sequences(texts)
    states = network.backbone(given)[given.layout.cu_seqlens[1:].long() - 1]
    anew = network.heads["causal_lm"](states)
    assert (anew - scores).abs().max() < 1e-5 * anew.abs().max()


@pytest.mark.parametrize(
    "shape", [seq2seq.BART, seq2seq.T5, MODERN.model_copy(update={"vocab_size": 199})], ids=["bart", "t5", "modern"]
)
def test_a_decoder_writes_on_as_if_it_read_anew(shape):
    torch.manual_seed(0)
    network = network_of(shape, [Denoising()]).eval()
    with torch.inference_mode():
        source = sequences(prompts())
        memory = Memory(network.backbone(source), source.layout)
        texts = [[2]] * len(PROMPTS)
        writer = Reader(network.backbone, network.heads["decoder_lm"], shape.vocab_size, sequences(texts), memory)
        scores = writer.begin()
        for tokens in torch.arange(30).view(5, 6) + 9:
            given = sequences(texts)
            states = network.backbone.decoder_layers(given, memory)[-1][given.layout.cu_seqlens[1:].long() - 1]
            anew = network.heads["decoder_lm"](states)
            assert (anew - scores).abs().max() < 1e-5 * anew.abs().max()
            scores = writer.add(tokens)
            texts = [[*ids, int(token)] for ids, token in zip(texts, tokens, strict=True)]


# --- chance ----------------------------------------------------------------------------------------------------------

SCORES = torch.randn(1, 60, generator=torch.Generator().manual_seed(1)) * 2
LIMITS = [{}, {"temperature": 0.5}, {"top_k": 7}, {"top_p": 0.8}, {"temperature": 1.7, "top_k": 20, "top_p": 0.6},
          {"top_k": 1}, {"top_p": 1e-6}, {"top_k": 500}]  # fmt: skip


@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_what_is_drawn_from_is_what_transformers_leaves(limits):
    warpers = {"temperature": transformers.TemperatureLogitsWarper, "top_k": transformers.TopKLogitsWarper,
               "top_p": transformers.TopPLogitsWarper}  # fmt: skip
    reference = SCORES
    for name, value in limits.items():
        reference = warpers[name](value)(None, reference)
    assert torch.equal(among(SCORES, **limits), reference)


@pytest.mark.parametrize("limits", [{"top_p": 1e-300}, {"temperature": 1e-6}], ids=str)
def test_the_likeliest_is_left_however_little_is_asked_for(limits):
    chances = among(SCORES, **limits).softmax(-1)
    assert torch.equal(chances, torch.nn.functional.one_hot(SCORES.argmax(-1), 60).float())


@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_tokens_are_drawn_by_their_probability(limits):
    """Of 40,000 draws; a chi-square over the tokens expected at least five times, and no other token but them."""
    count = 40_000
    choose = drawing(Generation(sample=True, seed=3, **limits), np.arange(count))
    drawn = torch.cat([choose(SCORES.expand(4000, -1), part, 0) for part in torch.arange(count).split(4000)])
    chances = among(SCORES, **limits).softmax(-1)[0].numpy()
    counts = np.bincount(drawn.numpy(), minlength=60)
    assert not counts[chances == 0].any()
    often = chances * count >= 5
    square = ((counts - chances * count) ** 2 / (chances * count + 1e-9))[often].sum()
    freedom = max(often.sum() - 1, 1)
    assert square < freedom + 5 * math.sqrt(2 * freedom)


def test_what_is_drawn_hangs_on_seed_and_number_alone():
    network = test_causal.network_of(test_causal.GPT2)
    model, kind = model_of(test_causal.GPT2, network), {"max_new_tokens": 12, "sample": True}
    together = generate(model, prompts(), Generation(**kind))
    assert together == generate(model, prompts(), Generation(**kind))
    assert together != generate(model, prompts(), Generation(**kind, seed=1))
    assert together[:2] == generate(model, prompts()[:2], Generation(**kind))
    twice = generate(model, [prompts()[0]] * 2, Generation(**kind))
    assert twice[0] == together[0] != twice[1]


# --- what a text is given and what becomes of it ---------------------------------------------------------------------

TEXT = "A film about the capital of France, and a fine one. Nobody knows what it is about."


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train([TEXT] * 3, "wordpiece", 300)


def run_of(folder, objective, tokenizer, family="bart"):
    """A run with random weights."""
    tokenizer = tokenizer.plus(objective.extra_tokens())
    shape = {"bart": seq2seq.BART, "t5": seq2seq.T5, "gpt2": test_causal.GPT2}[family]
    shape = shape.model_copy(update={"vocab_size": tokenizer.size})
    torch.manual_seed(3)
    network = network_of(shape, [objective])
    Checkpoints(folder).save(State(1, 1, score=1.0), dict(network.named_parameters()), {})
    tokenizer.save(folder)
    name = next(n for n, kind in OBJECTIVES.items() if isinstance(objective, kind))
    config = {"model": shape.model_dump(), "objective": {name: objective.model_dump(mode="json")}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


OBJECTIVES = {"causal_lm": CausalLM, "denoising": Denoising, "masked_seq2seq": MaskedSeq2seq,
              "span_corruption": SpanCorruption}  # fmt: skip


def test_what_is_written_stands_in_the_place_of_marks():
    marks = {90, 91, 92}
    assert filled([5, 90, 6, 91], [90, 7, 8, 91, 92], marks) == [5, 7, 8, 6]
    assert filled([5, 90, 6, 91], [4, 90, 7], marks) == [5, 7, 6, 91], "a mark of which nothing is said stays"
    assert filled([90, 91], [91, 1, 90, 2, 91, 3], marks) == [2, 1, 3]


def test_marks_are_those_of_both_texts(tmp_path, tokenizer):
    """What a decoder ends with is a mark that the text does not have."""
    way = way_of(model := load(run_of(tmp_path / "run", SpanCorruption(sentinels=5), tokenizer)))
    first, second, last = model.tokenizer.ids(model.tokenizer.extra[:3]).tolist()
    assert way.whole(np.array([2, first, 9, second, 3]), [first, 7, second, 8, 8, last]) == [2, 7, 9, 8, 8, 3]
    assert way.whole(np.array([2, 9, 3]), [7, 8]) == [7, 8]


def test_a_decoder_begins_as_it_did_in_training(tmp_path, tokenizer):
    for objective, begins in ((Denoising(), "sep"), (SpanCorruption(sentinels=5), "pad"), (MaskedSeq2seq(), "mask")):
        model = load(run_of(tmp_path / begins, objective, tokenizer))
        assert model.begins == getattr(model.tokenizer, begins)
        (first,) = {int(token) for token in way_of(model)._writer([np.array([2, 9, 3])]).given.tokens}
        assert first == model.begins


def test_a_fragment_is_written_where_it_stood(tmp_path, tokenizer):
    model = load(run_of(tmp_path / "run", MaskedSeq2seq(), tokenizer))
    mask = model.tokenizer.mask
    text = [model.tokenizer.cls, 20, 21, mask, mask, mask, 22, model.tokenizer.sep]
    (whole,) = generate(model, [text], Generation())
    assert len(whole) == len(text) and whole[:3] + whole[6:] == text[:3] + text[6:]
    writer = way_of(model)._writer([np.array(text)])
    assert writer.places.tolist() == [2], "as in training: the place before the fragment's"
    for wrong in ("a film", "[MASK] film [MASK]"):
        with pytest.raises(UserError, match=r"sequence 0: must hold one fragment that is hidden; \[MASK\] for each"):
            model.generate([wrong])


def test_texts_come_out_of_texts(tmp_path, tokenizer, capsys):
    for objective, family, text in (
        (CausalLM(), "gpt2", "a film"),
        (Denoising(), "bart", "a [MASK] about"),
        (SpanCorruption(sentinels=5), "t5", "a <extra_id_0> about"),
        (MaskedSeq2seq(), "bart", "a [MASK] about"),
    ):
        run = run_of(tmp_path / type(objective).__name__, objective, tokenizer, family)
        model = load(run, device="cpu")
        written = model.generate([text, text], max_new_tokens=5)
        assert len(written) == 2 and written[0] == written[1]
        assert written[0].startswith("a film") or family != "gpt2"
        (tmp_path / "texts").write_text(f"{text}\n{text}\n")
        said = Generate(model=str(run), texts=[text], file=tmp_path / "texts", max_new_tokens=5, device="cpu").run()
        assert said == [*written, written[0]] and capsys.readouterr().out.splitlines() == said
        assert model.generate([]) == []


def test_folders_say_what_a_decoder_is_given_first(tmp_path, tokenizer):
    for family, objective, begins in (("bart", SpanCorruption(sentinels=5), "pad"), ("t5", Denoising(), "sep")):
        model = load(run_of(tmp_path / family, objective, tokenizer, family))
        folder = tmp_path / f"{family}-hf"
        hub.write(folder, model.shape, dict(model.network.named_parameters()), model.tokenizer, begins=model.begins)
        assert json.loads((folder / "config.json").read_text())["decoder_start_token_id"] == model.begins
        again = load(folder)
        assert again.begins == model.begins == getattr(model.tokenizer, begins)
        text = "a film about"
        assert again.generate([text], beams=3, max_new_tokens=9) == model.generate([text], beams=3, max_new_tokens=9)
        Convert(src=str(folder), to="unmask", out=tmp_path / f"{family}-back").run()
        back = tmp_path / f"{family}-back"
        assert load(back).begins == model.begins
        settings = back / "config.yaml"
        settings.write_text(settings.read_text().replace(f"begins: {model.begins}", "begins: 100000"))
        with pytest.raises(UserError, match=r"config.yaml: begins 100000: a token's id below"):
            load(back)


def test_it_is_told_that_a_fragments_place_is_not_carried(tmp_path, tokenizer):
    run = run_of(tmp_path / "run", MaskedSeq2seq(), tokenizer)
    notes = Convert(src=str(run), to="hf", out=tmp_path / "hf").run()
    assert any("where a fragment stands" in note for note in notes)
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["decoder_start_token_id"] == load(run).begins


def test_a_decoder_there_writes_on_from_a_text(tmp_path, tokenizer):
    """Its tokenizer there leaves a text open, and is the same one when it comes back."""
    run, hf = run_of(tmp_path / "run", CausalLM(), tokenizer, "gpt2"), tmp_path / "hf"
    Convert(src=str(run), to="hf", out=hf).run()
    text, model = "a film about", load(run)
    ids = transformers.AutoTokenizer.from_pretrained(hf)(text, return_tensors="pt")["input_ids"]
    there = transformers.AutoModelForCausalLM.from_pretrained(hf)
    written = there.generate(ids, do_sample=False, max_new_tokens=9)[0].tolist()
    assert model.generate([text], max_new_tokens=9) == [model.text_of(written)]
    assert load(hf).tokenizer.hash == model.tokenizer.hash
    (states,), (ours,) = model.hidden([text]), model.hidden([ids[0].tolist()])
    assert (states == ours).all(), "a text that can be written on is open to be read too"
    load(hf).tokenizer.save(tmp_path / "closed")
    (pieces,) = tokenizer.encode([text])
    closed = transformers.AutoTokenizer.from_pretrained(tmp_path / "closed")(text)["input_ids"]
    assert closed == [tokenizer.cls, *pieces.ids, tokenizer.sep]


def test_models_that_do_not_write_say_so(tmp_path, tokenizer):
    shape = PRESETS["bert-tiny"].model_copy(update={"vocab_size": tokenizer.size})
    folder = tmp_path / "bert"
    network = network_of(shape, [NextSentence()])
    Checkpoints(folder).save(State(1, 1, score=1.0), dict(network.named_parameters()), {})
    tokenizer.save(folder)
    config = {"model": shape.model_dump(), "objective": {"next_sentence": {}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"writes no text, with next_sentence; .*causal_lm, denoising, .* would fit"):
        load(folder).generate(["a film"])


@pytest.mark.parametrize(("settings", "why"), [
    ({"beams": 2, "sample": True}, "give one of them"), ({"top_k": 5}, "top_k is of what is drawn"),
    ({"length_penalty": 2.0}, "length_penalty compares beams"), ({"max_new_tokens": 0}, "greater than or equal to 1"),
    ({"sample": True, "top_p": 0}, "greater than 0"), ({"sample": True, "temperature": 0}, "greater than or equal"),
])  # fmt: skip
def test_settings_that_do_not_fit_are_refused(settings, why):
    with pytest.raises(ValidationError, match=why):
        Generation(**settings)


def test_texts_that_do_not_fit_are_refused(tmp_path, tokenizer):
    model = load(run_of(tmp_path / "run", CausalLM(), tokenizer, "gpt2"))
    with pytest.raises(UserError, match=r"sequence 1: 62 tokens more .* max_new_tokens 61 would fit"):
        model.generate([[2], [2, 9, 9]], max_new_tokens=62)
    with pytest.raises(UserError, match=r"beams 60: more than half"):
        model.generate(["a"], beams=60, max_new_tokens=2)
    with pytest.raises(UserError, match=r"steps 3: .* token by token"):
        model.generate(["a"], max_new_tokens=2, steps=3)
    with pytest.raises(UserError, match=r"max_tokens"):
        model.generate(["a"], max_tokens=2)
    with pytest.raises(ValidationError, match=r"--file"):
        Generate(model="m")


def test_the_command_names_texts_and_options_as_its_user_does(tmp_path, tokenizer, capsys):
    run_of(tmp_path / "run", CausalLM(), tokenizer, "gpt2")
    prompts, empty = tmp_path / "prompts.txt", tmp_path / "empty.txt"
    prompts.write_text("a film\n" + "a film " * 40)
    empty.write_text("")
    for given, told in (
        (["--file", str(prompts)], f"{prompts}: line 2: "),
        (["a", "a film " * 40], "text 2: "),
        (["a", "--max-new-tokens", "90"], "text 1: 90 tokens more are longer than the model writes; --max-new-tokens "),
        (["a", "--top-k", "5"], "--top-k is of what is drawn"),
        (["--file", str(empty)], f"{empty}: is empty"),
    ):
        assert main(["generate", str(tmp_path / "run"), *given]) == 2
        assert capsys.readouterr().err.startswith(f"unmask: {told}")
