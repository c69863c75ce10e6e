"""Tree-LSTMs: beside the paper's equations node by node, beside torch's LSTM, and whatever batch a tree sits in."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from unmask.models.shape import Shape
from unmask.models.tree_lstm import Binary, ChildSum, Forest, NodeHead, TreeLSTM, levels

E, P = 6, 5
CELLS = {"child_sum": ChildSum, "binary": Binary}
each = pytest.mark.parametrize("kind", CELLS)


def tree_of(chance, most, depth=0, inner=0.3):
    """A node: whether it reads a word, and its children; some nodes have both."""
    count = 0 if depth > 6 else chance.choices(range(most + 1), [2, *[2] * most])[0]
    children = [tree_of(chance, most, depth + 1, inner) for _ in range(count)]
    return (not children or chance.random() < inner, children)


def forest_of(trees):
    """Nodes as their brackets open; words in that order too."""
    parents, words = [], []

    def put(node, above):
        reads, children = node
        number = len(parents)
        parents.append(above)
        words.append(sum(word >= 0 for word in words) if reads else -1)
        for child in children:
            put(child, number)

    for tree in trees:
        put(tree, -1)
    return Forest(np.array(parents), np.array(words))


def by_the_paper(model, trees, x_WE):
    """Equations 2 to 8, and 9 to 14, for one node after the other; the gates by their names."""
    names = ("i", "o", "u", "f")
    W, b = (dict(zip(names, part.chunk(4), strict=True)) for part in (model.inputs.weight, model.inputs.bias))
    U = dict(zip(names, model.cell.gates.weight.chunk(3), strict=False))
    Uf = model.cell.forget.weight
    found, left = [], list(x_WE)

    def say(node):
        reads, children = node
        place = len(found)
        found.append(None)
        x = left.pop(0) if reads else torch.zeros(E)
        below = [say(child) for child in children]
        if isinstance(model.cell, ChildSum):
            together = sum((h for h, _ in below), torch.zeros(P))
            heard = {name: U[name] @ together for name in "iou"}
            forget = [Uf @ h for h, _ in below]
        else:
            heard = {
                name: sum((U[name][:, n * P : (n + 1) * P] @ h for n, (h, _) in enumerate(below)), torch.zeros(P))
                for name in "iou"
            }
            forget = [
                sum(Uf[k * P : (k + 1) * P, n * P : (n + 1) * P] @ h for n, (h, _) in enumerate(below))
                for k in range(len(below))
            ]
        i, o = (torch.sigmoid(W[name] @ x + heard[name] + b[name]) for name in "io")
        u = torch.tanh(W["u"] @ x + heard["u"] + b["u"])
        c = i * u
        for said, (_, old) in zip(forget, below, strict=True):
            c = c + torch.sigmoid(W["f"] @ x + said + b["f"]) * old
        found[place] = o * torch.tanh(c)
        return found[place], c

    for tree in trees:
        say(tree)
    return torch.stack(found)


def made(kind, count=9, seed=0):
    torch.manual_seed(seed)
    chance = random.Random(seed)
    trees = [tree_of(chance, 2 if kind == "binary" else 4) for _ in range(count)]
    forest = forest_of(trees)
    model = TreeLSTM(E, P, CELLS[kind](P))
    nn.init.normal_(model.inputs.bias)  # so that no gate's is like another's
    return model, trees, forest, torch.randn(int(forest.words.max()) + 1, E, requires_grad=True)


@each
@pytest.mark.parametrize("seed", range(3))
def test_states_and_gradients_are_those_of_the_papers_equations(kind, seed):
    model, trees, forest, x_WE = made(kind, seed=seed)
    assert len(forest.parents) > 20 and (np.bincount(forest.parents[forest.parents >= 0]) == 2).any()
    ours, theirs = model(x_WE, forest), by_the_paper(model, trees, x_WE)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    what = [x_WE, *model.parameters()]
    weighed = torch.randn_like(ours)
    pairs = zip(*(torch.autograd.grad((x * weighed).sum(), what) for x in (ours, theirs)), strict=True)
    for mine, other in pairs:
        assert other.norm() > 0 and (mine - other).norm() <= 1e-5 * other.norm()


@each
def test_a_trees_states_do_not_change_with_the_batch_it_sits_in(kind):
    model, trees, forest, x_WE = made(kind)
    together = model(x_WE, forest)
    nodes, words = 0, 0
    for tree in trees:
        own = forest_of([tree])
        count = int(own.words.max()) + 1
        alone = model(x_WE[words : words + count], own)
        torch.testing.assert_close(together[nodes : nodes + len(own.parents)], alone, rtol=1e-6, atol=1e-7)
        nodes, words = nodes + len(own.parents), words + count
    assert (nodes, words) == (len(forest.parents), len(x_WE))


@each
def test_only_a_binary_one_tells_left_from_right(kind):
    model, *_ = made(kind)
    left, right = (True, []), (False, [(True, []), (True, [])])
    x_WE = torch.randn(3, E)
    one = model(x_WE, forest_of([(False, [left, right])]))[0]
    turned = model(x_WE[[1, 2, 0]], forest_of([(False, [right, left])]))[0]
    assert torch.allclose(one, turned, rtol=1e-6, atol=1e-7) == (kind == "child_sum")


@each
def test_a_chain_of_single_children_is_an_lstm(kind):
    torch.manual_seed(0)
    lengths = [4, 1, 7]
    model, lstm = TreeLSTM(E, P, CELLS[kind](P)), nn.LSTM(E, P)
    nn.init.normal_(model.inputs.bias)
    with torch.no_grad():  # torch's gates stand as i, f, u, o, and it has two biases
        # of a binary one, what the only child is heard through
        heard = (*model.cell.gates.weight[:, :P].chunk(3), model.cell.forget.weight[:P, :P])
        parts = {"weight_ih": model.inputs.weight.chunk(4), "bias_ih": model.inputs.bias.chunk(4), "weight_hh": heard}
        for name, (i, o, u, f) in parts.items():
            lstm.get_parameter(f"{name}_l0").copy_(torch.cat([i, f, u, o]))
        lstm.bias_hh_l0.zero_()
    x_WE = torch.randn(sum(lengths), E, requires_grad=True)
    ends = np.cumsum(lengths)
    forest = Forest.of_chains(ends - lengths, ends - 1)
    ours = torch.cat([states.flip(0) for states in model(x_WE, forest).split(lengths)])
    theirs = torch.cat([lstm(x)[0] for x in x_WE.split(lengths)])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    weighed = torch.randn_like(ours)
    mine, other = (torch.autograd.grad((x * weighed).sum(), x_WE)[0] for x in (ours, theirs))
    torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def test_levels_hold_all_nodes_once_and_their_children_in_the_level_before():
    _, _, forest, _ = made("child_sum", 20)
    before, seen = np.zeros(0, np.int64), []
    for level in levels(forest):
        assert np.array_equal(level.nodes[level.above], forest.parents[before])
        for node in level.nodes:
            children = np.flatnonzero(forest.parents == node)
            here = forest.parents[before] == node
            assert np.array_equal(before[here], children) and level.rank[here].tolist() == list(range(len(children)))
        seen += level.nodes.tolist()
        before = level.nodes
    assert sorted(seen) == list(range(len(forest.parents))) and (forest.parents[before] == -1).all()


def test_bfloat16_adds_up_in_float32():
    model, _, forest, x_WE = made("binary", 30)
    for weight in model.parameters():
        weight.data = weight.data.bfloat16().float()
    exact = model(x_WE.bfloat16().float(), forest)
    narrow = model.bfloat16()(x_WE.bfloat16(), forest)
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow, exact.bfloat16(), rtol=0, atol=0)


SPANS = torch.tensor(
    [[1, 6], [1, 3], [1, 2], [3, 3], [4, 6], [8, 9], [8, 8], [9, 9]]
)  # of two texts; a word of two tokens
WORDS = [(1, 2), (3, 3), (4, 6), (8, 8), (9, 9)]


def head(composition):
    torch.manual_seed(0)
    shape = Shape(width=8, layers=1, heads=1)
    return NodeHead(shape, 3, composition, memory=4, dropout=0.5).eval()


@pytest.mark.parametrize("composition", ["child_sum", "binary"])
def test_a_head_composes_the_means_of_its_words_tokens(composition):
    made, x_TD = head(composition), torch.randn(10, 8)
    words = torch.stack([x_TD[a : b + 1].mean(0) for a, b in WORDS])
    forest = Forest(np.array([-1, 0, 1, 1, 0, -1, 5, 5]), np.array([-1, -1, 0, 1, 2, -1, 3, 4]))
    torch.testing.assert_close(made.over_nodes(x_TD, SPANS), made(made.tree(words, forest)))


def test_without_the_tree_a_node_is_its_words_from_the_left_or_their_tokens_mean():
    x_TD = torch.randn(10, 8)
    mean, lstm = head("mean"), head("lstm")
    means = torch.stack([x_TD[a : b + 1].mean(0) for a, b in SPANS.tolist()])
    torch.testing.assert_close(mean.over_nodes(x_TD, SPANS), mean(torch.tanh(mean.dense(means))))
    said = lstm.over_nodes(x_TD, SPANS)
    for k, (begin, end) in enumerate(SPANS.tolist()):
        words = [x_TD[a : b + 1].mean(0) for a, b in WORDS if begin <= a and b <= end]
        chain = Forest(np.arange(len(words)) - 1, np.arange(len(words))[::-1].copy())
        torch.testing.assert_close(said[k], lstm(lstm.tree(torch.stack(words), chain)[:1])[0])
