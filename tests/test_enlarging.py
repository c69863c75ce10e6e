"""Words and places for a model that is there: what it knew stays as it was, what is new begins between its likes."""

import copy
import json

import numpy as np
import pytest
import torch
import yaml

from unmask import hub
from unmask.commands.convert import Convert
from unmask.errors import UserError
from unmask.inference.building import network_of
from unmask.inference.enlarging import with_places, with_tokens, words_of
from unmask.inference.loading import load
from unmask.models.backbone import backbone_of
from unmask.models.shape import Shape
from unmask.nn.network import Network
from unmask.objectives.masked_lm import MaskedLM
from unmask.presets import PRESETS
from unmask.text.tokens.growing import grow
from unmask.text.tokens.ngrams import hashed, ngrams
from unmask.text.tokens.spelling import BEGIN, EMPTY, END, LONGEST
from unmask.text.tokens.tokenizer import Tokenizer
from unmask.text.tokens.vocabularies import KINDS
from unmask.training.checkpoint import Checkpoints, State

TEXT = "paris is the capital of france and berlin that of germany where rivers rise and cities glow at night"
NEW = ["parisian", "nightfall"]
SIZES = {"vocab_size": 150, "width": 24, "layers": 2, "heads": 3, "feed_forward": 40, "max_length": 32}
FAMILIES = {
    "bert": "bert-tiny", "roberta": "roberta-tiny", "distilbert": "distilbert-tiny", "modernbert": "modernbert-tiny",
    "electra": "electra-tiny", "albert": "albert-tiny", "gpt2": "gpt2-tiny", "bart": "bart-tiny", "t5": "t5-tiny",
    "t5-v1.1": "t5-v1.1-tiny", "xlnet": "xlnet-tiny", "longformer": "longformer-tiny", "mobilebert": "mobilebert-tiny",
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizers():
    sizes = dict.fromkeys(KINDS, 120) | {"bpe": 300}  # it begins with 256 bytes
    return {kind: Tokenizer.train([TEXT], kind, size) for kind, size in sizes.items()}


@pytest.fixture
def tokenizer(tokenizers):
    return tokenizers["wordpiece"]


def shape_of(family="bert", **changes):
    others = {"embedding_width": 16} if family in ("electra", "albert", "mobilebert") else {}
    others |= {"head_width": 8} if family.startswith("t5") else {}
    others |= {"bottleneck": 12} if family == "mobilebert" else {}
    return PRESETS[FAMILIES[family]].model_copy(update={**SIZES, **others, **changes})


def tensors_of(shape):
    torch.manual_seed(0)
    network = Network(backbone_of(shape), {name: made() for name, made in hub.heads_of(shape).items()})
    return {name: p + 0.2 * torch.randn_like(p) for name, p in network.named_parameters()}


@pytest.fixture
def folder(tmp_path, tokenizer):
    hub.write(tmp_path / "model", shape := shape_of(), tensors_of(shape), tokenizer)
    return tmp_path / "model"


@pytest.fixture
def model(folder):
    return load(folder, device="cpu")


def ids(tokenizer, text):
    return tokenizer.encode([text])[0].ids.tolist()


# vocabularies


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_word_is_one_token_and_no_other_changes(tokenizers, tmp_path, kind):
    before = tokenizers[kind]
    grown = grow(before, NEW)
    after, size = grown.tokenizer, before.size
    assert after.size == size + len(grown.entries) and after.kind == kind
    text = f"the {NEW[0]} rivers of {NEW[1]}"
    new = [i for i in ids(after, text) if i >= size]
    assert len(new) == 2 and len(set(new)) == 2
    assert [grown.entries[i - size].strip("\u2581\u0120") for i in new] == NEW
    assert ids(after, TEXT) == ids(before, TEXT)  # no word of it is new
    assert after.tokens(range(size)) == before.tokens(range(size))
    for entry, pieces in zip(grown.entries, grown.pieces, strict=True):
        assert "".join(before.tokens(pieces)).replace("##", "") == entry and len(pieces) > 1
    starts = after.encode([text])[0].word_starts
    assert starts[[i in new for i in ids(after, text)]].all() and after.decode(ids(after, text)).split() == text.split()
    after.save(tmp_path)
    assert Tokenizer.load(tmp_path).hash == after.hash != before.hash
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(text, add_special_tokens=False)["input_ids"] == ids(after, text)


def test_words_are_written_as_the_vocabulary_writes_them(tokenizer):
    grown = grow(tokenizer, ["Parisian", "PARISIAN", "paris"])
    assert grown.entries == ("parisian",) and grown.known == ("paris",)
    assert ids(grown.tokenizer, "PaRisian")[0] == tokenizer.size


def test_byte_level_words_are_known_after_a_space_and_at_the_beginning(tokenizers):
    grown = grow(tokenizers["bpe"], ["parisian"])
    assert grown.entries == ("parisian", "\u0120parisian")
    assert ids(grown.tokenizer, "parisian parisian") == [tokenizers["bpe"].size, tokenizers["bpe"].size + 1]


def test_tokens_beside_a_vocabulary_keep_their_numbers(tokenizers):
    """As ModernBERT's have: those that are added to a vocabulary are numbered by its length."""
    import tokenizers as library

    for kind, plain in tokenizers.items():
        backend = library.Tokenizer.from_str(plain.backend.to_str())
        backend.add_tokens([library.AddedToken("[unused0]"), library.AddedToken("[unused1]")])
        before = Tokenizer(backend, plain.names)
        assert before.size == plain.size + 2
        after = grow(before, NEW).tokenizer
        assert after.tokens(range(before.size)) == before.tokens(range(before.size)), kind
        known = ids(after, f"[unused1] {NEW[0]}")
        assert plain.size + 1 in known and max(known) >= before.size
        assert ids(after, TEXT) == ids(before, TEXT)


def test_words_come_from_files_too(tmp_path):
    (tmp_path / "words.txt").write_text("stent\n\n  aorta \nstent\n", encoding="utf-8")
    assert words_of([str(tmp_path / "words.txt"), "angina"]) == ["stent", "aorta", "angina"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["heart attack"], r"'heart attack': is no single word to this tokenizer \('heart attack'\)"),
        (["covid-19"], "'covid-19': is no single word"),
        (["paris", "the"], r"all of them are tokens already \(paris, the\)"),
        (["a" * 101], "is too long for a token"),
        (["no/such/file"], "no/such/file"),
        (["absent.txt"], "absent.txt"),
        ([" "], "holds no word"),
    ],
)
def test_what_is_no_word_is_refused(tokenizer, words, message):
    with pytest.raises(UserError, match=message) as caught:
        grow(tokenizer, words_of(words))
    assert "\n" not in str(caught.value)


