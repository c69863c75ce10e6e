"""A pre-training from a corpus to a page: settle, train, keep the best, tell."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unmask.config import to_yaml
from unmask.disk import replace_file
from unmask.errors import UserError
from unmask.inference import glyphs
from unmask.inference.building import network_of, spell
from unmask.inference.loading import load
from unmask.inference.model import Model
from unmask.objectives.base import that_train
from unmask.presets import name_of
from unmask.report import finished, write_card, write_report
from unmask.runs.estimate import estimate, in_words, refuse_too_large, refuse_too_many_weights
from unmask.runs.idle import idle
from unmask.runs.pretraining import Pretraining, fresh, take_over
from unmask.runs.written import written
from unmask.text.corpus.corpus import Corpus
from unmask.text.sampling.plan import Plan
from unmask.text.tokens.glyphs import Glyphs
from unmask.training.checkpoint import Checkpoints, read_state
from unmask.training.loop import Trainer, train
from unmask.training.placement import Placement, leave
from unmask.training.progress import Progress
from unmask.training.record import Record, read_lines, write_result
from unmask.training.run import opened
from unmask.training.tensors import read_tensors
from unmask.training.weights import read_json

if TYPE_CHECKING:
    from unmask.commands.pretrain import Pretrain


def pretrain(config: Pretrain) -> dict[str, Any]:
    """Train to the end, or continue to it; see `commands.pretrain`."""
    corpus = Corpus.open(config.corpus)
    base = _base(config, corpus)
    corpus = corpus.plus([*(base.tokenizer.extra if base else ()), *config.extra_tokens])
    _refuse_other_vocabulary(config, corpus)
    config = config.resolved(corpus.tokenizer.size, base.shape if base else None)
    done = finished(config.out) and not (config.overwrite or config.dry_run)
    # made before the folder is opened: what cannot be trained is refused before anything there is touched
    trainer = None if done else trainer_of(config, corpus, base)
    if trainer and config.dry_run:
        estimated = estimate(trainer)
        print(to_yaml(config) + in_words(estimated))
        return estimated
    further = f"unmask pretrain {config.corpus} --base {config.out}"
    with opened(config.out, config, config.overwrite, further):
        if trainer:
            return _train(config, corpus, trainer)
        print(f"{config.out}: was finished already; nothing done", file=sys.stderr)
        print(config.out / "report.html")
        return read_json(config.out / "result.json")


def _base(config: Pretrain, corpus: Corpus) -> Model | None:
    """The model that is begun with. Raises `UserError` where it does not suit the corpus or the settings."""
    if config.base is None:
        return None
    base = load(config.base, device="cpu")
    pairs = zip(base.tokenizer.extra, corpus.tokenizer.extra, strict=False)
    if base.tokenizer.hash != corpus.tokenizer.hash or any(mine != theirs for mine, theirs in pairs):
        raise UserError(
            f"--base {config.base}: has another tokenizer than {corpus.folder}; "
            f"prepare the text with `unmask prepare … --tokenizer {config.base}`"
        )
    if base.shape.flow not in config.flows:
        refused = f"{' and '.join(config.objectives)} cannot train {name_of(base.shape)}"
        raise UserError(
            f"--base {config.base}: {refused}; --objective could be {', '.join(that_train(base.shape.flow))}"
        )
    asked = config.shape.model_copy(update={"vocab_size": base.shape.vocab_size})
    if "model" in config.model_fields_set and asked != base.shape:
        raise UserError(f"--model: the base {config.base} brings its own; leave --model out, and out of a recipe")
    for objective in config.objectives.values():
        try:
            objective.suits(objective.model(base.shape))
        except ValueError as error:
            raise UserError(f"--base {config.base}: {error}") from None
    if config.length > base.shape.max_length:
        raise UserError(f"--length {config.length}: the base reads up to {base.shape.max_length} tokens")
    return base


def _refuse_other_vocabulary(config: Pretrain, corpus: Corpus) -> None:
    """The tokenizer alone decides how many rows the vocabulary matrix has."""
    asked, size = config.model.vocab_size, corpus.tokenizer.size
    if config.base is None and "vocab_size" in config.model.model_fields_set and asked != size:
        raise UserError(
            f"--model.vocab-size {asked}: the tokenizer of {corpus.folder} has {size} entries, which decide it; "
            f"leave it out, or prepare the text with --vocab-size {asked}"
        )


def _train(config: Pretrain, corpus: Corpus, trainer: Trainer) -> dict[str, Any]:
    """Train, and write down what came of it."""
    done = trainer.begin()
    if not trainer.placement.main:
        train(trainer, lambda line: None)
        leave()
        return {}
    assert isinstance(trainer.work, Pretraining)
    if trainer.work.fresh and not done:
        lacking = ", ".join(trainer.work.fresh)
        print(f"--base {config.base}: begins at random, for it is not there: {lacking}", file=sys.stderr)
    corpus.tokenizer.save(config.out)
    glyphs.write(trainer.work.network, config.out)
    with _logging(config.out, trainer, done) as log:
        train(trainer, log)
    leave()
    return _finish(config, corpus, trainer)


@contextmanager
def _logging(run: Path, trainer: Trainer, done: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Lines of metrics into the run's folder and, some of their figures, before the user's eyes."""
    every = trainer.settings.log_every
    with Record(run, done, every) as record, Progress("pretrain", trainer.state.steps, done) as progress:

        def log(line: dict[str, Any]) -> None:
            written = record.log(line)
            shown = {key: written[key] for key in ("loss", "tokens_per_second") if written.get(key) is not None}
            if line["split"] == "train":
                progress.update(line["step"], **shown)

        yield log


