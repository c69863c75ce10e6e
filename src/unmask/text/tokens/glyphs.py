"""Chinese characters as small grey images (Meng 2019, Glyce, 1901.10125). G characters, S places of a side."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unmask.errors import UserError
from unmask.text.example import Array
from unmask.text.tokens.tokenizer import Tokenizer
from unmask.text.tokens.units import is_han

NO_CHARACTER = "\U0010ffff"
"""What no font has: its image is what stands for any other that is missing."""
SQUARE = "国"
"""Fills the square of a font's characters; all are laid as it is."""
OPTION = "--model.font FILE"


@dataclass(frozen=True)
class Glyphs:
    """The images of those tokens that have one."""

    tokens: Array  # [G] int64
    images: Array  # [G, S, S] uint8, 0 where there is no ink


def characters(tokenizer: Tokenizer) -> dict[int, str]:
    """The tokens that are one Chinese character, and which."""
    texts = enumerate(surface.decode(errors="replace").strip() for surface in tokenizer.alphabet.surface)
    return {token: text for token, text in texts if len(text) == 1 and is_han(text) and not tokenizer.special[token]}


def drawn(tokenizer: Tokenizer, font: str | None, size: int) -> Glyphs:
    """Draw a vocabulary's characters.

    Args:
        tokenizer: whose.
        font: a file; none: fontconfig's first that has Chinese.
        size: S.

    Raises:
        UserError: there is no font, it is none, or it has none of the characters; or Pillow is not installed.
    """
    if not (found := characters(tokenizer)):
        raise UserError("--model.embedding glyph_cnn: the vocabulary has no Chinese character; subword would fit")
    return draw(found, font, size)


def draw(wanted: Mapping[int, str], font: str | None, size: int) -> Glyphs:
    """The same of some tokens, of which there may be none."""
    if not wanted:
        return Glyphs(np.empty(0, np.int64), np.empty((0, size, size), np.uint8))
    file, index = (font, 0) if font else installed()
    images = _draw(list(wanted.values()), file, index, size)
    there = np.flatnonzero([image is not None for image in images])
    if not len(there):
        raise UserError(f"{file}: has none of the vocabulary's {len(wanted):,} Chinese characters; {OPTION} names one")
    return Glyphs(np.array(list(wanted))[there], np.stack([image for image in images if image is not None]))


def installed() -> tuple[str, int]:
    """The file of a font that fontconfig has for Chinese, and which in it. Raises `UserError` where there is none."""
    # its first match may lack the language that was asked for
    command = ["fc-match", "-s", "-f", "%{file}\t%{index}\t%{lang}\n", ":lang=zh-cn"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise UserError(f"glyph_cnn: fontconfig (fc-match) is not there to find a font; {OPTION} names one") from None
    for file, index, languages in (line.split("\t") for line in said.splitlines()):
        if "zh-cn" in languages.split("|"):
            return file, int(index) & 0xFFFF  # above it the number of a style that is made of others
    raise UserError(f"glyph_cnn: fontconfig knows no font for Chinese; install one, or {OPTION} names one")


def _draw(texts: Sequence[str], file: str, index: int, size: int) -> list[Array | None]:
    """Each character alone, its square over the image; none where the font has it not."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise UserError("glyph_cnn draws with Pillow, which is not installed; pip install unmask[glyph]") from None
    if not Path(file).is_file():
        raise UserError(f"{file}: no such file; {OPTION} names a font")
    try:
        # the same with and without libraqm, which only lines of text need
        font = ImageFont.truetype(file, size, index=index, layout_engine=ImageFont.Layout.BASIC)
    except OSError:
        raise UserError(f"{file}: is no font that can be read; {OPTION} names one") from None

    left, top, right, bottom = font.getbbox(SQUARE, anchor="ls")
    corner = round((size - left - right) / 2), round((size - top - bottom) / 2)

    def image(text: str) -> Array:
        sheet = Image.new("L", (size, size))
        ImageDraw.Draw(sheet).text(corner, text, fill=255, font=font, anchor="ls")
        return np.asarray(sheet, np.uint8)

    missing, images = image(NO_CHARACTER), [image(text) for text in texts]
    return [None if (each == missing).all() or not each.any() else each for each in images]
