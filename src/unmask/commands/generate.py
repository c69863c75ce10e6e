"""Let a model write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from unmask.config.explain import shown
from unmask.errors import UserError
from unmask.inference.generation.settings import Generation

if TYPE_CHECKING:
    from unmask.inference.model import Model


class Generate(Generation):
    """Let a model write: carry texts on, or rebuild what is hidden of them.

    A model of causal_lm or masked_next_token carries a text on. One with a decoder reads the text and writes what it
    learned to: all of it as it was (denoising), with <extra_id_0>, <extra_id_1> … filled in (span_corruption), the
    tokens of one fragment of [MASK] [MASK] … (masked_seq2seq), or the rest of it (prefix_lm). A masked LM, best one
    of masked_diffusion, fills the masks of a text, or as many tokens behind it as are wanted.
    One of metadata_lm writes a field of an article, from any others: --write headline --sample --top-p 0.95
    '{"date": "2019"}'.
    """

    positional: ClassVar[tuple[str, ...]] = ("model", "texts")

    model: str = Field(description="A run, a Hugging Face folder, or hf:owner/name")
    texts: list[str] = Field([], description="Texts to write on")
    file: Path | None = Field(None, description="A file of further ones, one a line")
    write: str | None = Field(
        None,
        description="The field of an article to write (metadata_lm); texts, or the lines of the file, are then the "
        'others, as {"date": "2019", "headline": "…"}',
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")

    @model_validator(mode="after")
    def _has_texts(self) -> Self:
        if not self.texts and not self.file:
            raise ValueError('texts: give one or several, as "The capital of", or --file')
        return self

    def run(self) -> list[str]:
        """Print what is written, a line for each text; returns it."""
        from unmask.inference.early import refuse_absent, refuse_device
        from unmask.text.sources.files import lines

        refuse_device(self.device)
        refuse_absent(self.model, [self.file])
        given = {f"text {n}": text for n, text in enumerate(self.texts, 1)}
        given |= {f"{self.file}: line {n}": line for n, line in enumerate(lines(self.file) if self.file else (), 1)}
        if not given:
            raise UserError(f"{self.file}: is empty; a text a line would fit")
        from unmask.inference.loading import load

        model = load(self.model, device=self.device)
        written = self._written(model, list(given.values()), list(given))
        for text in written:
            print(" ".join(text.splitlines()))
        return written

    def _written(self, model: Model, texts: list[str], names: list[str]) -> list[str]:
        from unmask.inference.generation.generate import generate, write_field

        settings = self.model_dump(include=set(Generation.model_fields) & self.model_fields_set)
        asked = Generation.model_validate(settings)
        if self.write is None:
            return [model.text_of(ids, extra=True) for ids in generate(model, texts, asked, names)]
        rows = {name: self._fields(name, text) for name, text in zip(names, texts, strict=True)}
        return [model.text_of(write_field(model, row, self.write, asked, name)) for name, row in rows.items()]

    def _fields(self, name: str, text: str) -> dict[str, str]:
        """The others that a row has."""
        try:
            row = json.loads(text)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UserError(f'{name}: {shown(text)} is no row of fields; give an object, as {{"date": "2019"}}')
        return {name: str(value) for name, value in row.items() if name != self.write and value}
