"""Settings of a run that had no effect: on its page they would only puzzle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from unmask.objectives.base import Objective
from unmask.training.settings import Course

if TYPE_CHECKING:
    from unmask.models.shape import Shape

OF_EMBEDDINGS = {
    "char_cnn": {"filters"},
    "glyph_cnn": {"glyph_channels", "glyph_size"},
    "fasttext_ngrams": {"ngram_buckets"},
}
"Settings of the model that one embedding reads alone."
NONE = {
    "decoder_layers": 0,
    "feed_forwards": 1,
    "layer_sharing": "none",
    "embedding_scale": "none",
    "global_tokens": "none",
}
"Values that say that a model has no such part."


def idle(config: Course, shape: Shape, objectives: Mapping[str, Objective], held_out: bool = True) -> list[str]:
    """Their paths in ``config.yaml``.

    A decay that the schedule lacks, evaluations without held-out text, a number of maskings where every epoch has its
    own, and of the model what is none, and what belongs to positions and windows that it has not.
    """
    found = [] if config.schedule == "constant" else ["decay"]
    found += [] if held_out else ["eval_every"]
    found += [
        f"objective.{name}.dupe_factor"
        for name, objective in objectives.items()
        if getattr(objective, "masking", None) == "dynamic"
    ]
    numbers = shape.model_dump()
    without = {name for name, value in numbers.items() if value is None}
    if numbers.get("positions") != "rotary":
        without |= {"rotary_base", "local_rotary_base"}
    if numbers.get("window") is None:
        without |= {"global_every", "local_rotary_base"}
    for embedding, names in OF_EMBEDDINGS.items():
        if numbers.get("embedding") != embedding:
            without |= names
    without |= {name for name, none in NONE.items() if numbers.get(name) == none}
    return found + [f"model.{name}" for name in numbers if name in without]
