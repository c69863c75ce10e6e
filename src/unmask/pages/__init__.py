"""One HTML file that opens without network, light or dark, on a large screen or a small one.

A page extends ``base.html`` and gives it ``title``, ``eyebrow`` and ``summary``; `style.css` is what all pages share.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def page(template: Path, values: dict[str, Any], style: str = "", script: str = "") -> str:
    """A page of this template, with its own style and its own script, beside which none will run."""
    style = (HERE / "style.css").read_text(encoding="utf-8").strip() + style
    return render(template, {**values, "style": style, "script": script, "script_hash": _hash(script)})


def render(template: Path, values: dict[str, Any]) -> str:
    """Any template; those beside it, and what pages share, can be had by name."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([template.parent, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    return environment.get_template(template.name).render(**values)


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
