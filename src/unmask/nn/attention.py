"""The one door to attention.

T tokens, S tokens of another batch, N sequences, H heads, W width of a head, R rows of length L. Routes lead through
it: ``rows`` for processors, ``varlen`` for CUDA, ``remembered`` where keys were kept, and ``dense``, the plain
reference that the others are tested against. Where a key's distance is asked for by content, as in Transformer-XL,
``attend_relative`` and its reference ``relative_dense``: Q tokens ask, K keys are seen, in rows of B and of L. Where
buckets say who is seen, as in Reformer, `nn.chunked` is the door.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unmask.nn.dropout import drop
from unmask.nn.embeddings import look_up
from unmask.nn.layout import Grid, Layout
from unmask.nn.local import is_shorter
from unmask.nn.past import Past
from unmask.nn.positions import Added
from unmask.nn.sight import Sight


@dataclass(frozen=True)
class Manner:
    """How scores come about, and who is seen."""

    window: int | None = None  # the full width of local attention: a token sees `window // 2` to either side
    causal: bool = False  # a token sees none behind itself
    scale: float | None = None  # of the scores; None: 1 / sqrt(W)
    dropout: float = 0.0  # of the probabilities; 0 when not training

    def sees_all(self, layout: Layout) -> bool:
        """Whether each token sees all of its sequence."""
        near = self.window is None or layout.max_length <= self.window // 2 + 1
        return near and not self.causal and layout.order is None and layout.globals is None

    def scaled(self, width: int) -> float:
        """What scores are multiplied by."""
        return width**-0.5 if self.scale is None else self.scale


PLAIN = Manner()


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    manner: Manner = PLAIN,
    keys: Layout | None = None,
    distances: Added | None = None,
) -> Tensor:
    """Attention inside each sequence, to what its order lets a token see; q and the result are [T, H, W].

    Args:
        q: of the tokens that look.
        k: of those they look at, [T, H, W]; [S, H, W] where ``keys`` is given.
        v: alike.
        layout: of the queries.
        manner: how.
        keys: the layout of the keys where these are of another batch: sequence n looks at all of sequence n there.
        distances: what is added to the scores.
    """
    plain = layout.order is None and layout.globals is None
    if q.is_cuda and not manner.dropout and distances is None and (keys is not None or plain):
        return varlen(q, k, v, layout, manner, keys)
    if manner.window is not None and keys is None and distances is None and is_shorter(layout, manner.window):
        return blocks(q, k, v, layout, manner)
    return rows(q, k, v, layout, manner, keys, distances)


def rows(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    manner: Manner = PLAIN,
    keys: Layout | None = None,
    distances: Added | None = None,
) -> Tensor:
    """Sequences side by side in rows, a mask between them.

    Plain products and a softmax: torch's fused kernel for processors is slower than these in training, in bfloat16 and
    with dropout above all. The softmax computes in float32 whatever it is given.
    """
    heads, width = q.shape[1:]
    if keys is None:
        behind, barrier = layout, layout.barrier(manner.window, q.dtype, manner.causal)
    else:
        pair = layout.beside(keys)
        layout, behind, barrier = pair.queries, pair.keys, pair.barrier(q.dtype)
    q, k, v = (
        x.to_rows(values).transpose(1, 2).reshape(-1, x.row_length, width)
        for x, values in ((layout, q), (behind, k), (behind, v))
    )
    q = q * manner.scaled(width)
    scores = q @ k.transpose(1, 2)  # [R*H, L, L]
    of_heads = scores.view(layout.rows, heads, *scores.shape[1:])
    if barrier is not None:
        of_heads.add_(barrier[:, None])
    if distances is not None:
        of_heads.add_(distances.rows(*(x.view(layout.rows, heads, -1, width) for x in (q, k))))
    mixed = drop(scores.softmax(-1), manner.dropout) @ v
    return layout.from_rows(mixed.view(layout.rows, heads, -1, width).transpose(1, 2))


def blocks(q: Tensor, k: Tensor, v: Tensor, layout: Layout, manner: Manner) -> Tensor:
    """Blocks of queries beside the keys they can reach, for local attention. Has no other keys and no distances."""
    assert manner.window is not None
    band = layout.band(manner.window, q.dtype, manner.causal)
    q, k, v = (
        _laid(x, index) for x, index in ((q * manner.scaled(q.shape[2]), band.queries), (k, band.keys), (v, band.keys))
    )
    scores = (q @ k.transpose(2, 3)).add_(band.barrier)
    mixed = drop(scores.softmax(-1), manner.dropout) @ v
    return mixed.flatten(1, 2).transpose(0, 1)[: len(layout.places)]


def _laid(x_THW: Tensor, index: Tensor) -> Tensor:
    """[H, *index, W]. A global token lies in many places, whose gradients `look_up` adds in float32."""
    count, heads, width = x_THW.shape
    places = index.flatten() + count * torch.arange(heads, device=index.device)[:, None]
    return look_up(x_THW.transpose(0, 1).reshape(-1, width), places.flatten()).view(heads, *index.shape, width)


def varlen(
    q: Tensor, k: Tensor, v: Tensor, layout: Layout, manner: Manner = PLAIN, keys: Layout | None = None
) -> Tensor:
    """CUDA's kernel for sequences of different lengths. Has no dropout, no order, no global tokens and no distances."""
    from torch.nn.attention.varlen import varlen_attn

    side, behind = -1 if manner.window is None else manner.window // 2, keys or layout
    mixed = varlen_attn(
        q, k, v, layout.cu_seqlens, behind.cu_seqlens, layout.max_length, behind.max_length,
        scale=manner.scaled(q.shape[-1]), window_size=(side, 0 if manner.causal else side),
    )  # fmt: skip
    assert isinstance(mixed, Tensor)  # it returns more only when asked
    return mixed


