"""Hugging Face folders in and out."""

from unmask.hub.folder import Found, read, write

__all__ = ["Found", "read", "write"]
