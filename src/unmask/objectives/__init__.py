"""One file per pre-training objective: its settings, its corruption, its heads, its loss.

The folder is the registry: a file here is an objective that users can name.
"""
