"""Look at what a method does: what an objective hides of a text, asks, and lets be seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from unmask.commands.pretrain import Objectives
from unmask.config import Config
from unmask.objectives.base import Objective, in_turn
from unmask.text.sampling import plan

if TYPE_CHECKING:
    from unmask.insight.sheet import Sheet
    from unmask.text.tokens.tokenizer import Tokenizer


class Inspect(Config):
    """Look at what a method does.

    `unmask inspect corruption "a text" --objective X` shows what objectives make of a text: what the model reads, what
    it must answer, and which token may attend to which. Where chance decides between several things (does B follow A?),
    each of them is shown.
    """

    positional: ClassVar[tuple[str, ...]] = ("what", "texts")

    what: Literal["corruption"] = Field(description="What to look at")
    texts: list[str] = Field([], description="Texts, each a document; none: a sentence that suits the objective")
    objective: Objectives = Field("masked_lm", description="What is learned; several are joined by commas")  # type: ignore[valid-type]
    phrases: list[str] = Field([], description="Phrases in the texts, for objective.masked_lm.unit phrase")
    entities: list[str] = Field([], description="Names in the texts, for objective.masked_lm.unit entity")
    tokenizer: Path | None = Field(
        None,
        description="A corpus, a run or what else holds a tokenizer; none: the texts' own words are the vocabulary",
    )
    language: str | None = Field(
        None,
        pattern="^[a-z]{2,3}(-.+)?$",
        description="Whose rules cut sentences (ISO code); none: zh where there are Chinese characters, else en",
    )
    input_format: Literal["segment_pair", "sentence_pair", "full_sentences", "doc_sentences"] | None = Field(
        None, description="How text is cut (RoBERTa §4.2); by default as in pre-training"
    )
    length: int = Field(128, ge=8, description="Tokens in a sequence at most, special tokens included")
    seed: int | None = Field(
        None, ge=0, description="Show this one draw; none: one for each thing that chance may decide"
    )
    out: Path | None = Field(None, description="A page (.html) or a picture (.svg); by default printed")

    @field_validator("out")
    @classmethod
    def _is_drawn(cls, out: Path | None) -> Path | None:
        if out and out.suffix not in (".html", ".svg"):
            raise ValueError(f"{out} is neither a page (.html) nor a picture (.svg)")
        return out

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(objective.mixing_rate is not None for objective in self.objectives.values()):
            raise ValueError(
                "a picture shows what is asked together; leave mixing_rate out, and show each objective alone"
            )
        for objective in self.objectives.values():
            objective.beside(self.objectives)
        plan.refuse_two_cutters(self.objectives)
        plan.formats(self.objectives, self.input_format)  # refuses what does not go together
        return self

    @property
    def objectives(self) -> dict[str, Objective]:
        """The chosen objectives by name, each after those that it follows."""
        return in_turn(self.objective.chosen)  # type: ignore[attr-defined]

    def run(self) -> Sheet:
        """Print, or write the file; returns what is shown."""
        from unmask.insight.sheet import sheet

        asked = self.objectives
        shown = sheet(
            asked,
            self.texts,
            tokenizer=self._tokenizer(),
            language=self.language,
            input_format=self.input_format,
            length=self.length,
            seed=self.seed,
            units={"phrases": self.phrases, "entities": self.entities} if self.phrases or self.entities else None,
        )
        if self.out:
            self._write(self.out, shown)
        else:
            from rich.console import Console

            from unmask.insight.terminal import write

            write(shown, Console(highlight=False))
        return shown

    def _tokenizer(self) -> Tokenizer | None:
        from unmask.text.tokens.tokenizer import Tokenizer

        return Tokenizer.load(self.tokenizer) if self.tokenizer else None

    def _write(self, out: Path, shown: Sheet) -> None:
        from unmask.disk import replace_file
        from unmask.insight import html, svg

        text = html.page(shown) if out.suffix == ".html" else svg.picture(shown)
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, text.encode())
        print(out)