def test_a_vocabulary_that_ends_with_an_objectives_own_tokens_takes_none(tokenizer):
    with pytest.raises(UserError, match=r"ends with <\|date\|>"):
        grow(tokenizer.plus(["<|date|>"]), NEW)


def test_a_vocabulary_with_entries_that_its_merges_never_make_takes_none(tokenizers):
    import tokenizers as library

    rules = json.loads(tokenizers["bpe"].backend.to_str())
    rules["model"]["vocab"]["asleep"] = len(rules["model"]["vocab"])
    with pytest.raises(UserError, match="holds asleep, which its own merges never make"):
        grow(Tokenizer(library.Tokenizer.from_str(json.dumps(rules)), tokenizers["bpe"].names), NEW)


# models


def test_a_new_token_begins_as_the_mean_of_its_pieces(model):
    """Its vector, and what is said of it: logits are linear in the matrix and the bias."""
    size = model.tokenizer.size
    larger = with_tokens(model, NEW)
    assert larger.shape.vocab_size == model.shape.vocab_size  # it had rows that no token had
    pieces = ids(model.tokenizer, NEW[0])
    assert len(pieces) > 1 and ids(larger.tokenizer, NEW[0]) == [size]
    before, after = (m.network.backbone.embeddings.tokens.weight for m in (model, larger))
    assert torch.equal(after[:size], before[:size]) and torch.equal(after[size], before[pieces].mean(0))
    assert torch.equal(after[size + 2 :], before[size + 2 :])
    states = torch.from_numpy(model.hidden([TEXT])[0])
    assert np.array_equal(states, larger.hidden([TEXT])[0])
    with torch.inference_mode():
        old, new = (m.network.heads["masked_lm"](states) for m in (model, larger))
    assert torch.equal(old[:, :size], new[:, :size])
    assert torch.allclose(new[:, size], old[:, pieces].mean(1), atol=1e-5)
    assert not torch.equal(old[:, size], new[:, size])
    assert larger.network.heads["masked_lm"].vocabulary is after
    assert larger.notes[-1] == "added 2 tokens, each the mean of its pieces"
    assert model.tokenizer.size == size and torch.equal(model.network.backbone.embeddings.tokens.weight, before)


