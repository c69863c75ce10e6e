"""Word vectors from a corpus to a page: learn, save, score, tell."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.config import to_yaml
from unmask.disk import replace_file
from unmask.static import page, scores
from unmask.static.vectors import FILE, WordVectors
from unmask.text.corpus.corpus import Corpus
from unmask.text.corpus.words import Words
from unmask.training.progress import Progress
from unmask.training.record import write_result
from unmask.training.run import opened
from unmask.training.weights import read_json

if TYPE_CHECKING:
    from unmask.commands.vectors import Vectors


def vectors(config: Vectors) -> WordVectors:
    """Learn, or take what was learned, and score it; see `commands.vectors`."""
    corpus = Corpus.open(config.corpus)
    config.chosen[1].ready()
    pairs, questions = scores.files(config.similarity), scores.files(config.analogies)
    _read_all(pairs, questions)
    with opened(config.out, config, config.overwrite, further=f"unmask vectors {config.corpus}"):
        facts = _learned(config, corpus)
        replace_file(config.out / "config.yaml", to_yaml(config).encode())
        found = WordVectors.open(config.out)
        result = write_result(config.out, {**facts, **_scored(found, pairs, questions), "chosen": _chosen(config)})
        page.write(config.out, result, found)
    print(page.in_words(result))
    print(config.out / page.PAGE)
    return replace(found, result=result)


def _read_all(pairs: list[Path], questions: list[Path]) -> None:
    """Refuse files that cannot be used now, not after hours of learning."""
    for path in pairs:
        scores.read_pairs(path)
    for path in questions:
        scores.read_analogies(path)


def _learned(config: Vectors, corpus: Corpus) -> dict[str, Any]:
    """What is to be told of the learning; the vectors lie in the folder then."""
    told = config.out / "result.json"
    if not (told.is_file() and (config.out / FILE).is_file()):
        # told before anything is scored, so that no score that fails takes hours of learning along
        write_result(config.out, {**_learn(config, corpus), **_scored(WordVectors.open(config.out), [], [])})
    return read_json(told)


def _learn(config: Vectors, corpus: Corpus) -> dict[str, Any]:
    name, method = config.chosen
    words, began = Words(corpus), time.monotonic()
    with Progress(name, method.epochs, unit="pass") as bar:
        learned = method.learn(
            words,
            config.seed,
            config.workers,
            lambda done, loss: bar.update(done, **({} if loss is None else {"loss": loss})),
        )
    learned.vectors.save(config.out)
    return {
        "kind": "vectors",
        "title": f"{name} on {corpus.folder.name}",
        "method": name,
        "language": corpus.index.get("language"),
        "seconds": time.monotonic() - began,
        "words": len(learned.vectors.words),
        "size": method.size,
        "losses": learned.losses,
        "data": {
            "documents": corpus.documents,
            "sentences": corpus.sentences,
            "words read": words.count,
            "words that cannot be spelled, left out": words.unknown,
        },
    }


def _scored(found: WordVectors, pairs: list[Path], questions: list[Path]) -> dict[str, Any]:
    """Scores by file, and the one figure of each."""
    alike = {path.stem: scores.similarity(found, path) for path in pairs}
    asked = {path.stem: scores.analogies(found, path) for path in questions}
    return {
        "figures": {
            **{f"spearman/{name}": score.spearman for name, score in alike.items()},
            **{f"accuracy/{name}": score.total.accuracy for name, score in asked.items()},
        },
        "similarity": {name: asdict(score) for name, score in alike.items()},
        "analogies": {name: score.told() for name, score in asked.items()},
    }


def _chosen(config: Vectors) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude_defaults=True, exclude={"out", "overwrite"})
