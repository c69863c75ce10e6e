"""Pre-train an encoder on a corpus, with one objective or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from unmask.config import choice, to_yaml
from unmask.models.shape import Shape
from unmask.objectives.base import Objective
from unmask.presets import name_of, resolve
from unmask.text import sampling
from unmask.training.settings import Training

if TYPE_CHECKING:
    from unmask.pretraining import Pretraining
    from unmask.text.corpus import Corpus
    from unmask.text.sampling import Plan
    from unmask.training.loop import Trainer

Objectives = choice("Objectives", "unmask.objectives", several=True)


class Pretrain(Training):
    """Pre-train an encoder on a corpus, with one objective or several.

    Repeating the command continues the run; ``overwrite`` starts anew.
    """

    positional: ClassVar[tuple[str, ...]] = ("corpus",)

    corpus: Path = Field(description="A folder that `unmask prepare` made")
    out: Path = Field(description="The run's folder")
    model: Annotated[Shape, BeforeValidator(resolve)] = Field(  # type: ignore[assignment]
        "modernbert-mini", description="A preset (see `unmask list models`); its numbers are options too"
    )
    objective: Objectives = Field(  # type: ignore[valid-type]
        "masked_lm", description="What is learned; several are joined by commas"
    )
    input_format: Literal["segment_pair", "sentence_pair", "full_sentences", "doc_sentences"] | None = Field(
        None, description="How text is cut (RoBERTa §4.2); by default full_sentences, or segment_pair to compare pairs"
    )
    length: int = Field(128, ge=8, description="Tokens in a sequence, special tokens included")
    batch_size: int = Field(32, ge=1, description="Rows of that length in a step, over all ranks and pieces")
    overwrite: bool = Field(False, description="Delete the run that is in the folder and start anew")
    dry_run: bool = Field(False, description="Say what would be done and what it would take, and stop")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.length > self.model.max_length:
            raise ValueError(f"length {self.length} is more than the model's max_length, {self.model.max_length}")
        sampling.formats(self.objectives, self.input_format)  # refuses what does not go together
        return self

    @property
    def objectives(self) -> dict[str, Objective]:
        """The chosen objectives by name."""
        chosen: dict[str, Objective] = self.objective.chosen  # type: ignore[attr-defined]
        return chosen

    def run(self) -> dict[str, Any]:
        """Train to the end, or continue to it; the folder then holds a model and a page. Returns `result.json`."""
        from unmask.text.corpus import Corpus
        from unmask.training.run import opened

        corpus = Corpus.open(self.corpus)
        config = self.resolved(corpus.tokenizer.size)
        if self.dry_run:
            return _rehearse(config, corpus)
        with opened(self.out, config, self.overwrite):
            return _train(config, corpus)

    def resolved(self, vocab_size: int) -> Pretrain:
        """The same settings with everything filled in that the corpus decides."""
        shape = self.model.model_copy(update={"vocab_size": vocab_size})
        input_format = self.input_format or sampling.formats(self.objectives, None)[0]
        return self.model_copy(update={"model": shape, "input_format": input_format})

    def plan(self, corpus: Corpus) -> Plan:
        """How this corpus becomes steps."""
        assert self.input_format is not None  # resolved
        return sampling.Plan(corpus, self.input_format, self.length, self.batch_size, self.seed)

    def held_out(self, corpus: Corpus) -> Plan | None:
        """The same of the held-out documents; fewer rows a step where there are few of them."""
        if corpus.valid is None:
            return None
        assert self.input_format is not None  # resolved
        one = sampling.Plan(corpus.valid, self.input_format, self.length, 1, self.seed)
        return sampling.Plan(corpus.valid, self.input_format, self.length, min(one.rows, self.batch_size), self.seed)


def _rehearse(config: Pretrain, corpus: Corpus) -> dict[str, Any]:
    from unmask.estimate import estimate, in_words

    estimated = estimate(_trainer(config, corpus))
    print(to_yaml(config) + in_words(estimated))
    return estimated


def _train(config: Pretrain, corpus: Corpus) -> dict[str, Any]:
    """Build, train, and write down what came of it."""
    from unmask.training.loop import train
    from unmask.training.placement import leave

    trainer = _trainer(config, corpus)
    done = trainer.begin()
    if not trainer.placement.main:
        train(trainer, lambda line: None)
        leave()
        return {}
    corpus.tokenizer.save(config.out)
    with _logging(config.out, trainer, done) as log:
        train(trainer, log)
    leave()
    return _finish(config, corpus, trainer)


@contextmanager
def _logging(run: Path, trainer: Trainer, done: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Lines of metrics into the run's folder and, some of their figures, before the user's eyes."""
    from unmask.training.progress import Progress
    from unmask.training.record import Record

    with Record(run, done) as record, Progress("pretrain", trainer.state.steps, done) as progress:

        def log(line: dict[str, Any]) -> None:
            written = record.log(line)
            shown = {key: written[key] for key in ("loss", "tokens_per_second") if written.get(key) is not None}
            if line["split"] == "train":
                progress.update(line["step"], **shown)

        yield log


