"""A `Shape` and Hugging Face's ``config.json``, both ways. What one cannot say of the other is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from unmask.errors import UserError, found
from unmask.hub.families import FAMILIES, named
from unmask.hub.family import Family, refuse_other
from unmask.models.counting import parameters
from unmask.models.shape import Shape

PLAIN = {
    "embedding": "subword", "causal": False, "activation": "gelu", "embedding_norm": True, "norm_kind": "layer",
    "head_width": None, "decoder_layers": 0, "embedding_scale": "none", "tied": True, "activation_dropout": 0.0,
    "embedding_width": None, "layer_sharing": "none", "reformer": None,
}  # fmt: skip
"Parts as families have them that do not say otherwise."


MOST = 10**13
"Parameters that are believed; of more not even the sizes of weights could be written down."


def read_shape(config: Mapping[str, Any], path: Path) -> Shape:
    """The shape that a ``config.json`` describes.

    Raises:
        UserError: Names the setting that has no place here, and what would fit.
    """
    given = config
    config = {name: value for name, value in config.items() if value is not None}
    if (name := named(config)) is None:
        known = ", ".join(
            dict.fromkeys(kind for family in FAMILIES.values() for kind in (family.model_type, *family.also))
        )
        raise UserError(f"{path}: model_type {config.get('model_type')!r} is not known here; {known} are")
    family = FAMILIES[name]
    config = _by_their_first_name(config, family, path)
    _refuse_no_numbers(given, family, path)
    refuse_other(config, family.fixed, path)
    try:
        whole = {**family.defaults, **config}
        numbers = {us: whole[them] for us, them in family.numbers.items()}
        if family.after_padding:
            numbers["max_length"] -= padding(config, family, path) + 1
        shape = Shape(**{"family": name, **family.parts, **numbers, **family.read(whole, path)})
    except ValidationError as error:
        first = error.errors()[0]
        told = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: {_their_name(family, first['loc'])}: {told}") from None
    except (TypeError, AttributeError, ValueError, ArithmeticError, LookupError):
        raise UserError(
            f"{path}: a setting is of the wrong type; a configuration written by transformers would fit"
        ) from None
    if (count := parameters(shape)) > MOST:
        raise UserError(f"{path}: its sizes make {count:,} parameters; those of a model that a machine holds would fit")
    return shape


def _refuse_no_numbers(config: Mapping[str, Any], family: Family, path: Path) -> None:
    """Refuse settings that have to be numbers and are none; a null is not taken for a setting that is not there."""
    for name in family.numbers.values():
        default = family.defaults.get(name)
        kind, wanted = (int, "a whole number") if isinstance(default, int) else (int | float, "a number")
        if name not in config or isinstance(default, bool) or not isinstance(default, int | float):
            continue
        # a list, one for each layer, is for `read` to see to
        if isinstance(config[name], bool) or not isinstance(config[name], kind | list):
            raise UserError(f"{path}: {name} {found(config[name])}: must be {wanted}, as {default}")


def _by_their_first_name(config: Mapping[str, Any], family: Family, path: Path) -> dict[str, Any]:
    """Settings that have two names there by the one that is written."""
    by_name = {name: value for name, value in config.items() if name not in family.aliases}
    for alias, name in family.aliases.items():
        if alias not in config:
            continue
        if by_name.setdefault(name, config[alias]) != config[alias]:
            raise UserError(
                f"{path}: {alias} {config[alias]!r} and {name} {by_name[name]!r} are two names of one setting; "
                "one of them would fit"
            )
    return by_name


def padding(config: Mapping[str, Any], family: Family, path: Path) -> int:
    """The padding's id where positions are counted behind it, else 0. Raises `UserError` where it is none."""
    if not family.after_padding:
        return 0
    told = config.get("pad_token_id")
    pad = family.defaults["pad_token_id"] if told is None else told
    if not isinstance(pad, int) or pad < 0:
        raise UserError(f"{path}: pad_token_id {pad!r}: positions are counted behind it; a token's id would fit")
    return pad


def write_shape(shape: Shape, path: Path, pad: int = 0) -> dict[str, Any]:
    """What ``config.json`` says of a shape.

    Args:
        shape: the model's.
        path: the file, to speak of.
        pad: the padding's id, behind which some count positions.

    Raises:
        UserError: The shape has parts that its family does not have there.
    """
    family = FAMILIES[shape.family]
    for name, fits in {**PLAIN, **family.parts}.items():
        if name in family.numbers or name in family.settled:
            continue
        if (value := getattr(shape, name)) != fits:
            raise UserError(
                f"{path}: model.{name} {value}: only models with {fits} go out as Hugging Face's {shape.family}"
            )
    numbers = {them: getattr(shape, us) for us, them in family.numbers.items()}
    if not shape.segments and family.defaults.get(family.numbers.get("segments", "")):
        raise UserError(f"{path}: Hugging Face's {shape.family} has no place for model.segments 0; 1 or more would fit")
    if family.after_padding:
        numbers |= {"pad_token_id": pad, family.numbers["max_length"]: shape.max_length + pad + 1}
    return {"model_type": family.model_type, **numbers, **family.fixed, **family.write(shape, path)}


def _their_name(family: Family, location: tuple[str | int, ...]) -> str:
    """What they call a setting of ours that is wrong."""
    ours = ".".join(map(str, location[: 2 if location[:1] == ("reformer",) else 1]))
    return {"embedding_width": "embedding_size", **family.numbers}.get(ours, ours) or "model"
