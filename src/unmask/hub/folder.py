"""Models as Hugging Face folders: ``config.json``, ``model.safetensors`` (or shards), the tokenizer's files."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unmask.disk import whole_folder, write_file
from unmask.errors import UserError, found
from unmask.hub.families import FAMILIES, GONE
from unmask.hub.family import Head
from unmask.hub.names import modern, numberless, theirs, to_ours, to_theirs
from unmask.hub.shapes import padding, read_shape, write_shape
from unmask.hub.stored import stored_tensors
from unmask.models.backbone import backbone_of
from unmask.models.shape import Shape
from unmask.nn.network import Network
from unmask.training import weights

if TYPE_CHECKING:
    from unmask.tasks.base import Task
    from unmask.text.tokens.tokenizer import Tokenizer

KINDS = {"heads": "head", "companions": "backbone"}
EMBEDDINGS = "backbone.embeddings.tokens.weight"


@dataclass
class Found:
    """What a Hugging Face folder holds, in our names."""

    path: Path  # the file the tensors were in
    shape: Shape
    tensors: dict[str, Tensor]  # "backbone.…" and "heads.…", float32
    heads: list[str]
    fates: dict[str, str] = field(default_factory=dict)  # of their tensors: mapped, tied, missing or unused
    begins: int | None = None  # the token that a decoder is given first
    pad: int | None = None  # the padding's id, where the folder's settings say it
    notes: list[str] = field(default_factory=list)  # what is absent, left out or changed, a line each


def read(folder: Path, allow_missing: Collection[str] | None = None, pickled: bool = False) -> Found:
    """Read a folder of one of the `FAMILIES`. Heads that are not whole there are not made up.

    Args:
        folder: what `save_pretrained` wrote.
        allow_missing: heads that are left out where something of them is missing; where this is given, others that
            the folder says it has must be whole.
        pickled: whether a ``pytorch_model.bin`` may be read, of which only numbers are.

    Raises:
        UserError: Names the file and the setting or tensor that does not fit.
    """
    shape = read_shape(config := weights.read_json(folder / "config.json"), folder / "config.json")
    path, stored = stored_tensors(folder, pickled)
    if shape.layers > len(stored):
        raise UserError(f"{path}: holds too few tensors for the {shape.layers} layers of its config.json")
    family, names = FAMILIES[shape.family], modern(shape.family, list(stored))
    _refuse_twice(path, names)
    tensors = {names[name]: tensor for name, tensor in stored.items() if numberless(names[name]) not in family.buffers}
    tensors = {name: tensor for name, tensor in tensors.items() if name not in family.idle or bool(tensor.any())}
    held = [*tensors]
    shape = _settle_vocabulary(path, shape, tensors, bool(config.get("decoder_bias", True)))
    heads = [name for name, head in family.heads.items() if _there(shape, head, tensors)]
    lacking = {} if allow_missing is None else _lacking(path, shape, config, tensors, heads, allow_missing)
    heads = [name for name in heads if name not in lacking]
    sizes, pad = _sizes(shape, heads), padding(config, family, folder / "config.json")
    left = _left_out(path, shape.family, tensors, their_sizes := _their_sizes(shape, sizes, pad))
    weights.check(path, {name: tensor for name, tensor in tensors.items() if name not in left}, their_sizes)
    ours = to_ours(shape.family, tensors, list(sizes), pad)
    # what is not kept and no buffer was a second copy
    kept = {name: "unused" if name in left else "mapped" if name in tensors else "tied" for name in held}
    fates = {name: kept.get(now, "unused") for name, now in names.items()}
    fates |= {name: "missing" for lost in lacking.values() for name in lost}
    called = {now: name for name, now in names.items()}
    begins = _begins(folder / "config.json", shape, config)
    used = [tensor for name, tensor in tensors.items() if name not in left]
    notes = _notes(folder, path, shape, heads, lacking, [called[name] for name in left], used)
    floats = {name: tensor.float() for name, tensor in ours.items()}
    return Found(path, shape, floats, heads, fates, begins, config.get("pad_token_id"), notes)


def _begins(path: Path, shape: Shape, config: Mapping[str, Any]) -> int | None:
    """The token that a decoder is given first, if they say one."""
    first = config.get("decoder_start_token_id") if shape.decoder_layers else None
    if first is not None and (not isinstance(first, int) or not 0 <= first < shape.vocab_size):
        fits = f"a token's id below {shape.vocab_size} would fit"
        raise UserError(f"{path}: decoder_start_token_id {found(first)}: {fits}")
    return first


def _notes(
    folder: Path,
    path: Path,
    shape: Shape,
    heads: list[str],
    lacking: Mapping[str, list[str]],
    left: list[str],
    used: list[Tensor],
) -> list[str]:
    """What is absent, left out or changed."""
    notes = [f"left out: the {head} head, of which {', '.join(lost)} is missing" for head, lost in lacking.items()]
    absent = [head for head in heads_of(shape) if head not in (*heads, *lacking)]
    notes += [f"no {head} head: {folder} holds none" for head in absent]
    notes += [f"left out of {path.name}: {', '.join(left)}"] if left else []
    stored_as = {str(tensor.dtype)[6:] for tensor in used} - {"float32"}
    return notes + ([f"stored as {', '.join(sorted(stored_as))}, read as float32"] if stored_as else [])


def _lacking(
    path: Path,
    shape: Shape,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    shown: Collection[str],
    allowed: Collection[str],
) -> dict[str, list[str]]:
    """What is missing of heads that are there in part, or that the folder says it has. Refuses what is not allowed."""
    family = FAMILIES[shape.family]
    if unknown := next((name for name in allowed if name not in family.heads), None):
        raise UserError(
            f"--allow-missing {unknown}: {shape.family} has no such head; {', '.join(family.heads)} would fit"
        )
    classes = config.get("architectures")
    said = [heads for heads, cls in family.architectures.items() if isinstance(classes, list) and cls in classes]
    lacking: dict[str, list[str]] = {}
    for head in dict.fromkeys([*shown, *min(said, key=len, default=())]):
        ours = [name for name in _sizes(shape, [head]) if name.startswith("heads.")]
        lost = [name for our in ours for name in theirs(shape.family, our) if name not in tensors]
        if lost and head not in allowed:
            raise UserError(
                f"{path}: of the {head} head {', '.join(lost)} is missing; --allow-missing {head} goes on without it"
            )
        lacking |= {head: lost} if lost else {}
    return lacking


def write(
    folder: Path,
    shape: Shape,
    tensors: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    task: Task | None = None,
    begins: int | None = None,
) -> list[str]:
    """Write a folder that ``AutoModel…`` and ``AutoTokenizer`` open; returns what could not be carried, a line each.

    Args:
        folder: Must not exist, or be empty.
        shape: What the model is.
        tensors: Its weights by our names, ``backbone.…`` and ``heads.…``.
        tokenizer: Its tokenizer.
        task: What its head ``task`` answers, if it has one.
        begins: The token that its decoder was given first in training; none: the one that their family gives.

    Raises:
        UserError: The folder is taken or cannot be written, or the shape or the head has parts their family lacks.
    """
    if shape.family not in FAMILIES:
        why = ", whose classes transformers took out" if shape.family in GONE else ""
        raise UserError(f"Hugging Face knows no {shape.family}{why}; {', '.join(FAMILIES)} would fit")
    stored = to_theirs(shape, tensors, tokenizer.pad)
    if any(head.stored(shape) and head.shown_by in tensors for head in FAMILIES[shape.family].heads.values()):
        stored |= {name: torch.zeros(shape.vocab_size) for name in FAMILIES[shape.family].idle}
    config = {
        "architectures": [_architecture(shape, tensors, task)],
        "dtype": "float32",
        **write_shape(shape, Path("config.json"), tokenizer.pad),
        **{them: getattr(tokenizer, ours) for them, ours in FAMILIES[shape.family].ids.items()},
        **({} if begins is None else {"decoder_start_token_id": begins}),
        **(task.described() if task else {}),
    }
    with whole_folder(folder) as beside:
        writes = shape.causal and task is None  # on, so that nothing is to end what it is given
        frame = {"ends": not writes, "pairs": task is not None}
        tokenizer.save(beside, segments=shape.segments > 1, longest=shape.max_length, **frame)
        weights.write(beside / "model.safetensors", stored)
        write_file(beside / "config.json", json.dumps(config, indent=2).encode())
    lost = sorted({tuple(name.split(".")[:2]) for name in tensors if not theirs(shape.family, name)})
    notes = [
        f"not carried: the {name} {KINDS.get(kind, kind)}, for which Hugging Face's {shape.family} has no place"
        for kind, name in lost
    ]
    family = FAMILIES[shape.family]
    if family.spare and "pooler" in family.spare and not any(name.startswith(family.spare) for name in stored):
        model = family.architectures[()]
        notes.append(f"no pooler: transformers' {model} makes one up at random (pooler_output); its states are right")
    for name in family.call(shape, torch.zeros(1, 1)):
        notes.append(f"not in its settings: transformers wants {name} with each call")
    return notes


def _architecture(shape: Shape, tensors: Iterable[str], task: Task | None) -> str:
    """Their class that has these heads. A task's head must be one of theirs, for it is what was asked for."""
    family = FAMILIES[shape.family]
    if task is None:
        there = {name.split(".")[1] for name in tensors if name.startswith("heads.")}
        return family.architectures[
            tuple(name for name, head in family.heads.items() if name in there or not head.stored(shape))
        ]
    if task.architecture is None:
        name = type(task).__module__.rpartition(".")[2]
        raise UserError(f"Hugging Face has no class for the task {name}; those of other tasks would fit")
    if task.architecture in family.classless:
        raise UserError(f"Hugging Face's {shape.family} has no class for {task.architecture}")
    pool = task.described().get("classifier_pooling")
    if pool is not None and pool not in family.pools:
        others = [name for name, other in FAMILIES.items() if pool in other.pools and "decoder_lm" not in other.heads]
        raise UserError(
            f"Hugging Face's {shape.family} classifies from pool {' or '.join(family.pools)}, not {pool}"
            + (f", from which {', '.join(others)} would" if others else "")
        )
    return family.class_for(task.architecture)


