"""Fine-tuning as the loop sees it: labelled rows, a task, a network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from unmask.inference import glyphs
from unmask.inference.building import spell
from unmask.inference.model import Model
from unmask.inference.source import Source
from unmask.models.backbone import backbone_of
from unmask.nn.batch import Batch
from unmask.nn.heads import MaskedLMHead, SequenceRelationHead
from unmask.nn.losses import Loss
from unmask.nn.network import Network
from unmask.nn.task_heads import PoolerHead, TransformHead
from unmask.tasks.base import HEAD, Encoded, Rows, Task
from unmask.text.chance import permutation
from unmask.text.example import Array
from unmask.training.settings import Training
from unmask.tuning.base import Tuning


def network_of(base: Model, task: Task, tuning: Tuning, seed: int, pretrained: bool) -> Network:
    """A base's network with the task's head instead of its own; the seed alone decides what is new.

    Where the head begins with layers that a head of the base has learned (BERT's pooler with next_sentence,
    ModernBERT's dense and norm with masked_lm), these are taken over, as Hugging Face does.
    """
    torch.manual_seed(seed)
    network = Network(backbone_of(base.shape), task.heads(base.shape))
    spell(network, base.tokenizer, glyphs.of(base.network))
    if pretrained:
        learned = base.network.backbone.state_dict()
        # a task may ask for a part of the model alone
        network.backbone.load_state_dict({name: learned[name] for name in network.backbone.state_dict()})
        _take_over(network.heads[HEAD], base.network.heads.values())
    tuning.prepare(network)
    return network


def _take_over(head: nn.Module, learned: Iterable[nn.Module]) -> None:
    if getattr(head, "pooling", None) is not None:
        return  # what was learned of single states says nothing of their means
    for other in learned:
        if isinstance(head, PoolerHead) and isinstance(other, SequenceRelationHead):
            head.pooler.load_state_dict(other.pooler.state_dict())
        if isinstance(head, TransformHead) and isinstance(other, MaskedLMHead):
            head.dense.load_state_dict(other.dense.state_dict())
            head.norm.load_state_dict(other.norm.state_dict())


@dataclass
class Finetuning:
    """A network that learns what people said of rows."""

    network: Network
    task: Task
    tuning: Tuning
    sources: dict[str, Source]  # train, valid and perhaps test
    rows: dict[str, Rows]
    batch_size: int
    settings: Training
    folder: Path  # for what is remembered while training
    device: torch.device

    def __post_init__(self) -> None:
        self.train = self.sources["train"]
        self.weights = {HEAD: self.task.weight}
        self.steps = steps_per_epoch(self.train.encoded, self.batch_size)
        self.steps_per_epoch = float(self.steps)
        self.data = hash_of(self.train.encoded)

    def batches(self, step: int, done: float = 0.0) -> list[Batch]:
        """The rows of a step, in as many pieces as are accumulated. An epoch is a permutation of all rows."""
        self._remember("train")
        self._remember("valid")  # here, so that an evaluation that is timed need not
        numbers = self._numbers(step)
        return [self.train.batch(part) for part in np.array_split(numbers, min(self.settings.accumulate, len(numbers)))]

    def losses(self, batch: Batch) -> dict[str, Loss]:
        """Sum and count of the task's loss."""
        return self.task.loss(self.network, batch)

    def evaluate(self) -> dict[str, float]:
        """Loss and scores on the valid file; the main one is the score."""
        scores = self.score("valid")
        return {**scores, "score": scores[self.task.main_score]}

    def score(self, split: str) -> dict[str, float]:
        """Loss and scores on one of the files."""
        self._remember(split)
        source, rows = self.sources[split], self.rows[split]
        logits, loss = source.answer(self.network, self.device)
        scores = self.task.scores(self.task.predictions(logits, source.encoded, rows), rows)
        return {"loss": float(loss.total) / max(1, loss.count), **scores}

    def origin(self, step: int) -> str:
        """The lines of a step's rows."""
        rows = np.unique(self.train.encoded.rows[self.train.encoded.data.answers(HEAD, self._numbers(step))])
        places = [str(self.rows["train"].places[row]) for row in rows[:20]]
        return f"{self.rows['train'].name}, lines {', '.join(places)}" + (", …" if len(rows) > 20 else "")

    def _numbers(self, step: int) -> Array:
        epoch, place = divmod(step, self.steps)
        order, lengths = (
            _order(len(self.train.encoded.data), self.settings.seed, epoch),
            self.train.encoded.data.lengths,
        )
        edges = np.linspace(0, len(order), self.steps + 1).astype(np.int64)
        numbers = order[edges[place] : edges[place + 1]]
        # the longest first: sequences are laid side by side in their order, and rows are as long as the longest
        return numbers[np.argsort(-lengths[numbers], kind="stable")]

    def _remember(self, split: str) -> None:
        """Compute states once; not before the first use, for then the network is where it computes."""
        if self.tuning.cached and self.sources[split].states is None:
            self.sources[split].remember(self.network, self.folder / f"{split}.states")


def steps_per_epoch(encoded: Encoded, batch_size: int) -> int:
    """Steps that all sequences fill, each with this many or one less."""
    return -(-len(encoded.data) // batch_size)


def hash_of(encoded: Encoded) -> str:
    """Of everything a network learns from."""
    stream, targets = encoded.data.stream, encoded.data.example.targets[HEAD]
    digest = hashlib.blake2b(digest_size=16)
    for array in (stream.tokens, stream.lengths, targets.index, targets.labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> Array:
    return permutation(count, seed, epoch)
