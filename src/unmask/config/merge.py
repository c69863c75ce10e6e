"""Settings in nested dicts: dotted names planted into them, one lot of them laid over another.

Nothing is checked here. What does not fit stays where the check that follows finds it and names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel


def nested(annotation: Any) -> Any:
    """The settings class inside an annotation such as ``Shape`` or ``Shape | None``; None if there is none."""
    if get_origin(annotation) in (Union, UnionType):
        found = [inner for part in get_args(annotation) if (inner := nested(part))]
        return found[0] if len(found) == 1 else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def plant(cls: Any, flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as nested dicts; a scalar that meets dotted names becomes their ``name``.

    ``{"model": "bert-mini", "model.layers": 3}`` -> ``{"model": {"name": "bert-mini", "layers": 3}}``
    """
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        head, _, rest = path.partition(".")
        field = cls.model_fields.get(head)
        inner = nested(field.annotation) if field else None
        if not rest or not (inner or (field and get_origin(field.annotation) is dict)):
            tree[path] = {**named(value), **tree[path]} if inner and isinstance(tree.get(path), dict) else value
            continue
        below = {rest: value} if inner is None or hasattr(inner, "spread") else plant(inner, {rest: value})
        tree[head] = overlay(inner, named(tree.get(head, {})), below)
    return tree


def overlay(cls: Any, under: Any, over: Any) -> Any:
    """The settings ``over`` laid upon ``under``, both of class ``cls`` in any form users may give.

    What ``over`` names replaces what ``under`` named; settings without a name change what was named before.
    """
    if not isinstance(over, dict | str | list) or under is None:
        return over
    if cls is None:
        return {**named(under), **named(over)}
    if hasattr(cls, "spread"):
        return _overlay_choice(cls, under, over)
    under, over = named(under), named(over)
    if "name" in over and "name" not in cls.model_fields:
        return over
    return {**under, **{key: _overlay_field(cls, key, under, value) for key, value in over.items()}}


def _overlay_field(cls: Any, key: str, under: dict[str, Any], value: Any) -> Any:
    inner = nested(cls.model_fields[key].annotation) if key in cls.model_fields else None
    return overlay(inner, under[key], value) if inner and key in under else value


def _overlay_choice(cls: Any, under: Any, over: Any) -> dict[str, Any]:
    before, lost = cls.spread(under)
    over = named(over)
    names = [n.strip() for n in str(over.get("name", "")).split(",") if n.strip()]
    names += [key for key in over if key in cls.members() and key not in names]
    if names:  # settings of what is still chosen stay, those of what is no longer chosen go
        before = {name: before.get(name, {}) for name in names}
    known = [name for name in names if name in over and name in cls.members()]
    members = {name: _overlay_settings(cls.member(name), before[name], over[name]) for name in known}
    loose = {key: value for key, value in over.items() if key not in known and key != "name"}
    return {**before, **lost, **members, **loose}


def _overlay_settings(cls: Any, under: Any, over: Any) -> Any:
    """Settings of a member; in YAML a member that is named and given nothing reads as None."""
    return overlay(cls, under, over or {}) if over is None or isinstance(over, dict) else over


def named(value: Any) -> dict[str, Any]:
    """A name, a list of names, settings or a settings object as a new dict."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, dict):
        return dict(value)
    return {"name": ",".join(map(str, value)) if isinstance(value, list | tuple) else value}
