"""Of two sentences that differ in one thing, does a model hold the right one for likelier? (Warstadt 2020, BLiMP.)

A sentence's likelihood is the sum of its tokens' logarithms: of each from those before it, where a model reads from the
left; of each from all others, itself masked, where it reads from both sides (Salazar 2020, 1910.14659). A model of
masked_next_token does both. Chance is 50 %.

    python benchmarks/minimal_pairs.py RUN RUN --pairs FOLDER        pairs by file: a wrong sentence, then the right one
    python benchmarks/minimal_pairs.py RUN --pairs FOLDER --limit 100       the first hundred pairs of each file

T tokens in a batch, N sentences, M answers.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import unmask
from unmask.errors import UserError
from unmask.inference.model import TOKENS_AT_ONCE, Model
from unmask.nn.batch import collate
from unmask.text.example import Array, Example, Stream, Targets
from unmask.text.sampling.batches import by_length


@dataclass(frozen=True)
class Mode:
    """How a head is asked for the tokens of a sentence."""

    name: str
    head: str
    masked: bool  # each token in a copy of its own, in which it is masked; else all in one, from the left
    shift: int  # the answer for a token stands so many places before it


MODES = (
    Mode("masked", "masked_lm", masked=True, shift=0),
    Mode("causal", "causal_lm", masked=False, shift=1),
    Mode("masked", "masked_next_token", masked=True, shift=1),
    Mode("causal", "masked_next_token", masked=False, shift=1),
)


def modes_of(model: Model) -> list[Mode]:
    """The ways in which a model can be asked.

    Raises:
        UserError: There is none.
    """
    if found := [mode for mode in MODES if mode.head in model.heads]:
        return found
    heads = ", ".join(dict.fromkeys(mode.head for mode in MODES))
    raise UserError(f"{model.source}: has none of the heads that say how likely a token is; {heads} would fit")


def likelihoods(model: Model, texts: Sequence[str], mode: Mode) -> Array:
    """[N] the logarithm of each sentence's likelihood, or pseudo-likelihood."""
    ids = [np.array([model.tokenizer.cls, *e.ids, model.tokenizer.sep]) for e in model.tokenizer.encode(list(texts))]
    asked = [
        (n, places)
        for n, sentence in enumerate(ids)
        for places in (np.arange(1, len(sentence) - 1)[:, None] if mode.masked else [np.arange(1, len(sentence) - 1)])
    ]
    sums = np.zeros(len(ids))
    for group in by_length([len(ids[n]) for n, _ in asked], TOKENS_AT_ONCE):
        here = [asked[i] for i in group]
        example = question([ids[n] for n, _ in here], [places for _, places in here], model.tokenizer.mask, mode)
        np.add.at(
            sums, np.repeat([n for n, _ in here], [len(places) for _, places in here]), _said(model, example, mode)
        )
    return sums


def question(sentences: Sequence[Array], places: Sequence[Array], mask: int, mode: Mode) -> Example:
    """Sentences laid end to end, and the tokens at these places of theirs asked for."""
    stream = Stream(np.concatenate(sentences), np.array([len(sentence) for sentence in sentences]))
    index = np.concatenate([start + here for start, here in zip(stream.starts, places, strict=True)])
    tokens, order = stream.tokens.copy(), None if mode.masked else stream.position
    if mode.masked:
        tokens[index] = mask
    return Example(
        {"encoder": Stream(tokens, stream.lengths, order=order)},
        {"token": Targets(index - mode.shift, stream.tokens[index])},
    )


def _said(model: Model, example: Example, mode: Mode) -> Array:
    """[M] the logarithms of the probabilities of what is asked for."""
    batch = collate(example).to(model.device)
    with torch.inference_mode():
        # the matrix may have more rows than the tokenizer has tokens
        logits = model.network.logits(batch, "token", mode.head).float()[:, : model.tokenizer.size]
        said = logits.log_softmax(-1).gather(1, batch.targets["token"].labels[:, None])[:, 0]
    return np.asarray(said.double().cpu())


def accuracy(model: Model, pairs: Sequence[tuple[str, str]], mode: Mode) -> float:
    """Share of pairs (wrong, right) of which the right one is likelier."""
    wrong, right = (likelihoods(model, texts, mode) for texts in zip(*pairs, strict=True))
    return float((right > wrong).mean())


def read_pairs(path: Path, limit: int | None) -> list[tuple[str, str]]:
    """Pairs of lines: a wrong sentence and the right one."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or len(lines) % 2:
        raise UserError(f"{path}: has {len(lines)} lines; pairs of a wrong sentence and a right one would fit")
    return list(zip(lines[::2], lines[1::2], strict=True))[:limit]


def table(models: Mapping[str, Model], paths: Sequence[Path], limit: int | None) -> str:
    """A row for each file of pairs, a column for each model and mode."""
    columns = [(name, mode) for name, model in models.items() for mode in modes_of(model)]
    rows = {}
    for path in paths:
        pairs = read_pairs(path, limit)
        rows[path.stem] = [accuracy(models[name], pairs, mode) for name, mode in columns]
    rows["mean"] = np.mean(list(rows.values()), 0).tolist()
    titles = [f"{name} {mode.name}" for name, mode in columns]
    lines = [f"| pairs | {' | '.join(titles)} |", "|---" * (1 + len(columns)) + "|"]
    return "\n".join(
        lines + [f"| {name} | {' | '.join(f'{share:.1%}' for share in row)} |" for name, row in rows.items()]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="runs, or Hugging Face folders")
    parser.add_argument("--pairs", type=Path, required=True, help="a folder of files of pairs, or one file")
    parser.add_argument("--limit", type=int, help="pairs of each file at most")
    arguments = parser.parse_args()
    try:
        paths = sorted(arguments.pairs.glob("*.txt")) if arguments.pairs.is_dir() else [arguments.pairs]
        print(table({run: unmask.load(run) for run in arguments.runs}, paths, arguments.limit))
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
