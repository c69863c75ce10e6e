"""Pre-training as the loop sees it: a corpus, objectives, a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unmask.errors import UserError
from unmask.inference.building import begin_alike
from unmask.inference.filling import filler, guesses
from unmask.nn import dropout
from unmask.nn.batch import Batch, collate
from unmask.nn.losses import Loss
from unmask.nn.network import Network, evaluating
from unmask.objectives.base import Objective, lots
from unmask.runs.frequency import by_frequency
from unmask.text.chance import generator
from unmask.text.example import Array
from unmask.text.sampling.plan import Plan, draw
from unmask.text.tokens.tokenizer import Tokenizer
from unmask.training.placement import Placement
from unmask.training.settings import Training

HELD_OUT_STEPS = 50  # at most so many batches are evaluated
KNOWN_STEPS = 100  # of training, at most, whose answers are counted
TRIED_STEPS = 8  # in one of these at least something must be asked
SHOWN = 40  # tokens of a text in which masks are filled


def take_over(network: Network, base: Network) -> None:
    """Give a network the weights of another of its shape, and its heads and companions those that both have.

    Segments that the other does not know (UniLM's) stay as they were made, and vectors of tokens that differ from a
    companion's are the other's: they differ by nothing, unless the other brings that companion.
    """
    theirs = dict(base.named_parameters())
    _copy({name: weight for name, weight in theirs.items() if name.startswith("backbone.")}, network)
    begin_alike(network)
    _copy(theirs, network)
    if (difference := network.difference) is not None:
        known = f"companions.{network.differing}.embeddings.tokens.weight" in theirs
        difference.part(len(theirs["backbone.embeddings.tokens.weight"]), known)


def fresh(network: Network, base: Network) -> list[str]:
    """Heads and companions of a network that another one lacks, or has in part, so that they begin at random."""
    known = {name for name, _ in base.named_parameters()}
    lacking = [name for name, _ in network.named_parameters() if name not in known]
    parts = [name.split(".")[:2] for name in lacking if not name.startswith("backbone.")]
    return [{"heads": f"the {name} head"}.get(kind, f"the {name}") for kind, name in dict.fromkeys(map(tuple, parts))]


@torch.no_grad()
def _copy(weights: Mapping[str, Tensor], network: Network) -> None:
    for name, parameter in network.named_parameters():
        if name in weights:
            parameter[: len(weights[name])].copy_(weights[name])


class Pretraining:
    """A network that answers objectives on a corpus."""

    def __init__(
        self,
        network: Network,
        objectives: Mapping[str, Objective],
        plan: Plan,
        held_out: Plan | None,
        settings: Training,
        placement: Placement,
    ):
        self.network, self.plan, self.held_out = network, plan, held_out
        asked = {name: objective.asked_of(network.backbone.shape) for name, objective in objectives.items()}
        self.objectives, self.lots = list(asked.values()), [list(together.values()) for together in lots(asked)]
        self.rates = np.cumsum([o.mixing_rate for o in self.objectives if o.mixing_rate is not None])
        self.settings, self.placement = settings, placement
        self.weights = {head: weight for o in self.objectives for head, weight in o.weights().items()}
        self.shares: Counter[str] = Counter()  # by head, of the steps that ask it
        for rate, together in zip(np.diff(self.rates, prepend=0), self.lots, strict=False):
            self.shares.update({head: rate for o in together for head in o.weights()})
        self.steps_per_epoch = plan.rows / plan.rows_per_step
        self.data = plan.corpus.hash
        self.fresh: list[str] = []  # what a base lacked

    def check(self) -> None:
        """Refuse text of which nothing is asked, and held-out text that cannot be used, before hours of training.

        Whole steps are looked at, not this rank's part of them: all ranks refuse, or none.
        """
        self.held_out_answers()
        first = range(min(TRIED_STEPS, int(np.ceil(self.steps_per_epoch))))
        whole = (self._batch(self.plan, self._drawn(step), 0.0, step, 0, 1) for step in first)
        if not any(any(batch.counts.values()) for batch in whole):
            raise UserError(
                f"{self.plan.corpus.folder}: nothing is asked of this text, {self.plan.corpus.tokens:,} tokens in "
                f"{self.plan.rows} rows (steps tried: {len(first)}); more text, documents of more sentences, "
                "a larger --batch-size or --length, or an --objective that asks more often would fit"
            )

    def held_out_answers(self) -> dict[str, int]:
        """How many answers of each head the held-out figures are means over."""
        return dict(sum((Counter(batch.counts) for batch in self._held_out_batches()), Counter()))

    def batches(self, step: int, done: float = 0.0) -> list[Batch]:
        """This rank's part of a step, in as many pieces as are accumulated; a share ``done`` of all steps is behind."""
        pieces = self.settings.accumulate
        places = range(self.placement.rank * pieces, (self.placement.rank + 1) * pieces)
        world, lot = self.placement.world * pieces, self._drawn(step)
        return [self._batch(self.plan, lot, done, step, place, world) for place in places]

    def _drawn(self, step: int) -> int:
        """Which objectives this step asks: by their rates, the same on all ranks."""
        drawn = generator("objective", self.settings.seed, step).random() if len(self.lots) > 1 else 0.0
        return int(np.searchsorted(self.rates[:-1], drawn, "right"))

    def losses(self, batch: Batch) -> dict[str, Loss]:
        """The sums and counts of every objective that asks."""
        return {name: loss for o in self.lots[batch.lot] for name, loss in o.loss(self.network, batch).items()}

    def evaluate(self) -> dict[str, float]:
        """Mean losses and accuracies on held-out text, corrupted the same way each time."""
        if self.held_out is None:
            return {}
        with evaluating(self.network):
            totals = self._totals(self._held_out_batches())
        means = {f"{what}/{name}": total / max(1.0, count) for (what, name), (total, count) in totals.items()}
        loss = sum(
            weight * self.shares.get(name, 1.0) * means.get(f"loss/{name}", 0.0)
            for name, weight in self.weights.items()
        )
        made = {name: value for o in self.objectives for name, value in o.figures(means).items()}
        return {"loss": loss, **means, **made}

    def by_frequency(self) -> dict[str, float]:
        """The figures of `evaluate` that the frequency of answers in this rank's first steps would reach."""
        steps = range(min(KNOWN_STEPS, int(np.ceil(self.steps_per_epoch)))) if self.held_out else ()
        seen = (batch for step in steps for batch in self.batches(step, 1.0))
        return by_frequency(*(map(self._decided, batches) for batches in (seen, self._held_out_batches())))

    def _decided(self, batch: Batch) -> Batch:
        """With the answers settled that hang on what the network itself says."""
        if deciding := [o for o in self.lots[batch.lot] if o.decides]:
            on_device = batch.to(self.placement.device)
            with evaluating(self.network):
                for objective in deciding:
                    objective.loss(self.network, on_device)
            batch.targets = on_device.targets
        return batch

    def origin(self, step: int) -> str:
        """The documents of a step."""
        slots, _, _ = self.plan.slots(step)
        numbers = sorted(set(slots.document.tolist()))
        return "documents " + ", ".join(map(str, numbers[:20])) + (", …" if len(numbers) > 20 else "")

    def filled(self, wanted: int) -> list[dict[str, Any]]:
        """Masks filled in stretches of (held-out) text, in the form of `unmask.report`; none where none fills any."""
        if filler(self.network.heads) is None:
            return []
        plan = self.held_out or self.plan
        slots, _, _ = plan.slots(0)
        starts = (np.cumsum(slots.lengths) - slots.lengths)[:wanted]
        stretches = [slots.tokens[a : a + min(n, SHOWN)] for a, n in zip(starts, slots.lengths, strict=False)]
        return [self._fill(plan.corpus.tokenizer, np.asarray(tokens), n) for n, tokens in enumerate(stretches)]

    def _fill(self, tokenizer: Tokenizer, tokens: Array, n: int) -> dict[str, Any]:
        """Hide one or two tokens of a text and let the network guess."""
        hidden = np.sort(np.random.default_rng(n).choice(len(tokens), min(2, len(tokens)), replace=False))
        masked = tokens.copy()
        masked[hidden] = tokenizer.mask
        with evaluating(self.network):
            found = guesses(self.network, tokenizer, np.concatenate([[tokenizer.cls], masked, [tokenizer.sep]]), 5)
        truths = tokenizer.tokens(tokens[hidden].tolist())
        masks = [{"truth": t, "guesses": g} for t, g in zip(truths, found, strict=True)]
        between = [tokenizer.decode(part[part != tokenizer.mask]) for part in np.split(masked, hidden)]
        return {"text": f" {tokenizer.tokens([tokenizer.mask])[0]} ".join(between).strip(), "masks": masks}

    def _totals(self, batches: Iterator[Batch]) -> dict[tuple[str, str], tuple[float, float]]:
        totals: dict[tuple[str, str], tuple[float, float]] = {}
        for number, batch in enumerate(batches):
            dropout.seed(self.settings.seed, number, 0)  # for objectives that are about dropout: the same each time
            for name, loss in self.losses(batch.to(self.placement.device)).items():
                assert loss.correct is not None  # counted whenever gradients are off
                sums = {"loss": (loss.total, loss.count), "accuracy": (loss.correct, loss.count), **loss.figures}
                for what, (value, over) in sums.items():
                    total, count = totals.get((what, name), (0.0, 0.0))
                    totals[what, name] = total + value.item(), count + over
        return totals

    def _held_out_batches(self) -> Iterator[Batch]:
        if self.held_out is None:
            return
        whole = int(np.ceil(self.held_out.rows / self.held_out.rows_per_step))
        for step in range(min(HELD_OUT_STEPS, whole)):
            for lot in range(len(self.lots)):
                yield self._batch(self.held_out, lot, 1.0, step, 0, 1)

    def _batch(self, plan: Plan, lot: int, done: float, step: int, rank: int, world: int) -> Batch:
        asked = [objective.at(done) for objective in self.lots[lot]]
        example = draw(plan, asked, plan.corpus.tokenizer, self.settings.seed, step, rank=rank, world=world)
        return replace(collate(example, plan.length), lot=lot)