def _refuse_twice(path: Path, names: dict[str, str]) -> None:
    """Refuse a tensor that is held by an old name and by today's: one of them would be passed over."""
    first: dict[str, str] = {}
    for name, now in names.items():
        if (before := first.setdefault(now, name)) != name:
            raise UserError(f"{path}: holds {before} and {name}, two names of one tensor; one of them would fit")


def _settle_vocabulary(path: Path, shape: Shape, tensors: dict[str, Tensor], has_bias: bool) -> Shape:
    """Settle the second copies that some files hold of the vocabulary matrix and its bias; whether it is shared."""
    family, own = FAMILIES[shape.family], f"{FAMILIES[shape.family].vocabulary}.weight"
    if "tied" in family.settled and own in tensors:
        shape = shape.model_copy(update={"tied": not _second(path, shape, tensors, own, EMBEDDINGS, may_differ=True)})
    for layer in (family.vocabulary, *family.copies):
        if shape.tied or layer != family.vocabulary:
            _second(path, shape, tensors, f"{layer}.weight", EMBEDDINGS)
    for head in family.heads:
        _second(path, shape, tensors, f"{family.vocabulary}.bias", f"heads.{head}.bias")
    if not has_bias and "head.dense.weight" in tensors and "classifier.weight" not in tensors:
        tensors.setdefault(f"{family.vocabulary}.bias", torch.zeros(shape.vocab_size))
    return shape


