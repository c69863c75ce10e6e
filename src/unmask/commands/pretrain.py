"""Pre-train a model on a corpus, with one objective or several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from unmask.config import choice
from unmask.models.shape import Shape
from unmask.objectives.base import Objective, in_turn, lots, refuse_mixing, that_train
from unmask.presets import PRESETS, USUAL, name_of, resolve
from unmask.text.sampling import plan
from unmask.training.settings import Training

Objectives = choice("Objectives", "unmask.objectives", several=True)


class Pretrain(Training):
    """Pre-train a model on a corpus, with one objective or several.

    Repeating the command continues the run; ``overwrite`` starts anew.
    """

    positional: ClassVar[tuple[str, ...]] = ("corpus",)

    corpus: Path = Field(description="A folder that `unmask prepare` made")
    out: Path = Field(description="The run's folder")
    model: Annotated[Shape, BeforeValidator(resolve)] = Field(  # type: ignore[assignment]
        "modernbert-mini",
        description="A preset (see `unmask list models`); its numbers are options too; where none is named and the "
        "objective needs a model of another kind, the usual one of that kind",
    )
    base: str | None = Field(
        None,
        description="Begin with the weights of a run, a Hugging Face folder or hf:owner/name, and with its model; the "
        "corpus must be prepared with its tokenizer; none: begin at random",
    )
    objective: Objectives = Field(  # type: ignore[valid-type]
        "masked_lm", description="What is learned; several are joined by commas"
    )
    input_format: (
        Literal["segment_pair", "sentence_pair", "full_sentences", "doc_sentences", "single_sentences"] | None
    ) = Field(
        None,
        description="How text is cut (RoBERTa §4.2, and sentence by sentence); by default full_sentences, or what the "
        "objective is about: segment_pair to compare pairs",
    )
    length: int = Field(128, ge=8, description="Tokens in a sequence, special tokens included")
    batch_size: int = Field(32, ge=1, description="Rows of that length in a step, over all ranks and pieces")
    overwrite: bool = Field(False, description="Delete the run that is in the folder and start anew")
    dry_run: bool = Field(False, description="Say what would be done and what it would take, and stop")

    @model_validator(mode="before")
    @classmethod
    def _brings_its_model(cls, given: Any) -> Any:
        """Some settings of a model beside a base would be judged as those of another one; all of them are compared."""
        if isinstance(given, dict) and given.get("base") and isinstance(given.get("model"), dict):
            some = {name for name in given["model"] if name != "name"}
            if some and some < Shape.model_fields.keys() - {"vocab_size"}:
                options = ", ".join(f"--model.{name.replace('_', '-')}" for name in sorted(some))
                raise ValueError(
                    f"the base {given['base']} brings its own model; leave {options} out, and out of a recipe"
                )
        return given

    @model_validator(mode="after")
    def _fits(self) -> Self:
        shape = self.shape
        if shape.flow not in self.flows:
            models = (name for name, preset in PRESETS.items() if preset.flow in self.flows)
            option, fits = "--model", ", ".join(models)
            if "model" in self.model_fields_set and "objective" not in self.model_fields_set:
                option, fits = "--objective", ", ".join(that_train(shape.flow))
            refused = f"{' and '.join(self.objectives)} cannot train {name_of(shape)}"
            raise ValueError(f"{refused}; {option} could be {fits}")
        if self.length > shape.max_length:
            raise ValueError(f"length {self.length} is more than the model's max_length, {shape.max_length}")
        refuse_mixing(self.objectives)
        for together in lots(self.objectives):
            plan.refuse_two_cutters(together)
            for objective in together.values():
                objective.beside(together)
        for objective in self.objectives.values():
            if self.base is None:
                objective.suits(objective.model(shape))
            shape = objective.model(shape)
        if against := [name for name, objective in self.objectives.items() if shape.flow not in objective.flows]:
            others = [name for name in self.objectives if name not in against]
            kind = shape.flow.replace("_", "-")
            raise ValueError(f"{' and '.join(others)} makes the model a {kind}, which {against[0]} cannot train")
        plan.formats(self.objectives, self.input_format)  # refuses what does not go together
        return self

    @property
    def objectives(self) -> dict[str, Objective]:
        """The chosen objectives by name, each after those that it follows."""
        return in_turn(self.objective.chosen)  # type: ignore[attr-defined]

    @property
    def shape(self) -> Shape:
        """The model that is asked for; where none is named, the usual one that the objectives can train."""
        if "model" in self.model_fields_set or self.model.flow in self.flows:
            return self.model
        return PRESETS[USUAL[self.flows[0]]]

    @property
    def flows(self) -> list[str]:
        """The flows of data that all objectives can train, the usual one of the first objective first."""
        asked = self.objectives
        common = [flow for flow in next(iter(asked.values())).flows if all(flow in o.flows for o in asked.values())]
        if not common:
            needs = "; ".join(f"{name}: {' or '.join(objective.flows)}" for name, objective in asked.items())
            raise ValueError(f"objective: no model can be asked all of these ({needs}); choose one of them")
        return common

    @property
    def extra_tokens(self) -> list[str]:
        """Special tokens that the objectives need."""
        return [token for objective in self.objectives.values() for token in objective.extra_tokens()]

    def run(self) -> dict[str, Any]:
        """Train to the end, or continue to it; the folder then holds a model and a page. Returns `result.json`."""
        from unmask.inference.early import refuse_absent, refuse_device
        from unmask.text.corpus.corpus import Corpus

        refuse_device(self.device)
        if self.base:
            refuse_absent(self.base)
        Corpus.open(self.corpus)
        from unmask.runs.pretrain import pretrain

        return pretrain(self)

    def resolved(self, vocab_size: int, base: Shape | None = None) -> Pretrain:
        """The same settings with everything filled in that the corpus decides, and the base, if there is one."""
        shape = base or self.shape
        if base is None or base.vocab_size < vocab_size:  # a base may have rows to spare
            shape = shape.model_copy(update={"vocab_size": vocab_size})
        for objective in self.objectives.values():
            shape = objective.model(shape)
        input_format = self.input_format or plan.formats(self.objectives, None)[0]
        return self.model_copy(update={"model": shape, "input_format": input_format})