def remembered(q: Tensor, past: Past, manner: Manner = PLAIN, distances: Added | None = None) -> Tensor:
    """New tokens [N*Q, H, W], Q side by side for each sequence that was kept, and each sees what was kept of it.

    Q is more than 1 only where the keys are another batch's: of its own sequence a token comes after the one before.
    """
    heads, width = q.shape[1:]
    asked = q.view(len(past.lengths), -1, heads, width).transpose(1, 2) * manner.scaled(width)  # [N, H, Q, W]
    scores = asked @ past.keys.transpose(2, 3)  # [N, H, Q, L]
    place, last = torch.arange(past.keys.shape[2], device=q.device), past.lengths[:, None] - 1
    hidden = place > last
    if manner.window is not None:
        hidden |= place < last - manner.window // 2
    scores = scores.masked_fill(hidden[:, None, None], -math.inf)
    if distances is not None:
        scores = scores + distances.between(asked, past.keys, last, place)
    return (scores.softmax(-1) @ past.values).transpose(1, 2).reshape(q.shape)


def dense(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    manner: Manner = PLAIN,
    keys: Layout | None = None,
    distances: Added | None = None,
) -> Tensor:
    """All T×T scores at once; what the definition says, at the cost it has."""
    behind = layout if keys is None else keys
    asks, place = (torch.arange(len(x), device=q.device) for x in (q, k))
    mask = layout.sequence()[:, None] == behind.sequence()[None, :]
    if manner.window is not None:
        near = (asks[:, None] - place[None, :]).abs() <= manner.window // 2
        mask &= near if layout.globals is None else near | layout.globals.mask
    if manner.causal:
        mask &= asks[:, None] >= place[None, :]
    if keys is None and layout.order is not None:
        mask &= layout.order[:, None] >= layout.order[None, :]
    q = q * manner.scaled(q.shape[-1])
    scores = torch.einsum("qhw,khw->hqk", q, k)
    if distances is not None:
        one, other = (x.transpose(0, 1)[None] for x in (q, k))
        scores = scores + distances.between(one, other, asks[None], place)[0]
    return torch.einsum("hqk,khw->qhw", scores.masked_fill(~mask, -math.inf).softmax(-1), v)


@dataclass
class Relative:
    """What a score is made of besides q·k (Dai 2019, 1901.02860, §3.3; segments: Yang 2019, 1906.08237, §2.5).

    A key at distance d has the score ((q + content)·k + (q + position)·distances[d] + (q + segment)·segments[s]) / √W;
    s is 0 for a key of the same text, 1 for one of the other.
    """

    content: Tensor  # [H, W]
    position: Tensor  # [H, W]
    segment: Tensor | None  # [H, W]; None: segments are not looked at
    distances: Tensor  # [2L, H, W] of the distances from L down to 1 - L
    segments: Tensor | None  # [2, H, W]