def _second(
    path: Path, shape: Shape, tensors: dict[str, Tensor], copy: str, ours: str, may_differ: bool = False
) -> bool:
    """Take away what is held a second time. Whether it is another thing, which is refused unless it may be."""
    original = next(iter(theirs(shape.family, ours)), None)
    if copy not in tensors or original in (copy, None):
        return False
    assert original is not None
    copied = tensors.pop(copy)
    kept = tensors.setdefault(original, copied)
    if copied.dtype == kept.dtype and torch.equal(copied, kept):
        return False
    if not may_differ:
        raise UserError(f"{path}: {copy} differs from {original}; only models that share them can be read")
    tensors[copy] = copied
    return True


def heads_of(shape: Shape) -> dict[str, Callable[[], nn.Module]]:
    """What makes the pre-training heads that a family has there, by our names."""
    heads = FAMILIES[shape.family].heads.items()
    return {name: partial(head.make, shape) for name, head in heads if head.suits(shape)}


def _there(shape: Shape, head: Head, tensors: Mapping[str, Tensor]) -> bool:
    if not head.suits(shape):
        return False
    return not head.stored(shape) or theirs(shape.family, str(head.shown_by))[0] in tensors


def _sizes(shape: Shape, heads: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Our weights by name, without making them."""
    with torch.device("meta"):
        network = Network(backbone_of(shape), {head: heads_of(shape)[head]() for head in heads})
    return {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}


def _their_sizes(shape: Shape, sizes: Mapping[str, tuple[int, ...]], pad: int) -> dict[str, tuple[int, ...]]:
    """The same weights by their names."""
    ours = {name: torch.empty(size, device="meta") for name, size in sizes.items()}
    return {name: tuple(tensor.shape) for name, tensor in to_theirs(shape, ours, pad).items()}


def _left_out(path: Path, family: str, tensors: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Their tensors that nothing of ours takes; allowed for heads, refused inside the backbone."""
    left = sorted(set(tensors) - set(taken))
    spare = FAMILIES[family].spare
    for name in left:
        if name.startswith(FAMILIES[family].roots) and not (spare and name.startswith(spare)):
            raise UserError(f"{path}: does not match its configuration: {name} is not part of this model")
    return left
