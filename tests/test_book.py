"""What causal_lm gives a Transformer-XL to look back on, and how likely a model holds a text."""

import json
import math

import numpy as np
import pytest
import torch

import unmask
from fake_corpus import FakeCorpus, corpus_of
from small_base import EXACT, classified, sentences
from unmask import calls
from unmask.commands.convert import Convert
from unmask.commands.evaluate import Evaluate
from unmask.commands.finetune import Finetune
from unmask.commands.prepare import Prepare
from unmask.commands.pretrain import Pretrain
from unmask.errors import UserError
from unmask.inference.perplexity import perplexity, windows
from unmask.nn.batch import collate
from unmask.objectives.causal_lm import CausalLM
from unmask.presets import PRESETS
from unmask.text.chance import Chance
from unmask.text.example import Example, Stream
from unmask.text.sampling.plan import Plan, draw


@pytest.fixture(scope="module")
def corpus():
    return corpus_of(shards=2, documents=40, sentences=30, words=10)


# --- what a step looks back on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("input_format", ["full_sentences", "doc_sentences", "segment_pair"])
def test_the_memory_is_what_stands_before_a_sequence_in_its_document(corpus, input_format):
    slots, _, epochs = Plan(corpus, input_format, 64, 200).slots(0)
    example = CausalLM(memory=0.5).sample(slots, corpus.tokenizer, Chance.of(0, epochs, slots.ids))
    stream, memory, remembered = example.streams["encoder"], example.streams["memory"], 0
    assert (memory.lengths <= slots.rooms // 2).all()
    for n, (begin, length) in enumerate(zip(memory.starts, memory.lengths, strict=True)):
        shard, first = corpus.shard(int(slots.ids[n] >> 32)), int(slots.ids[n] & 0xFFFFFFFF)
        assert np.array_equal(memory.tokens[begin : begin + length], shard.tokens[first - length : first])
        assert np.array_equal(memory.places[begin : begin + length], np.arange(-length, 0))
        borders = shard.documents
        assert not ((borders > first - length) & (borders <= first)).any() or not length
        # what goes on from a memory begins with text, whatever else begins with [CLS]
        opening = stream.tokens[stream.starts[n]]
        assert opening == (shard.tokens[first] if length else corpus.tokenizer.cls)
        remembered += length > 0
    assert 20 < remembered < len(memory.lengths)


def test_nothing_of_a_memory_is_asked_for(corpus):
    plan = Plan(corpus, "full_sentences", 64, 20)
    example = draw(plan, [CausalLM(memory=1.0)], corpus.tokenizer, 0, 3)
    stream, asked = example.streams["encoder"], example.targets["causal_lm"]
    assert asked.stream == "encoder" and np.array_equal(asked.labels, stream.tokens[asked.index + 1])
    assert np.array_equal(stream.sequence[asked.index], stream.sequence[asked.index + 1])


def test_ranks_share_a_step(corpus):
    """What two processes draw together is what one draws."""
    plan, objective = Plan(corpus, "full_sentences", 64, 20), [CausalLM(memory=1.0)]
    whole = draw(plan, objective, corpus.tokenizer, 0, 3)
    parts = [draw(plan, objective, corpus.tokenizer, 0, 3, rank, 2) for rank in range(2)]
    for name in ("encoder", "memory"):
        for what in ("tokens", "places", "lengths"):
            found = [getattr(example.streams[name], what) for example in (whole, *parts)]
            assert all(x is None for x in found) or np.array_equal(found[0], np.concatenate(found[1:])), (name, what)


def test_who_has_a_memory(corpus):
    """A transformer_xl, unless told otherwise; others are refused one."""
    large, gpt2 = PRESETS["transformer-xl-tiny"], PRESETS["gpt2-tiny"]
    assert [CausalLM().asked_of(shape).memory for shape in (large, gpt2)] == [1.0, 0.0]
    assert CausalLM(memory=0).asked_of(large).memory == 0
    for memory in (None, 0):
        assert set(draw(Plan(corpus, length=64), [CausalLM(memory=memory)], corpus.tokenizer, 0, 0).streams) == {
            "encoder"
        }
    alone = FakeCorpus([[[3]] * 40])  # no document goes beyond its sequence
    plan = Plan(alone, "doc_sentences", 16, 4)
    assert set(draw(plan, [CausalLM(memory=1)], alone.tokenizer, 0, 0).streams) == {"encoder"}
    with pytest.raises(ValueError, match=r"memory 1\.0: only a transformer_xl looks back on one; leave it out"):
        Pretrain(corpus="c", out="o", model="gpt2-tiny", objective={"causal_lm": {"memory": 1.0}})


# --- a text, by the window --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [2, None])
@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("size", [1, 4, 5, 11, 12])
def test_every_token_is_asked_for_once(size, goes_on, lead):
    text = np.arange(10, 10 + size)
    found = list(windows(text, 4, lead, goes_on))
    asked = [x for _, tokens in found for x in tokens]
    assert asked == text[0 if lead else 1 :].tolist()
    for read, follow in found:
        assert len(read) == len(follow) <= 4
        assert read[1:].tolist() == follow[:-1].tolist()
    first = [read[0] for read, _ in found]
    assert first[:1] == ([2] if lead else text[:1].tolist()[: size - 1])
    assert first[1:] == [2 if lead and not goes_on else 9 + n for n in range(4, size, 4)]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A corpus, runs of some steps, and a text that they did not read."""
    home = tmp_path_factory.mktemp("book")
    lines = [" ".join(words).capitalize() + "." for words in sentences(300)]
    (home / "text.txt").write_text("\n\n".join("\n".join(lines[n : n + 10]) for n in range(0, 300, 10)))
    (home / "book.txt").write_text("\n\n".join(reversed(lines[:12])))
    calls.call(Prepare, str(home / "text.txt"), out=home / "corpus", vocab_size=120, valid=0.05)
    for name in ("transformer-xl", "gpt2", "bert"):
        model = {"name": f"{name}-tiny", "width": 32, "heads": 2, "feed_forward": 64}
        few = {"length": 16, "batch_size": 8, "steps": 4, "lr": 1e-2}
        objective = "masked_lm" if name == "bert" else "causal_lm"
        calls.call(Pretrain, home / "corpus", objective=objective, model=model, out=home / name, **few, **EXACT)
    return home


def evaluated(home, name, *rest, **settings):
    return calls.call(Evaluate, home / name, home / "book.txt", device="cpu", precision="float32", **settings)


def in_one_pass(model, ids):
    """The mean loss of a text that is read at once."""
    read = np.concatenate([[model.tokenizer.cls], ids[:-1]])
    with torch.no_grad():
        states = model.network.backbone(collate(Example({"it": Stream(read, np.array([len(read)]))})).streams["it"])
        logits = model.network.heads["causal_lm"](states)
        return torch.nn.functional.cross_entropy(logits, torch.from_numpy(ids).long()).item()


def ids_of(model, home):
    return model.tokenizer.encode_flat([(home / "book.txt").read_text()], specials=False)[0]


def test_a_memory_that_holds_all_gives_the_perplexity_of_one_pass(home):
    model = unmask.load(home / "transformer-xl", device="cpu")
    ids = ids_of(model, home)
    whole = evaluated(home, "transformer-xl", memory=1000)
    assert whole["tokens"] == len(ids) > 60 and whole["unknown"] == 0
    assert whole["loss"] == pytest.approx(in_one_pass(model, ids), rel=1e-5)
    assert whole["perplexity"] == pytest.approx(math.exp(whole["loss"]))
    some, none = (evaluated(home, "transformer-xl", memory=memory) for memory in (8, 0))
    assert len({round(each["loss"], 6) for each in (whole, some, none)}) == 3
    assert some["tokens"] == none["tokens"] == whole["tokens"]
    assert evaluated(home, "transformer-xl") == evaluated(home, "transformer-xl", length=16, memory=16)


@pytest.mark.parametrize("name", ["gpt2", "transformer-xl"])
def test_without_memory_windows_stand_side_by_side(home, name):
    model = unmask.load(home / name, device="cpu")
    ids = ids_of(model, home)
    parts = [ids[n : n + 16] for n in range(0, len(ids), 16)]
    mean = sum(in_one_pass(model, part) * len(part) for part in parts) / len(ids)
    assert evaluated(home, name, memory=0)["loss"] == pytest.approx(mean, rel=1e-5)


def test_several_texts_are_read_apart(home):
    model = unmask.load(home / "transformer-xl", device="cpu")
    one, two = np.split(ids_of(model, home), [30])
    both = perplexity(model, [one, two], 16, 100)
    apart = [perplexity(model, [each], 16, 100) for each in (one, two)]
    assert both["tokens"] == sum(each["tokens"] for each in apart)
    assert both["loss"] * both["tokens"] == pytest.approx(sum(x["loss"] * x["tokens"] for x in apart), rel=1e-6)


def test_tokens_that_the_vocabulary_does_not_know_are_counted_and_not_asked(home):
    model = unmask.load(home / "gpt2", device="cpu")
    ids = ids_of(model, home)
    holes = ids.copy()
    holes[[3, 20]] = model.tokenizer.unk
    found = perplexity(model, [holes], 16)
    assert (found["tokens"], found["unknown"]) == (len(ids) - 2, 2)


def test_a_table_holds_a_text_in_each_row(home, tmp_path):
    text = (home / "book.txt").read_text()
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": text}) for _ in range(2)))
    out = tmp_path / "s.json"
    twice = calls.call(Evaluate, home / "gpt2", tmp_path / "rows.jsonl", device="cpu", precision="float32", out=out)
    once = evaluated(home, "gpt2")
    assert twice["tokens"] == 2 * once["tokens"] and twice["loss"] == pytest.approx(once["loss"], rel=1e-6)
    said = json.loads(out.read_text())
    assert said["scores"] == twice and (said["length"], said["memory"]) == (16, 0)


def test_what_cannot_be_evaluated_is_refused(home, tmp_path):
    with pytest.raises(UserError, match=r"memory 5: .* keeps no states of what it read; leave it out"):
        evaluated(home, "gpt2", memory=5)
    with pytest.raises(UserError, match="length 5000: the model reads up to 1024 tokens"):
        evaluated(home, "gpt2", length=5000)
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(UserError, match=r"empty\.txt: holds no text"):
        calls.call(Evaluate, home / "gpt2", tmp_path / "empty.txt", device="cpu")
    with pytest.raises(UserError, match=r"does no task, and has no head to read a text with; the run of"):
        evaluated(home, "bert")
    files = {name: classified(tmp_path / f"{name}.tsv", 40, n) for n, name in enumerate(("train", "valid"))}
    few = {"epochs": 1, "seeds": [1], **EXACT}
    calls.call(Finetune, str(home / "bert"), task="classify", out=tmp_path / "t", **files, **few)
    with pytest.raises(UserError, match=r"--memory: .* reads rows and no text; leave it out"):
        calls.call(Evaluate, tmp_path / "t", files["valid"], memory=3, device="cpu")


# --- a Transformer-XL in use ------------------------------------------------------------------------------------------


def test_it_is_fine_tuned(home, tmp_path):
    files = {name: classified(tmp_path / f"{name}.tsv", 40, n) for n, name in enumerate(("train", "valid"))}
    tuned = calls.call(
        Finetune, str(home / "transformer-xl"), task="classify", out=tmp_path / "t", epochs=1, seeds=[1], **files,
        **EXACT,
    )  # fmt: skip
    assert tuned.predict(["the film"])[0].labels and tuned.task.pool == "last"


def test_it_writes(home):
    model = unmask.load(home / "transformer-xl", device="cpu")
    (written,) = model.generate(["the film"], max_new_tokens=20)
    assert written.lower().startswith("the film") and len(written) > len("the film")


def test_hugging_face_has_it_no_more(home, tmp_path):
    with pytest.raises(
        UserError, match=r"knows no transformer_xl, whose classes transformers took out; bert, .* would"
    ):
        Convert(src=str(home / "transformer-xl"), to="hf", out=tmp_path / "hf").run()
    assert not (tmp_path / "hf").exists()
