"""One file per family; the table of all."""

from unmask.hub.families import (
    albert,
    bart,
    bert,
    deberta,
    distilbert,
    electra,
    gpt2,
    longformer,
    mobilebert,
    modernbert,
    reformer,
    roberta,
    t5,
    xlnet,
)
from unmask.hub.family import Config, Family

FAMILIES: dict[str, Family] = {
    "bert": bert.FAMILY,
    "modernbert": modernbert.FAMILY,
    "gpt2": gpt2.FAMILY,
    "electra": electra.FAMILY,
    "albert": albert.FAMILY,
    "bart": bart.FAMILY,
    "t5-v1.1": t5.FAMILY_1_1,
    "t5": t5.FAMILY,
    "xlnet": xlnet.FAMILY,
    "roberta": roberta.FAMILY,
    "distilbert": distilbert.FAMILY,
    "longformer": longformer.FAMILY,
    "deberta": deberta.FAMILY,
    "mobilebert": mobilebert.FAMILY,
    "reformer": reformer.FAMILY,
}
"By `Shape.family`. Of several that Hugging Face calls by one ``model_type``, those that a setting tells come first."

GONE = ("transformer_xl",)
"""Families that it had once."""


def named(config: Config) -> str | None:
    """The family that a ``config.json`` is of. Under a family's further names what tells it may be left out."""
    kind = config.get("model_type")
    fits = (
        name
        for name, family in FAMILIES.items()
        if kind in (family.model_type, *family.also) and _told(config, family, absent=kind in family.also)
    )
    return next(fits, None)


def _told(config: Config, family: Family, absent: bool) -> bool:
    """Whether settings tell this family from others of its model type; ``absent``: or are not there."""
    return all(config.get(name, value if absent else None) == value for name, value in family.told_by.items())


__all__ = ["FAMILIES", "GONE", "named"]
