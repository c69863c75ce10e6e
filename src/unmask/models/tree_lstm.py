"""Memory that runs up trees: Tree-LSTMs (Tai 2015, 1503.00075), child-sum (§3.1) and N-ary (§3.2) with N = 2.

K nodes of all trees together, W words, T tokens, E width in, P width of the memory, n nodes of a level, m nodes of the
level below.

Nodes are composed level by level, the deepest first, over all trees at once. A level holds the nodes that stand equally
deep under their roots, so that whatever a node is made of stands in the level before, and no node is padded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.models.shape import Shape
from unmask.nn.task_heads import Head
from unmask.text.example import Array
from unmask.text.ranges import stretches


@dataclass(frozen=True)
class Forest:
    """Trees, one after the other, each in the order in which its nodes' brackets would open: the root is the first."""

    parents: Array  # [K] the node that each stands below; -1 for a root
    words: Array  # [K] the word that each reads; -1 for none

    @classmethod
    def of_spans(cls, first: Array, last: Array) -> Forest:
        """What spans [K] are nested like, in the order in which they open; those that hold no other read a word."""
        leaves = _leaves(first, last)
        return cls(_above(first, last), np.where(leaves, np.cumsum(leaves) - 1, -1))

    @classmethod
    def of_chains(cls, first: Array, last: Array) -> Forest:
        """Spans [K] of words as chains that are read from the left: span k's last word is its root, above the others.

        Nodes stand from each span's last word to its first, one span after the other.
        """
        sizes = last - first + 1
        ends = np.cumsum(sizes)
        begins = ends - sizes
        place = np.arange(ends[-1] if len(ends) else 0)
        parents = np.where(np.isin(place, begins), -1, place - 1)
        return cls(parents, np.repeat(last + begins, sizes) - place)

    @property
    def depths(self) -> Array:
        """[K] how many nodes stand above each."""
        depths, above = np.zeros(len(self.parents), np.int64), self.parents
        while (below := above >= 0).any():
            depths += below
            above = np.where(below, self.parents[above], -1)
        return depths


def _leaves(first: Array, last: Array) -> Array:
    """[K] bool: no other span stands in it, of nested ones that come as they open."""
    return np.append(first[1:] > last[:-1], True)


