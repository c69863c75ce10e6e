"""A fine-tuning from files to a page: read, settle, train every seed, keep the best, tell."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from unmask.config import to_yaml
from unmask.disk import replace_file
from unmask.errors import UserError
from unmask.hub.remote import HUB
from unmask.inference import finetuned, glyphs
from unmask.inference.finetuned import WEIGHTS, Finetuned
from unmask.inference.loading import load, load_finetuned, read_settings
from unmask.inference.source import Source
from unmask.presets import name_of
from unmask.report import finished, write_card, write_report
from unmask.runs.estimate import estimate, in_words
from unmask.runs.finetuning import Finetuning, network_of, steps_per_epoch
from unmask.runs.idle import idle
from unmask.runs.told import commonest, constant, print_scores, samples, told
from unmask.tasks.base import Encoded, Rows, Task
from unmask.training import weights
from unmask.training.checkpoint import Checkpoints
from unmask.training.loop import Trainer, train
from unmask.training.placement import Placement
from unmask.training.progress import Progress
from unmask.training.record import Record, over_seeds, tell_lost, write_result
from unmask.training.run import opened
from unmask.training.settings import Course, Training
from unmask.training.tensors import read_tensors

if TYPE_CHECKING:
    from unmask.commands.finetune import Finetune
    from unmask.inference.model import Model

LONGEST = 512  # tokens of a sequence, where nothing says what the base was trained with
TOKENS, FEWEST, MOST, PASS = 1024, 16, 128, 50  # by default: tokens in a step, rows in it, steps in an epoch
STEPS, EPOCHS = 1000, range(3, 21)  # steps wanted by default, and epochs
RATE, HEAD_RATE = 0.04, 1e-3  # 5e-5 for a width of 768 (Devlin 2018), 1.6e-4 for 256 (Turc 2019)
SAVE = 500  # steps after which a checkpoint is written at the latest
DONE = "done.json"


def finetune(config: Finetune) -> Finetuned:
    """Train, or continue to the end; see `commands.finetune`."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("finetune runs in one process; start it without torchrun")
    if config.out.resolve() == Path(config.model).resolve():
        raise UserError(f"--out {config.out}: is the model that is started from; name another folder")
    Placement.of(config)  # refused before anything is read
    job = Job.of(config)
    print(job.told())
    config = job.config
    if config.dry_run:
        with TemporaryDirectory() as states:
            estimated = estimate(job.trainer(config.seeds[0], Path(states)))
        seeds = f"\nfor each of {len(config.seeds)} seeds" if len(config.seeds) > 1 else ""
        print(f"{to_yaml(config)}{in_words(estimated)}{seeds}")
        return Finetuned(**vars(job.base), task=job.task, result=estimated)
    with opened(config.out, config, config.overwrite, f"unmask finetune {config.out} …"):
        if not finished(config.out):
            job.base.tokenizer.save(config.out, segments=job.base.shape.segments > 1)
            glyphs.write(job.base.network, config.out)
            done = {seed: job.train(seed) for seed in config.seeds}
            job.finish(done)
        model = load_finetuned(config.out, config.device, config.precision)
    print_scores(model.result)
    print(config.out / "report.html")
    return model


