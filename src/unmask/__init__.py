"""Pre-train, fine-tune and compare the whole BERT family on your own text.

Everything is imported when it is first used: ``import unmask`` itself costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from unmask.inference.loading import load as load
    from unmask.static.vectors import WordVectors as WordVectors

    prepare: Callable[..., Any]
    pretrain: Callable[..., Any]
    finetune: Callable[..., Any]
    predict: Callable[..., Any]
    evaluate: Callable[..., Any]
    fill: Callable[..., Any]
    generate: Callable[..., Any]
    convert: Callable[..., Any]
    inspect: Callable[..., Any]
    demo: Callable[..., Any]
    vectors: Callable[..., Any]

__version__: str
__all__ = [
    "WordVectors",
    "convert",
    "demo",
    "evaluate",
    "fill",
    "finetune",
    "generate",
    "inspect",
    "load",
    "predict",
    "prepare",
    "pretrain",
    "vectors",
]


def __getattr__(name: str) -> Any:
    value: Any
    if name == "load":
        from unmask.inference.loading import load as value
    elif name == "WordVectors":
        from unmask.static.vectors import WordVectors

        value = WordVectors
    elif name == "__version__":
        from importlib.metadata import version

        value = version("unmask")
    elif name in __all__ or name == "list":  # not in `__all__`, where it would hide Python's own
        from unmask.calls import function

        value = function(name)
    else:
        raise AttributeError(f"module 'unmask' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(["__version__", "list", *__all__])
