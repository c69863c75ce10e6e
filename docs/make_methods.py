"""Write docs/methods.md: everything that can be chosen by name, as `unmask list` shows it.

Run ``python docs/make_methods.py`` after adding a file to objectives/, tasks/ or tuning/, or a preset.
"""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from unmask.commands.list import Kind, table_of, trained_with

HOME = Path(__file__).parent / "methods.md"
KINDS: dict[Kind, str] = {
    "objectives": "What is asked in pre-training: `--objective NAME`, several joined by commas.",
    "models": "Shapes: `--model NAME`. Each of a shape's numbers is an option too: `--model.layers 3`.",
    "embeddings": "How a model's tokens get their vectors: `--model.embedding NAME`.",
    "tasks": "Objectives whose answers people gave: `--task NAME`.",
    "tuning": "Which weights move in fine-tuning, and which are added: `--tuning NAME`.",
    "tokenizers": "Trained by `unmask prepare --tokenizer-kind NAME`, or loaded by `--tokenizer PATH`.",
    "vectors": "One vector for each word, the baseline before context: `unmask vectors CORPUS --method NAME`.",
}


def main() -> None:
    """Write the page."""
    HOME.write_text(page(), encoding="utf-8")


def page() -> str:
    """The page as Markdown."""
    parts = ["# Methods", "Made by `python docs/make_methods.py`; a test checks that it is up to date."]
    for kind, meaning in KINDS.items():
        parts += [f"## {kind.capitalize()}", meaning, markdown(table_of(kind))]
        if kind == "models":
            parts.append(
                "\n".join(f"- {each}: trained by {', '.join(names)}" for each, names in trained_with().items())
            )
    return "\n\n".join(parts) + "\n"


def markdown(table: Table) -> str:
    """A table with its names as code."""
    names, *columns = ([str(cell).replace("|", "\\|") for cell in column.cells] for column in table.columns)
    head = [str(column.header) for column in table.columns]
    rows = [head, ["---"] * len(head), *zip([f"`{name}`" for name in names], *columns, strict=True)]
    below = f"\n\nThe {table.caption}." if table.caption else ""
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + below


if __name__ == "__main__":
    main()
