"""How many weights a model of a shape has, counted without making it. Reads without torch."""

from __future__ import annotations

from unmask.models.pieces import RELATIVE
from unmask.models.reformer_parts import ReformerParts
from unmask.models.shape import BUCKETS, HIGHWAYS, LETTER_WIDTH, SPAN, Shape
from unmask.text.tokens.spelling import LETTERS


def parameters(shape: Shape) -> int:
    """How many numbers the backbone holds, heads not counted."""
    if shape.family == "gru":
        return _gru(shape)
    if shape.family in RELATIVE:
        return _by_distance(shape)
    if shape.flow == "elmo":
        return of_tokens(shape) + _elmo(shape)
    if shape.family == "mobilebert":
        return of_tokens(shape) + _mobilebert(shape)
    if shape.reformer is not None:
        return of_tokens(shape) + _reformer(shape, shape.reformer)
    stacks = [_stack(shape, shape.layers, sublayers=2)]
    if shape.decoder_layers:
        stacks.append(_stack(shape, shape.decoder_layers, sublayers=3))
    return of_tokens(shape) + shape.token_width * shape.segments + _projection(shape) + sum(stacks)


def _projection(shape: Shape) -> int:
    """From the embeddings to a model of another width, and the norms that differ for it."""
    if shape.token_width == shape.width:
        return 0
    if shape.widens_first:
        return shape.width * shape.token_width
    norm = _norm(shape) // shape.width
    # the embeddings' norm has their width, and stands in no other's place
    norms = norm * (shape.token_width if shape.norm == "before" else shape.token_width - shape.width)
    return shape.width * (shape.token_width + shape.bias) + shape.embedding_norm * norms


def _stack(shape: Shape, layers: int, sublayers: int) -> int:
    """An encoder, or with a third sublayer a decoder, without the vocabulary."""
    across, inner = shape.heads * shape.width_per_head, shape.feed_forward * (2 if shape.gated else 1)
    attention = 4 * shape.width * across + (3 * across + shape.width if shape.bias else 0)
    if shape.family == "longformer":
        attention += 3 * across * (shape.width + shape.bias)
    feed_forward = shape.width * (inner + shape.feed_forward) + (inner + shape.width if shape.bias else 0)
    attends, feeds = (1 if shape.layer_sharing in (part, "all") else layers for part in ("attention", "feed_forward"))
    # the embeddings' norm, where there is one, stands in the place of the first attention's in a pre-norm model
    in_place = shape.embedding_norm * (shape.norm == "before") * (attends == layers)
    norms = attends * (sublayers - 1) + feeds - in_place + shape.embedding_norm + (shape.norm == "before")
    in_all = attends * (sublayers - 1) * attention + feeds * feed_forward
    return _places(shape) + in_all + norms * _norm(shape)


def _norm(shape: Shape) -> int:
    return shape.width * (2 if shape.bias and shape.norm_kind == "layer" else 1)


def _places(shape: Shape) -> int:
    places = {
        "learned": shape.max_length * shape.token_width,
        "buckets": BUCKETS * shape.heads,
        "disentangled": 2 * SPAN * shape.width + _norm(shape),
    }
    return places.get(shape.positions, 0)


def of_tokens(shape: Shape) -> int:
    """How many of them make the vectors of tokens."""
    if shape.embedding == "subword":
        return shape.token_width * shape.vocab_size
    if shape.embedding == "fasttext_ngrams":
        return shape.token_width * (shape.vocab_size + shape.ngram_buckets)
    if shape.embedding == "glyph_cnn":
        return shape.token_width * shape.vocab_size + _glyphs(shape)
    convolutions = sum(count * (wide * LETTER_WIDTH + 1) for wide, count in shape.convolutions.items())
    highways = 2 * HIGHWAYS * shape.filters * (shape.filters + 1)
    return LETTERS * LETTER_WIDTH + convolutions + highways + shape.token_width * (shape.filters + 1)


def _mobilebert(shape: Shape) -> int:
    """Places, segments and norm as wide as the states, trigrams; each layer's ways in and out, and what is between."""
    wide, narrow, across = shape.width, shape.bottleneck or 0, shape.heads * shape.width_per_head
    norm = 2 if shape.norm_kind != "rms" else 1
    first = wide * (shape.max_length + shape.segments + 3 * shape.token_width + 1 + norm * shape.embedding_norm)
    ways = 2 * narrow * (wide + 1 + norm) + wide * (narrow + 1 + norm)
    attention = 2 * across * (narrow + 1) + across * (wide + 1) + narrow * (across + 1 + norm)
    feed_forward = shape.feed_forward * (narrow + 1) + narrow * (shape.feed_forward + 1 + norm)
    return first + shape.layers * (ways + attention + shape.feed_forwards * feed_forward)


def _glyphs(shape: Shape) -> int:
    """Three convolutions, in groups of eight and sixteen, and the layer that merges."""
    channels, fewer = shape.glyph_channels, shape.glyph_channels // 4
    convolutions = 26 * channels + fewer * (channels // 8 + 1) + channels * (fewer // 16 * 4 + 1)
    return convolutions + shape.token_width * (shape.token_width + channels + 1)


def _elmo(shape: Shape) -> int:
    one = shape.one_way
    if shape.family == "elmo":
        return 2 * shape.layers * shape.feed_forward * (9 * one.width + 8)
    shared = (one.norm == "before") + one.embedding_norm  # what stands before and behind both
    return 2 * _stack(one, one.layers, sublayers=2) - _places(one) - shared * _norm(one)


def _reformer(shape: Shape, parts: ReformerParts) -> int:
    """Of two streams one goes through each sublayer; queries are keys where tokens are sorted."""
    width, across, inner = shape.token_width, shape.heads * shape.width_per_head, shape.feed_forward
    places = shape.max_length * width
    if parts.axial is not None:
        places = sum(count * part for count, part in zip(parts.axial, parts.axial_widths(width), strict=True))
    sorting = sum(parts.kind(layer) == "lsh" for layer in range(shape.layers))
    feed_forward = 2 * width * inner + inner + width
    layers = shape.layers * (4 * width * across + feed_forward + 4 * width) - sorting * width * across
    return places + layers + 2 * shape.width


def _gru(shape: Shape) -> int:
    first, others = shape.token_width + shape.width + 2, 2 * (shape.width + 1)
    return shape.token_width * shape.vocab_size + 3 * shape.width * (first + (shape.layers - 1) * others)


def _by_distance(shape: Shape) -> int:
    """No positions and no norm beside the tokens; per layer a matrix for distances. XLNet has per layer vectors for
    content, distances and segments, and one that a query begins with; Transformer-XL two in all."""
    once, each = (1, 3 + shape.segments) if shape.family == "xlnet" else (2, 0)
    attention = shape.width * (5 * shape.width + each)
    feed_forward = 2 * shape.width * shape.feed_forward + shape.feed_forward + shape.width
    return shape.width * (shape.vocab_size + once) + shape.layers * (attention + feed_forward + 4 * shape.width)
