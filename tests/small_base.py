"""A small pre-trained run, made up, and files to fine-tune it on."""

from __future__ import annotations

import random
from pathlib import Path

import torch
import yaml

from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.nn.heads import MaskedLMHead, SequenceRelationHead
from unmask.nn.network import Network
from unmask.text.tokens.tokenizer import Tokenizer
from unmask.training.checkpoint import Checkpoints, State

WORDS = [
    *(
        "the",
        "a",
        "film",
        "book",
        "of",
        "and",
        "is",
        "was",
        "very",
        "quite",
        "rather",
        "story",
        "play",
        "actor",
    ),
    *("scene", "long", "short", "in", "on"),
]
GOOD, BAD = ["fine", "good", "great", "lovely"], ["poor", "bad", "awful", "dull"]
SHAPE = {"width": 32, "layers": 2, "heads": 2, "feed_forward": 64, "max_length": 48}
EXACT = {"device": "cpu", "precision": "float32"}


def sentences(count: int, seed: int = 0) -> list[list[str]]:
    """Sentences of words, some with a word that says what is thought of it."""
    chance = random.Random(seed)
    return [
        [
            *chance.choices(WORDS, k=chance.randint(2, 9)),
            chance.choice([GOOD, BAD][n % 2]),
            *chance.choices(WORDS, k=2),
        ]
        for n in range(count)
    ]


def tokenizer() -> Tokenizer:
    """Of the words above."""
    return Tokenizer.train([" ".join(words) for words in sentences(300)], vocab_size=120)


def base(folder: Path, seed: int = 0, **shape: object) -> Path:
    """A run of no steps, with the heads of masked LM and next sentence."""
    tokens = tokenizer()
    sizes = Shape(**{**SHAPE, "vocab_size": tokens.size, **shape})
    torch.manual_seed(seed)
    network = Network(Encoder(sizes), {"masked_lm": MaskedLMHead(sizes), "next_sentence": SequenceRelationHead(sizes)})
    Checkpoints(folder).save(State(step=0, steps=0), dict(network.named_parameters()), {})
    tokens.save(folder)
    config = {"model": sizes.model_dump(), "objective": {"masked_lm": {}, "next_sentence": {}}, "length": 32}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


def classified(path: Path, count: int, seed: int) -> Path:
    """Sentences and whether somebody liked it."""
    lines = [f"{' '.join(words)}\t{['good', 'bad'][n % 2]}" for n, words in enumerate(sentences(count, seed))]
    path.write_text("\n".join(["text\tlabel", *lines]) + "\n", encoding="utf-8")
    return path


def tagged(path: Path, count: int, seed: int) -> Path:
    """Sentences in which the words that say so are marked."""
    tags = {**dict.fromkeys(GOOD, "B-GOOD"), **dict.fromkeys(BAD, "B-BAD")}
    lines = ["\n".join(f"{word} {tags.get(word, 'O')}" for word in words) for words in sentences(count, seed)]
    path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    return path
