"""Run folders as commands leave them, made up."""

import json
import math
import random
from pathlib import Path

from unmask.training.record import Record, over_seeds, write_result

MODEL = {
    "name": "modernbert-mini",
    "parameters": 11_034_112,
    "layers": 7,
    "width": 256,
    "heads": 4,
    "vocabulary": 8192,
}


def pretrain(folder: Path, steps=2000, lines=200, title="masked_lm on wiki", **extra) -> Path:
    """A pre-training run."""
    chance, every = random.Random(1), max(1, steps // lines)
    with Record(folder) as record:
        for step in range(every, steps + 1, every):
            seconds, loss = step * 0.15, 2.8 + 6.2 * math.exp(-step / 350)
            noisy = loss + chance.gauss(0, 0.12)
            rate = 5e-4 * min(step / (0.1 * steps), (steps - step) / (0.9 * steps))
            record.log(
                {
                    **{"step": step, "split": "train", "loss": noisy, "loss/masked_lm": noisy, "lr": rate},
                    **{"grad_norm": 0.6 + 2 * math.exp(-step / 200) + abs(chance.gauss(0, 0.1))},
                    **{"tokens": step * 4050, "seconds": seconds + chance.random()},
                }
            )
            if step % (10 * every) == 0:
                held = loss + 0.08
                score = 0.5 * (1 - math.exp(-step / 700))
                record.log(
                    {
                        "step": step,
                        "split": "valid",
                        "loss": held,
                        "loss/masked_lm": held,
                        "accuracy/masked_lm": score,
                    }
                )
    write_result(
        folder,
        {
            **{"kind": "pretrain", "title": title, "language": "en", "main": "loss", "steps": steps},
            "figures": {
                "loss": 2.884,
                "loss/masked_lm": 2.884,
                "accuracy/masked_lm": 0.471,
                "perplexity": 17.88,
            },
            **{
                "tokens": steps * 4050,
                "seconds": steps * 0.15,
                "device": "cpu",
                "precision": "bfloat16",
                "seeds": [1],
            },
            "model": MODEL,
            "data": {
                **{"documents": 9210, "sentences": 80_123, "tokens": 2_517_334, "words": 1_930_010},
                **{"tokens_per_word": 1.304, "vocabulary": 8192, "unknown": 0.00012, "fill": 0.9931},
                **{"cut": 3, "skipped": 41},
            },
            "chosen": {"corpus": "corpora/wiki", "out": "runs/a", "objective": {"masked_lm": {"rate": 0.3}}},
            **extra,
        },
    )
    (folder / "samples.json").write_text(json.dumps({"fill": FILL}), encoding="utf-8")
    (folder / "config.yaml").write_text("corpus: corpora/wiki\nobjective:\n  masked_lm:\n    rate: 0.3\nsteps: 2000\n")
    return folder


FILL = [
    {
        "text": "Paris is the [MASK] of France.",
        "masks": [{"truth": "capital", "guesses": [["capital", 0.83], ["city", 0.06], ["centre", 0.02]]}],
    },
    {
        "text": "The [MASK] was built in [MASK].",
        "masks": [
            {"truth": "bridge", "guesses": [["church", 0.31], ["house", 0.12], ["station", 0.07]]},
            {"truth": None, "guesses": [["1912", 0.04], ["London", 0.03]]},
        ],
    },
]


def classify(folder: Path, init="pretrained", base=0.87, dataset="sst-2", **extra) -> Path:
    """A fine-tuned classifier of three seeds."""
    chance, seeds = random.Random(init), [1, 2, 3]
    scores = [base + chance.gauss(0, 0.006) for _ in seeds]
    for seed, score in zip(seeds, scores, strict=True):
        with Record(folder, seed=seed) as record:
            for step in range(10, 601, 10):
                loss = 0.15 + 0.55 * math.exp(-step / 150) + abs(chance.gauss(0, 0.03))
                rate = 2e-4 * (600 - step) / 600
                record.log(
                    {
                        **{
                            "step": step,
                            "split": "train",
                            "loss": loss,
                            "lr": rate,
                            "grad_norm": 1 + chance.random(),
                        },
                        **{"tokens": step * 900, "seconds": step * 0.05},
                    }
                )
                if step % 100 == 0:
                    now = 0.5 + (score - 0.5) * (1 - math.exp(-step / 120))
                    record.log({"step": step, "split": "valid", "loss": loss + 0.1, "accuracy": now, "score": now})
    write_result(
        folder,
        {
            **{
                "kind": "finetune",
                "title": f"classify: {dataset}, {init}",
                "task": "classify",
                "dataset": dataset,
            },
            **{
                "init": init,
                "base": "runs/a",
                "seeds": seeds,
                "held_out": "test",
                "main": "accuracy",
                "language": "en",
            },
            **over_seeds({"accuracy": scores, "f1": [score - 0.004 for score in scores]}),
            **{"steps": 1800, "tokens": 1_620_000, "seconds": 95.0, "device": "cpu", "precision": "bfloat16"},
            "model": MODEL,
            "data": {
                "train": {"rows": 67_349, "tokens_per_row": 12.3, "cut_rows": 4, "cut_tokens": 61},
                "valid": {"rows": 872, "tokens_per_row": 24.9, "cut_rows": 0, "cut_tokens": 0},
            },
            "chosen": {"seeds": seeds, "lr": 2e-4},
            **extra,
        },
    )
    samples = {
        "predictions": [
            {"text": "a fine film", "truth": "positive", "predicted": "positive", "probability": 0.981},
            {"text": "so bad it is good", "truth": "positive", "predicted": "negative", "probability": 0.72},
            {"text": "long " * 200, "truth": "negative", "predicted": "negative", "probability": 0.9},
        ],
        "confusion": {"labels": ["negative", "positive"], "counts": [[370, 58], [49, 395]]},
        "labels": {
            "negative": {"precision": 0.883, "recall": 0.864, "f1": 0.874, "count": 428},
            "positive": {"precision": 0.872, "recall": 0.89, "f1": 0.881, "count": 444},
        },
    }
    (folder / "samples.json").write_text(json.dumps(samples), encoding="utf-8")
    (folder / "config.yaml").write_text("task: classify\nlr: 0.0002\n")
    return folder


def tag(folder: Path, **extra) -> Path:
    """A fine-tuned tagger of one seed, with predictions only."""
    folder.mkdir(parents=True)
    sentence = {
        "words": ["He", "reckons", "the", "current", "account", "deficit", "will", "narrow", "."],
        "truth": ["B-NP", "B-VP", "B-NP", "I-NP", "I-NP", "I-NP", "B-VP", "I-VP", "O"],
    }
    right = {**sentence, "predicted": sentence["truth"]}
    wrong = {**sentence, "predicted": ["B-NP", "B-VP", "B-NP", "I-NP", "O", "B-NP", "B-VP", "I-VP", "O"]}
    write_result(
        folder,
        {
            **{"kind": "finetune", "title": "tag: conll2000", "task": "tag", "dataset": "conll2000"},
            **{
                "init": "pretrained",
                "seeds": [1],
                "figures": {"f1": 0.912, "accuracy": 0.945},
                "by_seed": {"f1": [0.912]},
            },
            **extra,
        },
    )
    (folder / "samples.json").write_text(json.dumps({"predictions": [right, wrong]}), encoding="utf-8")
    return folder