def _above(first: Array, last: Array) -> Array:
    """[K] the span that each stands in, of nested ones that come as they open; -1 for none."""
    parents: list[int] = []
    opened: list[tuple[int, int]] = []  # a span and its end
    for k, (begin, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        while opened and opened[-1][1] < begin:
            opened.pop()
        parents.append(opened[-1][0] if opened else -1)
        opened.append((k, end))
    return np.array(parents, np.int64)


@dataclass(frozen=True)
class Level:
    """Nodes that stand equally deep, and those right below them, which are all of the level before."""

    nodes: Array  # [n] their numbers
    above: Array  # [m] of each node of the level before, the place here of the one that it stands below
    rank: Array  # [m] and as which of its children, from 0


def levels(forest: Forest) -> Iterator[Level]:
    """The deepest level first."""
    depths = forest.depths
    place, below = np.zeros(len(depths), np.int64), np.zeros(0, np.int64)
    for depth in range(int(depths.max(initial=-1)), -1, -1):
        nodes = np.flatnonzero(depths == depth)
        place[nodes] = np.arange(len(nodes))
        above = place[forest.parents[below]]
        # siblings stand together: nodes come in the order of their parents
        begins = np.maximum.accumulate(np.where(np.diff(above, prepend=-1) != 0, np.arange(len(above)), 0))
        yield Level(nodes, above, np.arange(len(above)) - begins)
        below = nodes


class ChildSum(nn.Module):
    """A node hears the sum of its children's states, and forgets of each child by that child's own state (eqs. 2-8)."""

    arity = 1

    def __init__(self, memory: int):
        super().__init__()
        self.gates = nn.Linear(memory, 3 * memory, bias=False)  # U of the gates i and o and of the update u
        self.forget = nn.Linear(memory, memory, bias=False)  # U of f

    def heard(self, below_mP: Tensor, above: Tensor, rank: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Of children's states what their parents' gates i, o, u [n, 3P] and their own gate f [m, P] hear."""
        sums = below_mP.new_zeros(count, below_mP.shape[1]).index_add(0, above, below_mP)
        return F.linear(sums, self.gates.weight.float()), F.linear(below_mP, self.forget.weight.float())


class Binary(nn.Module):
    """A node hears its left and its right child through matrices of their own (eqs. 9-14); either may be absent."""

    arity = 2

    def __init__(self, memory: int):
        super().__init__()
        self.gates = nn.Linear(2 * memory, 3 * memory, bias=False)
        self.forget = nn.Linear(2 * memory, 2 * memory, bias=False)  # from both children to the gates of both

    def heard(self, below_mP: Tensor, above: Tensor, rank: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The same of children in their places."""
        width, places = below_mP.shape[1], 2 * above + rank
        both = below_mP.new_zeros(2 * count, width).index_copy(0, places, below_mP).view(count, 2 * width)
        forget = F.linear(both, self.forget.weight.float()).view(2 * count, width)
        return F.linear(both, self.gates.weight.float()), forget.index_select(0, places)


class TreeLSTM(nn.Module):
    """Vectors of words to a state for every node of their trees.

    Args:
        width: E.
        memory: P.
        cell: how a node hears its children.
    """

    def __init__(self, width: int, memory: int, cell: ChildSum | Binary):
        super().__init__()
        self.inputs = nn.Linear(width, 4 * memory)  # W and b of i, o, u and f
        self.cell = cell

    def forward(self, x_WE: Tensor, forest: Forest) -> Tensor:
        """Words [W, E] to states [K, P]; a node without a word reads zeros."""
        # as in other recurrences: a state is a long sum of small steps, too much for bfloat16
        weight, bias = self.inputs.weight.float(), self.inputs.bias.float()
        read = torch.from_numpy(np.flatnonzero(forest.words >= 0)).to(x_WE.device)
        words = torch.from_numpy(forest.words).to(x_WE.device).index_select(0, read)
        given = F.linear(x_WE.float(), weight).index_select(0, words)
        x_K4P = bias.expand(len(forest.words), -1).index_add(0, read, given)
        states, order = self._climb(x_K4P, forest)
        return states.index_select(0, order.argsort()).to(x_WE.dtype)

    def _climb(self, x_K4P: Tensor, forest: Forest) -> tuple[Tensor, Tensor]:
        """States [K, P] as they are computed, the deepest nodes first, and [K] which node each is of."""
        width = x_K4P.shape[1] // 4
        h, c = x_K4P.new_zeros(2, 0, width)
        states, order = [], []
        for level in levels(forest):
            nodes, above, rank = (torch.from_numpy(x).to(h.device) for x in (level.nodes, level.above, level.rank))
            x_n4P = x_K4P.index_select(0, nodes)
            gates, forget = self.cell.heard(h, above, rank, len(nodes))
            i, o, u = (x_n4P[:, : 3 * width] + gates).chunk(3, -1)
            kept = torch.sigmoid(x_n4P[:, 3 * width :].index_select(0, above) + forget) * c
            c = (torch.sigmoid(i) * torch.tanh(u)).index_add(0, above, kept)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
            order.append(nodes)
        return torch.cat(states), torch.cat(order)


class NodeHead(Head):
    """A choice among C labels for each node of given trees, from what composes the states of its words.

    Args:
        shape: the model's.
        labels: C.
        composition: ``child_sum`` or ``binary``, up the tree; ``lstm``, a node's words from the left, without the
            tree; ``mean``, of them, without their order, through dense and tanh (Iyyer 2015).
        memory: P.
        dropout: of what is chosen from.
    """

    def __init__(self, shape: Shape, labels: int, composition: str, memory: int, dropout: float):
        super().__init__(shape.model_copy(update={"width": memory, "dropout": dropout}), labels)
        self.width, self.composition = shape.width, composition
        cell = Binary if composition == "binary" else ChildSum  # on chains either is an LSTM
        self.tree = None if composition == "mean" else TreeLSTM(shape.width, memory, cell(memory))
        self.dense = nn.Linear(shape.width, memory) if composition == "mean" else None

    def over_nodes(self, x_TD: Tensor, spans_K2: Tensor) -> Tensor:
        """States [T, D] and the first and last token of each node, as brackets open, to logits [K, C]."""
        first, last = spans_K2.cpu().numpy().T
        if self.dense is not None:
            logits: Tensor = self(torch.tanh(self.dense(means(x_TD, first, last))))
            return logits
        assert self.tree is not None
        leaves = _leaves(first, last)
        forest, answers = self._forest(first, last, leaves)
        states = self.tree(means(x_TD, first[leaves], last[leaves]), forest)
        logits = self(states.index_select(0, torch.from_numpy(answers).to(states.device)))
        return logits

    def _forest(self, first: Array, last: Array, leaves: Array) -> tuple[Forest, Array]:
        """What is composed, and [K] which node of it says what each node is."""
        if self.composition != "lstm":
            return Forest.of_spans(first, last), np.arange(len(first))
        words = np.searchsorted(first[leaves], first), np.searchsorted(last[leaves], last)
        sizes = words[1] - words[0] + 1
        return Forest.of_chains(*words), np.cumsum(sizes) - sizes


def means(x_TD: Tensor, first: Array, last: Array) -> Tensor:
    """The mean state [K, D] from each first to each last token, added up in float32."""
    sizes = last - first + 1
    tokens, owners, counts = (
        torch.from_numpy(x).to(x_TD.device)
        for x in (stretches(first, sizes), np.repeat(np.arange(len(first)), sizes), sizes)
    )
    sums = x_TD.new_zeros(len(first), x_TD.shape[1], dtype=torch.float32)
    return (sums.index_add(0, owners, x_TD.index_select(0, tokens).float()) / counts[:, None]).to(x_TD.dtype)
