"""Beam search: the likeliest of several texts that are carried on side by side. N texts, B beams, V vocabulary.

The rules are those of transformers' search with their defaults, so that the same weights write the same text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from unmask.inference.generation.writer import Writer


@dataclass
class Prompt:
    """What one prompt's search has come to."""

    beams: int
    end: int  # the token that ends a text
    texts: list[list[int]] = field(default_factory=lambda: [[]])  # of each beam
    found: list[tuple[float, list[int]]] = field(default_factory=list)  # the best that came to an end, and their scores
    done: bool = False

    def sort_out(self, sums: list[float], candidates: list[tuple[int, int]], worth: float, last: bool) -> list[int]:
        """Which candidates go on, B of them; those that end are taken if they are among the B best of all.

        Args:
            sums: their log-probabilities, the highest first.
            candidates: for each the beam that it continues, and the token.
            worth: what a sum is divided by.
            last: whether all of them end here.
        """
        ends = [last or token == self.end for _, token in candidates]
        for rank in (rank for rank in range(self.beams) if ends[rank] and not self.done):
            beam, token = candidates[rank]
            self._take(sums[rank] / worth, self.texts[beam] + [token] * (token != self.end))
        going = [rank for rank, ended in enumerate(ends) if not ended][: self.beams]
        # nothing is looked for any more once what goes on is worse than all that is found
        full = len(self.found) == self.beams
        self.done = self.done or last or (full and sums[going[0]] / worth <= self.found[-1][0])
        self.texts = [self.texts[beam] + [token] for beam, token in (candidates[rank] for rank in going)]
        return going

    def _take(self, score: float, text: list[int]) -> None:
        self.found = sorted([*self.found, (score, text)], key=lambda found: -found[0])[: self.beams]


def search(writer: Writer, beams: int, penalty: float, end: int, most: int) -> list[list[int]]:
    """The best text for each prompt, without the token that ends it.

    Args:
        writer: N prompts.
        beams: B.
        penalty: a text's score is its log-probability over its length to this power.
        end: the token that ends a text.
        most: tokens that are written at most.
    """
    scores = writer.begin().log_softmax(-1)  # [N, V]; later [N*B, V]
    count, size = scores.shape
    prompts = [Prompt(beams, end) for _ in range(count)]
    sums, first = scores.new_zeros(count, 1), torch.arange(count, device=scores.device)[:, None]
    for length in range(1, most + 1):
        across = sums.shape[1]
        best, places = (sums[:, :, None] + scores.view(count, across, size)).flatten(1).topk(2 * beams)
        continued, tokens = places // size, places % size
        candidates = [list(zip(*both, strict=True)) for both in zip(continued.tolist(), tokens.tolist(), strict=True)]
        going = [
            prompt.sort_out(values, ranked, length**penalty, length == most)
            for prompt, values, ranked in zip(prompts, best.tolist(), candidates, strict=True)
        ]
        if all(prompt.done for prompt in prompts):
            break
        rows = torch.tensor(going, device=scores.device)  # [N, B]
        sums = best.gather(1, rows)
        writer.branch((first * across + continued.gather(1, rows)).flatten())
        scores = writer.add(tokens.gather(1, rows).flatten()).log_softmax(-1)
    return [prompt.found[0][1] for prompt in prompts]
