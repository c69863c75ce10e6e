"""Trees in brackets, read, refused by line, learned from and written again."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import unmask
from small_base import BAD, EXACT, GOOD, SHAPE, base, sentences, tokenizer
from unmask import calls
from unmask.commands.convert import Convert
from unmask.commands.evaluate import Evaluate
from unmask.commands.finetune import Finetune
from unmask.commands.predict import Predict
from unmask.errors import UserError
from unmask.models.backbone import backbone_of
from unmask.models.counting import of_tokens, parameters
from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.models.tree_lstm import Forest
from unmask.nn.batch import collate
from unmask.nn.network import Network
from unmask.presets import PRESETS
from unmask.tasks.base import HEAD
from unmask.tasks.label_trees import LabelTrees
from unmask.text.sources import trees

torch.set_num_threads(1)
LINE = "(3 (2 It) (4 (2 's) (4 (3 very) (4 good))))"

nodes = st.recursive(
    st.tuples(st.sampled_from("01234"), st.sampled_from(["it", "'s", "-LRB-", "8\xa01\\/2", "good"])),
    lambda below: st.tuples(st.sampled_from("01234"), st.lists(below, min_size=1, max_size=3)),
    max_leaves=12,
)


def written(node):
    label, below = node
    return f"({label} {below if isinstance(below, str) else ' '.join(map(written, below))})"


def test_a_tree_is_read():
    tree = trees.parse(LINE, "a:1")
    assert tree.words == ("It", "'s", "very", "good") and tree.labels == ("3", "2", "4", "2", "4", "3", "4")
    assert tree.parents == (-1, 0, 0, 2, 2, 4, 4)
    assert tree.spans == ((0, 3), (0, 0), (1, 3), (1, 1), (2, 3), (2, 2), (3, 3))
    assert trees.parse("(x (y -LRB-) (z 1\\/2))", "a:1").plain == ("(", "1/2")
    loose = trees.parse("( ((It)) (VP is) )", "a:1", labelled=False)
    assert loose.labels == ("", "", "", "VP") and loose.words == ("It", "is")


@given(nodes)
def test_a_tree_is_written_as_it_was_and_spans_tell_what_stands_in_what(node):
    text = written(node)
    tree = trees.parse(text, "a:1")
    assert tree.written(tree.labels) == text
    first, last = np.array(tree.spans).T
    forest = Forest.of_spans(first, last)
    assert tuple(forest.parents.tolist()) == tree.parents
    assert forest.words[forest.words >= 0].tolist() == list(range(len(tree.words)))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("(3 (2 It) (4 good)", "1 brackets are not closed"),
        ("(3 (2 It) (4 good)))", r"'\)' stands behind the tree's end; one tree a line"),
        (") (3 It)", r"'\)' closes a bracket that was not opened"),
        ("It is good", "'It' stands outside of all brackets"),
        ("(2 It) (2 is)", r"'\(' stands behind the tree's end"),
        ("(3 (2 It) good)", r"'good' stands beside brackets; a word has its own, such as \(2 good\)"),
        ("(2 New York)", "a bracket begins with '2 New York'; a label and one word would fit"),
        ("(2 x (2 y))", "a bracket begins with '2 x'; one label would fit"),
        ("()", "empty brackets"),
        ("(2 (2 It) ())", "empty brackets"),
        ("(2 (It) (2 is))", r"the label is missing in \(It\)"),
        ("((2 It) (2 is))", "the label is missing in a bracket that holds others"),
    ],
)
def test_a_line_that_is_no_tree_is_refused_by_its_number(tmp_path, line, told):
    (tmp_path / "a.txt").write_text(f"{LINE}\n\n{line}\n")
    with pytest.raises(UserError, match=rf"a\.txt:3: {told}") as found:
        trees.read(tmp_path / "a.txt")
    assert "\n" not in str(found.value)


def test_files_of_no_trees_and_labels_that_training_lacks_are_refused(tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(UserError, match=r"empty\.txt: holds no trees; one a line is wanted, a tree such as"):
        LabelTrees().fit(tmp_path / "empty.txt")
    (tmp_path / "a.txt").write_text(f"{LINE}\n")
    task, rows = LabelTrees().fit(tmp_path / "a.txt")
    assert task.labels == ("2", "3", "4") and rows.texts == [("It 's very good",)] and rows.labels[0][0] == "3"
    (tmp_path / "b.txt").write_text(f"{LINE}\n(7 (2 so) (2 it))\n")
    with pytest.raises(UserError, match=r"b\.txt:2: label '7' is not among those of training: 2, 3, 4"):
        task.read(tmp_path / "b.txt")
    assert task.read(tmp_path / "b.txt", labelled=False).labels is None
    (tmp_path / "c.txt").write_text("(2 (2 a) (2 b) (3 c))\n")
    with pytest.raises(UserError, match=r"c\.txt:1: 3 nodes stand below one, .*; child_sum would fit"):
        LabelTrees().fit(tmp_path / "c.txt")
    assert len(LabelTrees(composition="child_sum").fit(tmp_path / "c.txt")[1]) == 1


@pytest.mark.parametrize("odd", [None, 5, ["(2 It)"], b"(2 It)", "", "  ", "It", "(2 It"], ids=repr)
def test_whatever_is_no_tree_is_refused_by_its_number(odd):
    with pytest.raises(UserError, match=r"rows?[: ]2: ") as told:
        LabelTrees().rows([LINE, odd])
    assert "\n" not in str(told.value)


TOKENS = tokenizer()


def some(composition, count=8):
    task = LabelTrees(labels=("bad", "good"), length=48, composition=composition, memory=6)
    rows = task.rows([grown(words) for words in sentences(count)])
    return task, rows, task.encode(rows, TOKENS)


def test_an_answer_stands_at_the_first_and_last_token_of_a_node():
    _, rows, encoded = some("binary", 3)
    stream, index = encoded.data.stream, encoded.data.example.targets[HEAD].index
    for owner, node, (first, last) in zip(encoded.rows, encoded.words, index, strict=True):
        begin, end = rows.trees[owner].spans[node]
        said = TOKENS.decode(stream.tokens[first : last + 1])
        assert said == " ".join(rows.trees[owner].plain[begin : end + 1]), (owner, node)


@pytest.mark.parametrize("composition", ["binary", "child_sum", "lstm", "mean"])
@pytest.mark.parametrize("reads", ["states", "embeddings"])
def test_a_tree_is_labelled_as_if_it_were_alone(composition, reads):
    task, _, encoded = some(composition)
    shape = task.model_copy(update={"reads": reads}).model(Shape(**SHAPE, vocab_size=TOKENS.size))
    torch.manual_seed(0)
    network = Network(Encoder(shape), task.heads(shape)).eval()
    order = np.array([5, 0, 7, 2])
    with torch.no_grad():
        together = task.logits(network, collate(encoded.data.pick(order)))
        alone = [task.logits(network, collate(encoded.data.pick(np.array([n])))) for n in order]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-6)


def grown(words):
    """A sentence as a tree that branches to the right; whatever holds a word that says so is good or bad."""
    label = "good" if set(words) & set(GOOD) else "bad" if set(words) & set(BAD) else "none"
    if len(words) == 1:
        return f"({label} {words[0]})"
    return f"({label} {grown(words[:1])} {grown(words[1:])})"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    base(folder / "base")
    for split, count, seed in (("train", 120, 1), ("dev", 40, 2), ("test", 40, 3)):
        lines = [grown(words) for words in sentences(count, seed)]
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return folder


def finetune(home, out, **settings):
    files = {"train": home / "train.txt", "valid": home / "dev.txt", "test": home / "test.txt"}
    given = {"task": "label_trees", "task.memory": 16, "epochs": 15, "batch_size": 10, "lr": 3e-2, **files}
    return calls.call(Finetune, str(home / "base"), out=home / out, **{**given, **EXACT, **settings})


@pytest.fixture(scope="module")
def labelled(home):
    return finetune(home, "run", **{"task.reads": "embeddings"})


def test_a_tree_lstm_learns_predicts_and_tells(home, labelled, tmp_path, capsys):
    figures = labelled.result["figures"]
    assert labelled.result["main"] == "accuracy" and figures["accuracy"] > 0.9 and figures["node_accuracy"] > 0.9
    assert labelled.shape.layers == 0 and labelled.result["model"]["name"] == "vectors of tokens"
    assert labelled.result["data"]["train"]["nodes"] > 1000
    said = labelled.predict(["(? (? the) (? (? film) (? good)))", "((a) ((dull) (story)))"])
    assert [p.labels[0] for p in said] == ["good", "bad"] and len(said[1].labels) == len(said[1].probabilities) == 5
    assert sum(said[0].every.values()) == pytest.approx(1)
    scores = calls.call(Evaluate, home / "run", home / "test.txt", device="cpu", precision="float32")
    assert scores["node_accuracy"] == pytest.approx(figures["node_accuracy"])
    samples = json.loads((home / "run" / "samples.json").read_text())
    assert samples["predictions"][0]["truth"] in ("good", "bad") and sum(map(sum, samples["confusion"]["counts"])) == 40
    calls.call(Predict, home / "run", home / "test.txt", out=tmp_path / "said.txt", device="cpu")
    truth, found = (trees.read(path).trees for path in (home / "test.txt", tmp_path / "said.txt"))
    assert [tree.words for tree in truth] == [tree.words for tree in found]
    pairs = [pair for a, b in zip(truth, found, strict=True) for pair in zip(a.labels, b.labels, strict=True)]
    assert np.mean([a == b for a, b in pairs]) == pytest.approx(figures["node_accuracy"])
    calls.call(Predict, home / "run", home / "test.txt", out=tmp_path / "said.jsonl", device="cpu")
    first = json.loads((tmp_path / "said.jsonl").read_text().splitlines()[0])
    assert first["label"] == found[0].labels[0] and first["tree"] == found[0].written(found[0].labels)
    with pytest.raises(UserError, match=r"--out: \*\.tsv does not fit; \.txt, \.jsonl would"):
        calls.call(Predict, home / "run", home / "test.txt", out=tmp_path / "said.tsv", device="cpu")
    for page in ("report.html", "README.md"):
        assert (home / "run" / page).stat().st_size


@pytest.mark.parametrize("reads", ["states", "embeddings"])
def test_states_that_do_not_move_are_computed_once_and_the_base_is_found_again(home, reads, tmp_path):
    name = f"frozen-{reads}"
    model = finetune(home, name, tuning="frozen", epochs=1, **{"task.reads": reads})
    again = unmask.load(home / name, device="cpu")
    assert again.predict([LINE]) == model.predict([LINE])
    theirs = unmask.load(home / "base", device="cpu").network.backbone.state_dict()
    for key, tensor in again.network.backbone.state_dict().items():
        assert torch.equal(tensor, theirs[key])
    told = {
        "states": "Hugging Face has no class for the task label_trees",
        "embeddings": "holds vectors of tokens alone",
    }
    with pytest.raises(UserError, match=told[reads]):
        calls.call(Convert, str(home / name), to="hf", out=tmp_path / "theirs")


def test_a_tree_that_is_too_long_is_refused_and_never_cut(home, tmp_path):
    words = ["film"] * 40
    (tmp_path / "long.txt").write_text(f"{LINE}\n{grown([*words, 'good'])}\n".replace("3", "good").replace("2", "bad"))
    with pytest.raises(UserError, match=r"test\.txt:\d+: the tree has \d+ tokens, and --task\.length is 8; a tree can"):
        finetune(home, "short", train=home / "test.txt", **{"task.length": 8})


KINDS = ["bert", "modernbert", "gpt2", "albert", "electra", "xlnet", "transformer-xl", "gru", "elmo", "longformer"]


@pytest.mark.parametrize("kind", [*KINDS, "fasttext_ngrams"])
def test_whatever_makes_vectors_of_tokens_is_a_model_without_the_rest(kind):
    preset = PRESETS["bert-tiny" if kind == "fasttext_ngrams" else f"{kind}-tiny"].model_dump()
    shape = Shape(
        **preset | {"vocab_size": 50} | ({"embedding": kind, "tied": False} if kind == "fasttext_ngrams" else {})
    )
    whole, alone = backbone_of(shape), backbone_of(shape.static)
    theirs = {name: tensor for name, tensor in whole.state_dict().items() if name.startswith("embeddings.tokens.")}
    assert theirs and {n: t.shape for n, t in theirs.items()} == {n: t.shape for n, t in alone.state_dict().items()}
    assert sum(p.numel() for p in alone.parameters()) == parameters(shape.static) == of_tokens(shape)


def test_layers_0_is_a_model_of_vectors_alone():
    static = Shape(**SHAPE, vocab_size=TOKENS.size).static
    assert static.layers == 0 and sum(p.numel() for p in Encoder(static).parameters()) == 32 * TOKENS.size
    with pytest.raises(ValueError, match="layers 0 leaves vectors of tokens alone; 1 or more would fit"):
        Shape(layers=0)
