"""What Hugging Face calls a family of models: its weights, its settings, its classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unmask.errors import UserError
from unmask.models.shape import Shape

Config = Mapping[str, Any]
"What a ``config.json`` says."
AFTER_PADDING = "+pad"
"The mark of a table of positions that are counted behind the padding's id, as fairseq does: see `hub.names`."


def _nothing(*_: object) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Head:
    """A pre-training head that a family has there."""

    make: Callable[[Shape], nn.Module]
    shown_by: str | None = None  # our weight of it that is stored wherever the head is; None: nothing of it is stored
    objective: str | None = None  # ours that asks it; None: the one of its name
    bare: bool = False  # whether nothing of it is stored where it shares the vocabulary
    causal: bool | None = None  # whether only models have it that read from the left, or only others; None: all do

    def suits(self, shape: Shape) -> bool:
        """Whether a model of this shape can have it."""
        return self.causal in (None, shape.causal)

    def stored(self, shape: Shape) -> bool:
        """Whether a file shows if it is there."""
        return self.shown_by is not None and not (self.bare and shape.tied)


@dataclass(frozen=True)
class Family:
    """One family there, a table of what its parts are called; `hub.names` tells how rules are written."""

    model_type: str  # what they call it
    rules: Mapping[str, str]  # our modules to theirs
    prefix: str  # before the backbone's names, unless the backbone was saved alone; "": they have none
    numbers: Mapping[str, str]  # our settings to those of theirs that mean the same
    defaults: Config  # of their settings, where a file leaves them out
    architectures: Mapping[tuple[str, ...], str]  # their class by the heads it has, ours named
    heads: Mapping[str, Head] = field(default_factory=dict)
    also: tuple[str, ...] = ()  # further model types that are this one but for their name
    told_by: Config = field(default_factory=dict)  # settings of theirs that tell it from others of its model type
    fixed: Config = field(default_factory=dict)  # what changes numbers and has no place here, with the value that fits
    parts: Config = field(default_factory=dict)  # what makes a shape one of theirs
    settled: tuple[str, ...] = ()  # parts that `read` and `write` see to
    vocabulary: str = ""  # the layer whose weight is the embeddings' own; some files hold it a second time
    copies: tuple[str, ...] = ()  # further layers whose weight that may be
    aliases: Mapping[str, str] = field(default_factory=dict)  # further names of settings that files may use
    ids: Mapping[str, str] = field(default_factory=dict)  # theirs for a special token's id: the tokenizer's
    pools: tuple[str, ...] = ("cls",)  # what their classifier can read its answer from
    classless: tuple[str, ...] = ()  # tasks (`Task.architecture`) for which they have no class
    older: Mapping[str, str] = field(default_factory=dict)  # beginnings of names that have others now
    buffers: tuple[str, ...] = ()  # held by old files, but no weights
    idle: tuple[str, ...] = ()  # a number a token that their heads hold and do not add; written as zeros
    spare: str | None = None  # beginning of names that a backbone may hold and nothing here uses
    read: Callable[[Config, Path], dict[str, Any]] = _nothing  # further settings of ours
    write: Callable[[Shape, Path], dict[str, Any]] = _nothing  # and of theirs
    call: Callable[[Shape, Tensor], dict[str, Any]] = _nothing  # what they want with ids [N, L], each time anew

    @property
    def roots(self) -> tuple[str, ...]:
        """What the names of the backbone's weights begin with."""
        whole = (self.prefix,) if self.prefix else tuple(rule.split(".")[0] + "." for rule in self._backbone)
        return tuple(dict.fromkeys(whole))

    @property
    def after_padding(self) -> bool:
        """Whether positions are counted behind the padding's id."""
        return any(rule.endswith(f"^{AFTER_PADDING}") for rule in self.rules.values())

    @property
    def _backbone(self) -> list[str]:
        return [theirs for ours, theirs in self.rules.items() if ours.startswith("backbone.")]

    def class_for(self, task: str) -> str:
        """Their class for a task: ``BertForTokenClassification``."""
        return f"{self.architectures[()].removesuffix('Model')}For{task}"


def refuse_other(config: Config, fits: Config, path: Path) -> None:
    """Refuse settings of theirs that are not as they would have to be."""
    for name, value in fits.items():
        if (found := config.get(name, value)) != value:
            raise UserError(f"{path}: {name} {found!r} is not known here; {value!r} would fit")