def attend_relative(q: Tensor, k: Tensor, v: Tensor, relative: Relative, sight: Sight, dropout: float = 0.0) -> Tensor:
    """Attention by content, distance and segment to what each may see; q and the result [Q, H, W], k, v [K, H, W].

    Rows of those that ask beside rows of keys, heads before rows. Each that asks must see one key at least.
    """
    asking, keys, scale = sight.asking_rows, sight.key_rows, q.shape[-1] ** -0.5
    q, k, v = q * scale, _heads_first(k, keys), _heads_first(v, keys)  # [H, R, L, W]
    far = _heads_first(q + relative.position * scale, asking).flatten(1, 2) @ relative.distances.permute(1, 2, 0)
    far = far.view(len(far), asking.rows, asking.row_length, len(relative.distances))  # [H, R, B, 2L]
    far = _shifted(far) if sight.straight else _Picked.apply(far, sight.distances)  # type: ignore[no-untyped-call]
    near = _heads_first(q + relative.content * scale, asking).flatten(0, 1)
    scores = torch.baddbmm(far.flatten(0, 1), near, k.flatten(0, 1).transpose(1, 2)).view(far.shape)
    if sight.parted is not None and relative.segment is not None and relative.segments is not None:
        # what the same text adds to all keys alike the softmax would take away again
        other = torch.einsum("qhw,hw->qh", q + relative.segment * scale, relative.segments[1] - relative.segments[0])
        scores = scores + asking.to_rows(other).permute(2, 0, 1)[..., None] * sight.parted.to(q.dtype)
    mixed = drop(scores.add_(sight.barrier).softmax(-1), dropout) @ v
    return asking.from_rows(mixed.permute(1, 2, 0, 3))


def _heads_first(x: Tensor, grid: Grid) -> Tensor:
    """[T, H, W] to [H, R, L, W]."""
    return grid.to_rows(x).permute(2, 0, 1, 3).contiguous()


def _shifted(far: Tensor) -> Tensor:
    """[H, R, L, 2L] by distance to [H, R, L, L] by key, where the b-th asks from place b: a view (Dai 2019, app. B).

    Row i's distance (L - i) + j is number i·2L + L - i + j. Skip L numbers and let rows be one shorter, and it is
    column j of row i.
    """
    heads, rows, length, distances = far.shape
    skipped = far.reshape(heads, rows, distances, length)[:, :, 1:]
    return skipped.reshape(heads, rows, length, distances - 1)[..., :length]


class _Picked(torch.autograd.Function):
    """[H, R, B, 2L] by distance to [H, R, B, L] by key. No two keys of a row have one distance: gradients only move."""

    @staticmethod
    def forward(ctx: Any, far: Tensor, distances: Tensor) -> Tensor:
        ctx.save_for_backward(distances)
        ctx.shape = far.shape
        return far.gather(3, distances.expand(len(far), *distances.shape))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (distances,) = ctx.saved_tensors
        return gradient.new_zeros(ctx.shape).scatter_(3, distances.expand(gradient.shape), gradient), None


def relative_dense(q: Tensor, k: Tensor, v: Tensor, relative: Relative, sight: Sight) -> Tensor:
    """All Q×K scores at once, from the tokens' places and not from rows; what the definition says."""
    asking, keys = sight.asking, sight.keys
    seen = (asking.sequence[:, None] == keys.sequence) & (asking.order[:, None] >= keys.order)
    distance = (asking.position[:, None] - keys.position).masked_fill(~seen, 0)
    by_distance = relative.distances[len(relative.distances) // 2 - distance]  # [Q, K, H, W]
    scores = torch.einsum("qhw,khw->hqk", q + relative.content, k)
    scores = scores + torch.einsum("qhw,qkhw->hqk", q + relative.position, by_distance)
    own, segments = relative.segment, relative.segments
    if own is not None and segments is not None and asking.segment is not None and keys.segment is not None:
        by_segment = segments[(asking.segment[:, None] != keys.segment).long()]
        scores = scores + torch.einsum("qhw,qkhw->hqk", q + own, by_segment)
    scores = (scores * q.shape[-1] ** -0.5).masked_fill(~seen, -math.inf)
    return torch.einsum("hqk,khw->qhw", scores.softmax(-1), v)


def remembered_relative(q: Tensor, past: Past, relative: Relative) -> Tensor:
    """One new token [N, H, W] of each sequence that was kept, which sees all that was kept of it, itself included.

    Distances are those of a row of as many places as are kept.
    """
    last, place = past.lengths[:, None] - 1, torch.arange(past.keys.shape[2], device=q.device)
    near = torch.einsum("nhw,nhlw->nhl", q + relative.content, past.keys)
    far = torch.einsum("nhw,phw->nhp", q + relative.position, relative.distances)
    number = len(relative.distances) // 2 - last + place  # [N, L] the row of each key's distance
    far = far.gather(2, number[:, None].expand(near.shape))
    scores = ((near + far) * q.shape[-1] ** -0.5).masked_fill((place > last)[:, None], -math.inf)
    return torch.einsum("nhl,nhlw->nhw", scores.softmax(-1), past.values)
