"""Settings of a run that had no effect: on its page they would only puzzle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from unmask.objectives.base import Objective
from unmask.training.settings import Course

if TYPE_CHECKING:
    from unmask.models.shape import Shape


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
    return found + [f"model.{name}" for name in numbers if name in without]
