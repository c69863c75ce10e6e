"""What a reformer has that no other model has (Kitaev 2020, 2001.04451). Reads without torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from unmask.config import Config

Count = Annotated[int, Field(ge=1)]
Even = Annotated[int, Field(ge=2, multiple_of=2)]


class ReformerParts(Config):
    """Its attention, its positions, and how much it computes at once."""

    attention: tuple[Literal["local", "lsh"], ...] = Field(
        ("local", "lsh"),
        min_length=1,
        description="How layers attend, in turn: local, to the tokens of their chunk and the one before; lsh, to those "
        "that stand there once tokens are sorted by their buckets",
    )
    local_chunk: int = Field(64, ge=2, description="Tokens of a chunk in local layers")
    lsh_chunk: int = Field(64, ge=2, description="Tokens of a chunk in lsh layers")
    hashes: int = Field(1, ge=1, description="Rounds of hashing in lsh layers; each finds some that others miss")
    buckets: Even | tuple[Even, Even] | None = Field(
        None,
        description="Buckets of a round, or two numbers whose product they are; none: about two for each chunk of a "
        "text",
    )
    hash_seed: int = Field(
        0, ge=0, description="Of the rotations in use; in training they are drawn anew for each step and layer"
    )
    lsh_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of attention probabilities in lsh layers")
    axial: tuple[Count, Count] | None = Field(
        None, description="Rows and columns of axial positions; at least the longest text must have room"
    )
    axial_width: int | None = Field(
        None, ge=1, description="Width of a row's vector; the rest is the column's; none: a quarter"
    )
    feed_forward_chunk: int = Field(
        0, ge=0, description="Tokens that go through the feed-forward sublayer at once, in all texts; 0: all"
    )

    @field_validator("attention", "buckets", "axial", mode="before")
    @classmethod
    def _each(cls, value: Any) -> Any:
        several = isinstance(value, str) and ("," in value or value in ("local", "lsh"))
        return value.split(",") if several else value

    def kind(self, layer: int) -> Literal["local", "lsh"]:
        """How a layer attends."""
        return self.attention[layer % len(self.attention)]

    @property
    def chunks(self) -> dict[Literal["local", "lsh"], int]:
        """Tokens of a chunk, of each kind of layer that there is."""
        sizes = {"local": self.local_chunk, "lsh": self.lsh_chunk}
        return {kind: sizes[kind] for kind in dict.fromkeys(self.attention)}

    def axial_widths(self, width: int) -> tuple[int, int]:
        """Of a row's vector and a column's."""
        row = self.axial_width or width // 4
        return row, width - row

    def refuse(self, axial: bool, length: int, width: int) -> None:
        """Refuse, with a `ValueError`, tables that have no room for texts of a length and vectors of a width."""
        if axial and (self.axial is None or self.axial[0] * self.axial[1] < length):
            fits = f"{-(-length // 64)},64 would fit"
            has = "none" if self.axial is None else f"{self.axial[0]},{self.axial[1]}"
            raise ValueError(f"reformer.axial {has} has no room for {length} places; {fits}")
        if not axial and self.axial is not None:
            raise ValueError("reformer.axial belongs to positions axial; none would fit")
        if axial and not 0 < self.axial_widths(width)[0] < width:
            raise ValueError(f"reformer.axial_width {self.axial_width} leaves nothing of {width}; a smaller one fits")