def _trainer(config: Pretrain, corpus: Corpus) -> Trainer:
    from unmask.pretraining import Pretraining, network_of
    from unmask.training.checkpoint import Checkpoints
    from unmask.training.loop import Trainer
    from unmask.training.placement import Placement

    placement = Placement.of(config)
    held_out = config.held_out(corpus)
    network = network_of(config.model, config.objectives, config.seed)
    work = Pretraining(network, config.objectives, config.plan(corpus), held_out, config, placement)
    return Trainer(work, config, placement, Checkpoints(config.out, config.keep))


def _finish(config: Pretrain, corpus: Corpus, trainer: Trainer) -> dict[str, Any]:
    """The figures of the best checkpoint, some filled masks, the page and the card."""
    import json

    from unmask.report import write_card, write_report
    from unmask.training.checkpoint import read_tensors, replace_file
    from unmask.training.record import write_result

    work: Pretraining = trainer.work  # type: ignore[assignment]
    best = trainer.checkpoints.best
    assert best is not None  # the last step was saved
    trainer.weights.load(read_tensors(best / "model.safetensors"))
    samples = {"fill": work.filled(5)}
    replace_file(config.out / "samples.json", json.dumps(samples, ensure_ascii=False).encode())
    result = write_result(config.out, _facts(config, corpus, trainer))
    write_report(config.out)
    write_card(config.out)
    print(config.out / "report.html")
    return result


def _facts(config: Pretrain, corpus: Corpus, trainer: Trainer) -> dict[str, Any]:
    """What `result.json` says of a pre-training run."""
    work: Pretraining = trainer.work  # type: ignore[assignment]
    figures, state = work.evaluate(), trainer.state
    return {
        "kind": "pretrain",
        "title": f"{' + '.join(config.objectives)} on {corpus.folder.name}",
        "language": corpus.index.get("language"),
        "figures": figures,
        "held_out": "valid",
        "main": "loss",
        "seeds": [config.seed],
        "steps": state.steps,
        "tokens": state.tokens,
        "seconds": state.seconds,
        "device": trainer.placement.device.type,
        "precision": str(trainer.placement.dtype).removeprefix("torch."),
        "model": {
            "name": name_of(config.model),
            "parameters": sum(p.numel() for p in work.network.parameters()),
            **config.model.model_dump(),
        },
        "data": {
            "documents": corpus.documents,
            "sentences": corpus.sentences,
            "tokens": corpus.tokens,
            "vocabulary": corpus.tokenizer.size,
            "fill": work.plan.fill,
            "cut sentences": work.plan.cut,
        },
        "chosen": {
            **config.model_dump(mode="json", exclude_defaults=True, exclude={"out", "overwrite", "model"}),
            "model": name_of(config.model),
        },
    }
