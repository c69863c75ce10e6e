"""Hugging Face folders in and out."""

from unmask.hub.folder import Found, heads_of, read, write

__all__ = ["Found", "heads_of", "read", "write"]