def test_the_matrix_grows_where_it_has_no_room(tmp_path, tokenizer):
    shape = shape_of(vocab_size=tokenizer.size)
    hub.write(tmp_path / "model", shape, tensors_of(shape), tokenizer)
    larger = with_tokens(load(tmp_path / "model", device="cpu"), NEW)
    assert larger.shape.vocab_size == larger.tokenizer.size == tokenizer.size + 2
    assert len(larger.network.heads["masked_lm"].bias) == tokenizer.size + 2
    assert larger.network.backbone.shape == larger.shape


def test_words_that_were_tokens_already_are_told(model):
    assert with_tokens(model, ["the", *NEW, "and"]).notes[-1].endswith("; tokens already: the, and")


def test_words_of_unknown_letters_are_told(model):
    larger = with_tokens(model, ["\u03b1\u03b2", *NEW])
    assert larger.notes[-1].endswith("; 1 begin as the unknown token, having had no other pieces")


@pytest.mark.parametrize("places", [33, 63, 100])
def test_places_are_stretched_between_their_ends(model, places):
    longer = with_places(model, places)
    before, after = (m.network.backbone.embeddings.positions.weight.detach() for m in (model, longer))
    assert longer.shape.max_length == places == len(after) and longer.shape == longer.network.backbone.shape
    assert torch.equal(after[[0, -1]], before[[0, -1]])
    at = np.linspace(0, 31, places)  # numpy's own interpolation, a column at a time
    wanted = np.stack([np.interp(at, np.arange(32), column) for column in before.T.numpy()], 1)
    np.testing.assert_allclose(after.numpy(), wanted, atol=1e-5)
    assert longer.hidden([[7] * places])[0].shape == (places, 24)
    assert len(model.network.backbone.embeddings.positions.weight) == 32


@pytest.mark.parametrize(
    "family, length, message",
    [
        ("modernbert", 64, "modernbert has no table of positions to stretch, but rotary positions"),
        ("t5", 64, "t5 has no table of positions to stretch, but buckets positions"),
        ("xlnet", 64, "xlnet has no table of positions to stretch, but relative positions"),
        ("bert", 32, "bert reads 32 tokens already; more would fit"),
        ("bert", 16, "bert reads 32 tokens already; more would fit"),
    ],
)
def test_what_cannot_be_stretched_is_refused(tmp_path, tokenizer, family, length, message):
    shape = shape_of(family)
    hub.write(tmp_path / "model", shape, tensors_of(shape), tokenizer)
    with pytest.raises(UserError, match=f"--max-length {length}: {message}"):
        Convert(src=str(tmp_path / "model"), to="hf", out=tmp_path / "out", max_length=length).run()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_opens_what_was_enlarged(tmp_path, tokenizer, family):
    """`Convert` compares the two; here only what it must have compared."""
    transformers = pytest.importorskip("transformers")
    shape = shape_of(family, vocab_size=tokenizer.size)
    hub.write(tmp_path / "model", shape, tensors_of(shape), tokenizer)
    length = 50 if shape.positions == "learned" else None
    (tmp_path / "words.txt").write_text("\n".join(NEW), encoding="utf-8")
    made = Convert(
        src=str(tmp_path / "model"), to="hf", out=tmp_path / "out", add_tokens=[str(tmp_path / "words.txt")],
        max_length=length,
    )  # fmt: skip
    assert made.run()[-1].startswith("opened with transformers")
    found = hub.read(tmp_path / "out")
    assert found.shape == shape.model_copy(update={"vocab_size": tokenizer.size + 2, "max_length": length or 32})
    opened = transformers.AutoModel.from_pretrained(tmp_path / "out")
    assert len(opened.get_input_embeddings().weight) == tokenizer.size + 2


