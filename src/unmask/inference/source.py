"""Labelled rows as batches, and a network's answers to them. T tokens, M answers, D width, C labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unmask.inference.model import TOKENS_AT_ONCE
from unmask.nn.batch import Batch, collate
from unmask.nn.losses import Loss
from unmask.nn.network import Network, evaluating
from unmask.nn.task_heads import Head
from unmask.tasks.base import HEAD, Encoded, Task
from unmask.text.example import Array
from unmask.text.sampling.batches import by_length


@dataclass
class Source:
    """Encoded rows as batches, and the states of a backbone that does not move."""

    encoded: Encoded
    task: Task
    states: Tensor | None = None  # [T, D] if the head reads all states, else [M, D], those where it answers

    def batch(self, numbers: Array | list[int]) -> Batch:
        """The sequences with these numbers."""
        numbers = np.asarray(numbers)
        batch = collate(self.encoded.data.pick(numbers))
        if self.states is not None:
            batch.states["encoder"] = self.states[torch.from_numpy(self._kept(numbers))]
            if not self.task.reads_all:
                batch.targets[HEAD].index = torch.arange(len(batch.targets[HEAD].index))
        return batch

    def _kept(self, numbers: Array) -> Array:
        """Where the states of these sequences are kept."""
        data = self.encoded.data
        return data.tokens(numbers) if self.task.reads_all else data.answers(HEAD, numbers)

    @torch.no_grad()
    def remember(self, network: Network, path: Path) -> None:
        """Compute the backbone's states once, into a file that is mapped into memory."""
        data = self.encoded.data
        weight = next(network.backbone.parameters())
        rows = len(data.stream.tokens if self.task.reads_all else data.example.targets[HEAD].index)
        head = network.heads[HEAD]
        assert isinstance(head, Head)
        path.parent.mkdir(parents=True, exist_ok=True)
        found = torch.from_file(str(path), shared=True, size=rows * head.width, dtype=weight.dtype)
        found = found.view(rows, head.width)
        with evaluating(network):
            for group in by_length(data.lengths, TOKENS_AT_ONCE):
                batch = self.batch(group).to(weight.device)
                kept = network.states(batch) if self.task.reads_all else network.states_at(batch, HEAD)
                found[torch.from_numpy(self._kept(np.asarray(group)))] = kept.cpu()
        self.states = found

    def answer(self, network: Network, device: torch.device) -> tuple[Array, Loss]:
        """Logits [M, C] as float32, and the loss of all answers together."""
        total, count = 0.0, 0
        logits = np.zeros((len(self.encoded.rows), len(self.task.labels)), np.float32)
        with evaluating(network):
            for group in by_length(self.encoded.data.lengths, TOKENS_AT_ONCE):
                batch = self.batch(group).to(device)
                said = self.task.logits(network, batch)
                loss = self.task.loss_of(said, batch.targets[HEAD].labels)
                total, count = total + float(loss.total), count + loss.count
                logits[self.encoded.data.answers(HEAD, np.asarray(group))] = said.float().cpu().numpy()
        return logits, Loss(torch.tensor(total), count)
