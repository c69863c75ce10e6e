"""Vectors of words as a model without layers, so that any task can be learned from them. V words, D width."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from unmask.config import build
from unmask.inference.model import Model
from unmask.models.encoder import Encoder
from unmask.models.shape import Shape
from unmask.nn.network import Network
from unmask.static.vectors import FILE, WordVectors
from unmask.text.tokens.tokenizer import Tokenizer


def of_vectors(path: Path) -> Model:
    """The model of a folder that `unmask vectors` left; what is no word of it has the mean of all vectors."""
    found = WordVectors.open(path)
    tokenizer = Tokenizer.of_words(found.words)
    sizes = {"vocab_size": tokenizer.size, "width": found.matrix.shape[1], "heads": 1}
    shape = build(Shape, sizes, spell=lambda key: f"{path / FILE}: {key} of vectors").static
    matrix = np.zeros((tokenizer.size, shape.width), np.float32)
    matrix[tokenizer.unk] = found.matrix.mean(0)
    numbers = tokenizer.backend.get_vocab()
    matrix[[numbers[word] for word in found.words]] = found.matrix
    with torch.device("meta"):
        network = Network(Encoder(shape), {})
    network.fill({"backbone.embeddings.tokens.weight": torch.from_numpy(matrix)})
    notes = ["n-grams are left out: what is none of the words is unknown"] if found.ngrams else []
    return Model(path / FILE, shape, network, tokenizer, notes)
