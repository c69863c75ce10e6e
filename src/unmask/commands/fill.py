"""Fill the masks of a text."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from rich.console import Console
from rich.table import Table
from rich.text import Text

from unmask.config import Config


class Fill(Config):
    """Fill the masks of a text: the likeliest tokens for each, with their probabilities."""

    positional: ClassVar[tuple[str, ...]] = ("model", "texts")

    model: str = Field(description="A run, a Hugging Face folder, or hf:owner/name")
    texts: list[str] = Field(min_length=1, description="Texts that hold masks, as the model writes them ([MASK])")
    k: int = Field(5, ge=1, le=1000, description="Tokens shown for each mask")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")

    def run(self) -> list[list[list[tuple[str, float]]]]:
        """Print a table per text; returns, for every text and mask in it, tokens and probabilities."""
        from unmask.inference.early import refuse_absent, refuse_device

        refuse_device(self.device)
        refuse_absent(self.model)
        from unmask.inference.loading import load

        model = load(self.model, device=self.device)
        found = [model.fill(text, self.k) for text in self.texts]
        console = Console(highlight=False)
        for text, masks in zip(self.texts, found, strict=True):
            console.print(text, markup=False, soft_wrap=True)
            console.print(_table(masks))
        return found


def _table(masks: list[list[tuple[str, float]]]) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for n in range(1, len(masks) + 1):
        table.add_column(f"mask {n}" if len(masks) > 1 else "token")
        table.add_column("probability", justify="right")
    for row in zip(*masks, strict=True):
        table.add_row(*(Text(cell) for token, chance in row for cell in (token, f"{chance:.3f}")))
    return table