@dataclass
class Job:
    """Everything that was read and settled before anything is trained."""

    config: Finetune  # with nothing left to default
    base: Model
    task: Task
    rows: dict[str, Rows]
    sources: dict[str, Source]

    @classmethod
    def of(cls, config: Finetune) -> Job:
        """Read all files and the base. What does not fit is refused here, before anything is written."""
        task, rows = config.chosen_task.fit(config.train)
        every = {"train": rows, **{split: task.read(path) for split, path in config.splits.items()}}
        base = load(config.model, device="cpu")
        task = task.suited(base.shape, _usual_length(config.model, base))
        if task.length is not None and task.length > base.shape.max_length:
            raise UserError(f"--task.length {task.length}: the model reads up to {base.shape.max_length} tokens")
        base = replace(base, shape=task.model(base.shape))
        config.chosen_tuning.fit(base.shape)
        sources = {split: Source(task.encode(rows, base.tokenizer), task) for split, rows in every.items()}
        return cls(_resolved(config, task, base, sources["train"].encoded), base, task, every, sources)

    def trainer(self, seed: int, states: Path | None = None) -> Trainer:
        """A network with new weights where it has them, and all that trains it; where its states are remembered."""
        config = self.config
        settings = self._settings(seed)
        placement = Placement.of(settings)
        network = network_of(self.base, self.task, config.chosen_tuning, seed, config.init == "pretrained")
        if config.init == "random":  # every seed has a backbone of its own
            for source in self.sources.values():
                source.states = None
        work = Finetuning(
            network, self.task, config.chosen_tuning, self.sources, self.rows, config.batch_size or 0, settings,
            states or config.out / ".states", placement.device,
        )  # fmt: skip
        return Trainer(work, settings, placement, Checkpoints(config.out / f"seed-{seed}", settings.keep))

    def _settings(self, seed: int) -> Training:
        config = self.config
        every = {
            "lr": config.lr,
            "eval_every": config.eval_every,
            "save_every": min(config.eval_every or SAVE, SAVE),
            "keep": 1,
        }
        return Training(**config.model_dump(include=set(Course.model_fields)), **every, seed=seed)

    def train(self, seed: int) -> dict[str, Any]:
        """Train one seed to the end, or from where it was stopped; what it came to."""
        folder = self.config.out / f"seed-{seed}"
        if (folder / DONE).exists():
            done = weights.read_json(folder / DONE)
            tell_lost(self.config.out, done["steps"], self.config.log_every, seed=seed)
            return done
        trainer = self.trainer(seed)
        work: Finetuning = trainer.work  # type: ignore[assignment]
        begun = trainer.begin()
        with (
            Record(self.config.out, begun, self.config.log_every, seed=seed) as record,
            Progress(f"finetune, seed {seed}", trainer.state.steps, begun) as progress,
        ):

            def log(line: dict[str, Any]) -> None:
                written = record.log(line)
                names = ("loss", "tokens_per_second") if line["split"] == "train" else (self.task.main_score,)
                progress.update(
                    line["step"], **{name: written[name] for name in names if written.get(name) is not None}
                )

            train(trainer, log)
        best = trainer.checkpoints.best
        assert best is not None  # the last step was saved
        trainer.weights.load(read_tensors(best / WEIGHTS))
        scores = {split: work.score(split) for split in self.config.splits}
        kept = finetuned.changed(work.network, trainer.weights.masters, everything=self.config.init == "random")
        weights.write(folder / WEIGHTS, kept)
        facts = {
            "scores": scores,
            "step": int(best.name[5:]),
            "parameters": sum(p.numel() for p in work.network.parameters()),
            "trained": sum(t.numel() for t in trainer.weights.trained.values()),
        }
        state = trainer.state
        done = {**facts, "steps": state.steps, "tokens": state.tokens, "seconds": state.seconds}
        replace_file(folder / DONE, json.dumps(done).encode())
        shutil.rmtree(folder / "checkpoints")
        return done

    def finish(self, done: dict[int, dict[str, Any]]) -> None:
        """Keep the seed that is best on the valid file, and write what is to be read. May be repeated after a kill."""
        out, main = self.config.out, self.task.main_score
        best = max(done, key=lambda seed: done[seed]["scores"]["valid"][main])
        if (out / f"seed-{best}" / WEIGHTS).exists():
            (out / f"seed-{best}" / WEIGHTS).replace(out / WEIGHTS)
        finetuned.write(out, self.config.model, self.base.shape, self.task)
        model = load_finetuned(out, self.config.device, self.config.precision)
        held_out = list(self.config.splits)[-1]
        shown = samples(model, self.rows[held_out])
        replace_file(out / "samples.json", json.dumps(shown, ensure_ascii=False).encode())
        placement = Placement.of(self._settings(best))
        how = {"device": placement.device.type, "precision": str(placement.dtype).removeprefix("torch.")}
        said = {"constant": constant(shown["predictions"])}
        write_result(out, {**self._facts(done), **said, "best_seed": best, **how})
        write_report(out)
        shutil.rmtree(out / ".states", ignore_errors=True)
        for seed in done:
            (out / f"seed-{seed}" / WEIGHTS).unlink(missing_ok=True)
        write_card(out)

    def _facts(self, done: dict[int, dict[str, Any]]) -> dict[str, Any]:
        """What `result.json` says of it."""
        config, seeds = self.config, list(done)
        name = next(iter(config.task.chosen))  # type: ignore[attr-defined]
        by_split = {
            split: {
                score: [done[s]["scores"][split][score] for s in seeds] for score in done[seeds[0]]["scores"][split]
            }
            for split in config.splits
        }
        held_out = list(config.splits)[-1]
        how = "random weights" if config.init == "random" else next(iter(config.tuning.chosen))  # type: ignore[attr-defined]
        return {
            "kind": "finetune",
            "title": f"{name}: {config.dataset}, {how}",
            "task": name,
            "dataset": config.dataset,
            "init": config.init,
            "base": config.model,
            "language": _language(config.model),
            "held_out": held_out,
            "main": self.task.main_score,
            "seeds": seeds,
            **over_seeds(by_split[held_out]),
            "splits": {split: over_seeds(scores) for split, scores in by_split.items()},
            **{what: sum(done[seed][what] for seed in seeds) for what in ("steps", "tokens", "seconds")},
            "best_steps": [done[seed]["step"] for seed in seeds],
            "model": {
                "name": name_of(self.base.shape),
                "parameters": done[seeds[0]]["parameters"],
                "trained": done[seeds[0]]["trained"],
                **self.base.shape.model_dump(),
            },
            "data": {split: self._data(split) for split in self.rows},
            "chosen": config.model_dump(mode="json", exclude_unset=True),
            "idle": idle(config, self.base.shape, {}),
        }

    def _data(self, split: str) -> dict[str, Any]:
        return {**self.sources[split].encoded.facts, **self.rows[split].facts, **commonest(self.rows[split])}

    def told(self) -> str:
        """What was read, in words."""
        lines = [told(split, rows, self.sources[split].encoded) for split, rows in self.rows.items()]
        if self.rows["valid"].name == self.rows["train"].name:
            lines.append("valid is the training file: its scores say how well rows are remembered, no more")
        return "\n".join(lines)


