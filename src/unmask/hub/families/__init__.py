"""One file per family; the table of all."""

from unmask.hub.families import bert, gpt2, modernbert
from unmask.hub.family import Family

FAMILIES: dict[str, Family] = {
    "bert": bert.FAMILY,
    "modernbert": modernbert.FAMILY,
    "gpt2": gpt2.FAMILY,
}
"By what Hugging Face calls its ``model_type``, which is what we call `Shape.family`."

__all__ = ["FAMILIES"]
