"""Folders that lie with Hugging Face."""

from __future__ import annotations

from pathlib import Path

from unmask.errors import UserError, first_line

HUB = "hf:"


def fetch(name: str | Path) -> Path:
    """The local copy of ``hf:owner/name``: what is no weights, and weights in safetensors."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(
            f"{name}: fetching needs huggingface_hub; pip install huggingface_hub, or name a folder"
        ) from None
    wanted = ["*.json", "*.txt", "*.safetensors"]
    try:
        return Path(snapshot_download(str(name).removeprefix(HUB), allow_patterns=wanted))
    except Exception as error:  # its errors have no common class, and each means that there is nothing to load
        raise UserError(f"{name}: could not be fetched ({first_line(error)})") from None