def _resolved(config: Finetune, task: Task, base: Model, encoded: Encoded) -> Finetune:
    """The same settings with everything filled in that the data and the base decide."""
    fitting = min(TOKENS * len(encoded.data) / encoded.facts["tokens"], len(encoded.data) / PASS, MOST)
    batch_size = config.batch_size or round(max(fitting, FEWEST))
    a_pass = steps_per_epoch(encoded, batch_size)
    rate = HEAD_RATE if config.chosen_tuning.cached else RATE / base.shape.width
    length: dict[str, Any] = {}
    if config.steps is None and config.minutes is None and config.epochs is None:
        length = {"epochs": float(min(max(-(-STEPS // a_pass), EPOCHS[0]), EPOCHS[-1]))}
    name = next(iter(config.task.chosen))  # type: ignore[attr-defined]
    settled = {
        "task": config.task.model_copy(update={name: task}),  # type: ignore[attr-defined]
        "batch_size": batch_size,
        "lr": config.lr or rate,
        "eval_every": config.eval_every or a_pass,
    }
    return config.model_copy(update={**settled, **length})


def _usual_length(address: str, base: Model) -> int:
    """The length a base was trained with, where its run says so."""
    path = Path(address) / "config.yaml"
    if isinstance(base, Finetuned):
        said = base.task.length
    else:
        said = read_settings(path).get("length") if not address.startswith(HUB) and path.exists() else None
    return min(said if isinstance(said, int) else LONGEST, base.shape.max_length)


def _language(address: str) -> str | None:
    path = Path(address) / "result.json"
    said = weights.read_json(path).get("language") if path.exists() else None
    return said if isinstance(said, str) else None
