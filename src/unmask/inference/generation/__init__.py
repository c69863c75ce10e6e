"""Texts that a model writes. N texts."""
