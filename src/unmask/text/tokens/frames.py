"""What stands around a text: [CLS] text [SEP]. Here it is put there with the sequences; files say it for others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tokenizers


def surround(backend: tokenizers.Tokenizer, names: Mapping[str, str]) -> None:
    """Let those who open the saved file elsewhere get what is put around texts here.

    Args:
        backend: whose file.
        names: the special tokens by role.
    """
    backend.post_processor = around(backend, names)


def around(
    backend: tokenizers.Tokenizer, names: Mapping[str, str], ends: bool = True
) -> tokenizers.processors.TemplateProcessing:
    """[CLS] text [SEP], text [SEP] where there is no [CLS]; without [SEP] where a text goes on, ``ends`` false."""
    from tokenizers import processors

    cls, sep = names.get("cls", ""), names["sep"]
    last, second = (sep, f"{sep}:1") if ends else ("", "")
    single = f"{cls} $A {last}".strip()
    return processors.TemplateProcessing(
        single=single,
        pair=f"{single} $B:1 {second}".strip(),
        special_tokens=[(name, backend.token_to_id(name)) for name in (cls, last) if name],
    )


def framed(backend: tokenizers.Tokenizer, names: Mapping[str, str], ends: bool, pairs: bool) -> tokenizers.Tokenizer:
    """The same, or, where its file says otherwise, one whose file puts around a text what is put there here.

    Args:
        backend: from anywhere, with a template of its own perhaps.
        names: the special tokens by role.
        ends: whether a text is closed.
        pairs: whether what stands around two texts has to be as it is here too.
    """
    import tokenizers

    ours = tokenizers.Tokenizer.from_str(backend.to_str())
    ours.post_processor = around(ours, names, ends)
    one, other = (each.encode("a").ids for each in (backend, ours))
    two, others = (each.encode("a", "b").ids for each in (backend, ours))
    return backend if one == other and (two == others or not pairs) else ours
