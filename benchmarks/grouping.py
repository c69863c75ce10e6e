"""What Hugging Face's `run_mlm.py` does to a text: one map tokenizes it, another joins and cuts it into rows."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any


def grouped(text: str, tokenizer: Path | str, length: int, cache: str) -> Any:
    """A `datasets.Dataset` of rows of so many tokens of a text file; what is left at the end of a batch is dropped."""
    import datasets
    from transformers import AutoTokenizer

    read = AutoTokenizer.from_pretrained(tokenizer)

    def tokenize(rows: dict[str, Any]) -> Any:
        return read(rows["text"], return_special_tokens_mask=True)

    def group(rows: dict[str, Any]) -> dict[str, Any]:
        joined = {key: list(itertools.chain(*value)) for key, value in rows.items()}
        whole = len(joined["input_ids"]) // length * length
        return {key: [value[i : i + length] for i in range(0, whole, length)] for key, value in joined.items()}

    raw = datasets.load_dataset("text", data_files=text, split="train", cache_dir=cache)
    return raw.map(tokenize, batched=True, remove_columns=["text"]).map(group, batched=True)