def trainer_of(config: Pretrain, corpus: Corpus, base: Model | None = None) -> Trainer:
    """Everything that a pre-training needs before its first step, of settings that are resolved."""
    refuse_too_many_weights(config.model)
    placement = Placement.of(config)
    torch.manual_seed(config.seed)
    network = network_of(config.model, config.objectives.values())
    spell(network, corpus.tokenizer, _drawn(config, base))
    if base:
        take_over(network, base.network)
    work = Pretraining(
        network,
        config.objectives,
        _plan(config, corpus, config.batch_size),
        _held_out(config, corpus),
        config,
        placement,
    )
    work.fresh = fresh(network, base.network) if base else []
    work.check()
    trainer = Trainer(work, config, placement, Checkpoints(config.out, config.keep))
    refuse_too_large(trainer, config.model, config.length)
    return trainer


def _drawn(config: Pretrain, base: Model | None) -> Glyphs | None:
    """The images that a network reads which goes on: its own, whatever fonts there are by now."""
    if base:
        return glyphs.of(base.network)
    begun = (config.out / glyphs.FILE).is_file() and not config.overwrite
    return glyphs.read(config.out, config.shape) if begun else None


def _plan(config: Pretrain, corpus: Corpus, rows: int) -> Plan:
    """How a corpus becomes steps of this many rows."""
    assert config.input_format is not None  # resolved
    together = max(objective.together for objective in config.objectives.values())
    return Plan(corpus, config.input_format, config.length, rows, config.seed, together)


def _held_out(config: Pretrain, corpus: Corpus) -> Plan | None:
    """The same of the held-out documents; fewer rows a step where there are few of them."""
    if corpus.valid is None:
        return None
    return _plan(config, corpus.valid, min(_plan(config, corpus.valid, 1).rows, config.batch_size))


def _finish(config: Pretrain, corpus: Corpus, trainer: Trainer) -> dict[str, Any]:
    """The figures of the best checkpoint, some filled masks, the page and the card."""
    work: Pretraining = trainer.work  # type: ignore[assignment]
    best = trainer.checkpoints.best
    assert best is not None  # the last step was saved
    trainer.weights.load(read_tensors(best / "model.safetensors"))
    samples = {"fill": work.filled(5), "written": written(work, 5)}
    replace_file(config.out / "samples.json", json.dumps(samples, ensure_ascii=False).encode())
    result = write_result(config.out, _facts(config, corpus, trainer, best))
    write_report(config.out)
    write_card(config.out)
    print(config.out / "report.html")
    return result


def _figures(run: Path, work: Pretraining, best: Path) -> dict[str, float]:
    """A checkpoint's on held-out text: measured when it was saved, and anew where that line is lost or another's."""
    state = read_state(best)
    for line in read_lines(run / "metrics.jsonl"):
        if (line["step"], line["split"], line.get("loss")) == (state.step, "valid", state.score):
            return {name: x for name, x in line.items() if name not in ("step", "split")}
    return work.evaluate()


def _facts(config: Pretrain, corpus: Corpus, trainer: Trainer, best: Path) -> dict[str, Any]:
    """What `result.json` says of a pre-training run."""
    work: Pretraining = trainer.work  # type: ignore[assignment]
    state = trainer.state
    return {
        "kind": "pretrain",
        "base": config.base,
        "fresh": work.fresh,
        "title": f"{' + '.join(config.objectives)} on {corpus.folder.name}",
        "language": corpus.index.get("language"),
        "figures": _figures(config.out, work, best),
        "held_out": "valid",
        "main": "loss",
        "seeds": [config.seed],
        "baseline": {"title": "answers by frequency", "figures": known} if (known := work.by_frequency()) else None,
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
            "unknown tokens": corpus.index["unknown"],
            "held-out tokens": corpus.valid.tokens if corpus.valid else 0,
            **{f"held-out answers/{head}": count for head, count in work.held_out_answers().items()},
            "vocabulary": corpus.tokenizer.size,
            "fill": work.plan.fill,
            "cut sentences": work.plan.cut,
        },
        "chosen": {
            **config.model_dump(mode="json", exclude_defaults=True, exclude={"out", "overwrite", "model"}),
            "model": name_of(config.model),
        },
        "idle": idle(config, config.model, config.objectives, held_out=corpus.valid is not None),
    }