def test_an_enlarged_model_is_a_run_to_go_on_from(folder, tmp_path):
    Convert(src=str(folder), to="unmask", out=tmp_path / "run", add_tokens=NEW, max_length=40).run()
    model = load(tmp_path / "run", device="cpu")
    assert model.shape == Shape(**{**shape_of().model_dump(), "max_length": 40})
    assert len(ids(model.tokenizer, NEW[0])) == 1


def fresh_run(home, tokenizer, **changes):
    """A run of no steps."""
    objectives = {"masked_lm": MaskedLM(rate=0.2)}
    shape = shape_of(vocab_size=tokenizer.size, **changes)
    torch.manual_seed(0)
    network = network_of(shape, objectives.values())
    settings = {"model": shape.model_dump(mode="json"), "objective": {"masked_lm": {"rate": 0.2}}}
    Checkpoints(home).save(State(step=0, steps=0), dict(network.named_parameters()), {})
    (home / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    tokenizer.save(home)
    return load(home, device="cpu")


LETTERS = {"char_cnn": {"filters": 64}, "fasttext_ngrams": {"ngram_buckets": 400}}


@pytest.mark.parametrize("embedding", ["subword", *LETTERS])
def test_a_run_is_enlarged_to_a_run_of_its_objective(tmp_path, tokenizer, embedding):
    before = fresh_run(tmp_path / "run", tokenizer, embedding=embedding, tied=False, **LETTERS.get(embedding, {}))
    Convert(src=str(tmp_path / "run"), to="unmask", out=tmp_path / "out", add_tokens=NEW).run()
    after = load(tmp_path / "out", device="cpu")
    assert after.shape == before.shape.model_copy(update={"vocab_size": tokenizer.size + 2})
    assert ids(after.tokenizer, NEW[0]) == [tokenizer.size]
    assert np.array_equal(before.hidden([TEXT])[0], after.hidden([TEXT])[0])
    said = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert said["objective"] == {"masked_lm": {"rate": 0.2}} and said["converted_from"] == str(tmp_path / "run")


@pytest.mark.parametrize("embedding", LETTERS)
def test_a_new_word_has_the_vector_of_its_letters(tmp_path, tokenizer, embedding):
    """The one that it would have had, had it stood in the vocabulary from the beginning."""
    model = fresh_run(tmp_path, tokenizer, embedding=embedding, tied=False, **LETTERS[embedding])
    larger = with_tokens(model, NEW)
    assert larger.notes[-1] == (
        "added 2 tokens, each with a vector from its letters, to answer with the mean of its pieces"
    )
    size, pieces = tokenizer.size, ids(tokenizer, NEW[0])
    tokens, known = larger.encoder.embeddings.tokens, model.encoder.embeddings.tokens
    with torch.no_grad():
        assert torch.equal(tokens(torch.arange(size)), known(torch.arange(size)))
        vector = tokens(torch.tensor([size]))[0]
        if embedding == "char_cnn":
            assert sum(p.numel() for p in tokens.parameters()) == sum(p.numel() for p in known.parameters())
            alone = char_cnn_of(known, b" parisian")
        else:
            rows = [hashed(ngram) % 400 for ngram in ngrams("parisian", 3, 6, end="")]
            alone = known.ngrams.weight[rows].sum(0) / (len(rows) + 1)
    assert torch.allclose(vector, alone, atol=1e-6) and bool(vector.abs().sum() > 0)
    head = larger.network.heads["masked_lm"]
    assert torch.equal(head.vocabulary[size], model.network.heads["masked_lm"].vocabulary[pieces].mean(0))


def char_cnn_of(part, surface):
    """What a char_cnn makes of a token that no vocabulary has."""
    told = copy.deepcopy(part)
    written = [BEGIN, *surface, END]
    told.spell(torch.tensor([written + [EMPTY] * (LONGEST - len(written))]), EMPTY)
    return told(torch.tensor([0]))[0]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({}, "is a run already; a Hugging Face folder would fit, --to hf, or --add-tokens to enlarge it"),
        ({"add_tokens": ["the"]}, "all of them are tokens already"),
    ],
)
def test_a_run_that_is_not_enlarged_is_refused(tmp_path, tokenizer, settings, message):
    fresh_run(tmp_path / "run", tokenizer)
    with pytest.raises(UserError, match=message):
        Convert(src=str(tmp_path / "run"), to="unmask", out=tmp_path / "out", **settings).run()
    assert not (tmp_path / "out").exists()
