"""Files as text: unpacked and decoded strictly, with memory that does not grow with them."""

from __future__ import annotations

import codecs
import io
import itertools
import zlib
from collections.abc import Callable, Iterator
from gzip import BadGzipFile, GzipFile
from lzma import LZMAError, LZMAFile
from pathlib import Path
from typing import IO, Any

from unmask.errors import UserError

PACKED = (".gz", ".xz", ".zst")
BLOCK = 1 << 20
"""Bytes read at a time."""


def format_of(path: Path) -> str:
    """A file's ending without that of its packing: ``.txt`` of ``a.txt.gz``, nothing of ``wiki_00.gz``."""
    name = path.with_suffix("") if path.suffix in PACKED else path
    return name.suffix.lower()


def head(path: Path, size: int = 4096) -> bytes:
    """The first bytes of a file, unpacked. Raises `UserError` where it cannot be read."""
    return next(_blocks(path, size), b"")


Meter = Callable[[int], object]
"""Is told how many of a file's bytes, as they are stored, have been read."""


def lines(
    path: Path, encoding: str = "utf-8", longest: int | None = None, meter: Meter = lambda _: None
) -> Iterator[str]:
    r"""A file's lines without their ends, which may be ``\n``, ``\r\n`` or ``\r``.

    Args:
        path: the file; packed ones (.gz, .xz, .zst) are unpacked.
        encoding: the one and only encoding of the file; a byte-order mark is left out.
        longest: a line of more characters than this is cut, after a space where there is one.
        meter: told how far it is.

    Raises:
        UserError: the file cannot be read, is packed wrongly, binary, or not in this encoding: with line and byte.
    """
    rest = ""
    for text in _texts(path, encoding, meter):
        *whole, rest = (rest + text).split("\n")
        yield from whole
        while longest and len(rest) > longest:
            cut = rest.rfind(" ", 0, longest) + 1 or longest
            yield rest[:cut]
            rest = rest[cut:]
    if rest:
        yield rest


def _texts(path: Path, encoding: str, meter: Meter) -> Iterator[str]:
    """The text of a file in blocks, line ends as they are in Python."""
    decoder, newlines = _decoder(encoding), io.IncrementalNewlineDecoder(None, translate=True)
    line, at = 1, 0
    for block in itertools.chain(_blocks(path, BLOCK, meter), [b""]):
        mark = len(codecs.BOM_UTF8) if at == 0 and block.startswith(codecs.BOM_UTF8) and _is_utf8(encoding) else 0
        pending = len(decoder.getstate()[0])
        try:
            text = newlines.decode(decoder.decode(block[mark:], final=not block), final=not block)
        except UnicodeDecodeError as error:
            raise UserError(_broken(path, encoding, error, line, at + mark - pending)) from None
        if "\0" in text:
            where = line + text[: text.index("\0")].count("\n")
            raise UserError(
                f"{path}: line {where} holds a zero byte; give text, as utf-8 (unmask prepare takes --encoding utf-16)"
            )
        line += text.count("\n")
        at += len(block)
        yield text


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    try:
        b"ab".decode(encoding, "ignore")
        return codecs.getincrementaldecoder(encoding)("strict")
    except LookupError:
        raise UserError(f"--encoding {encoding}: not known; utf-8, utf-16, latin-1, gb18030 and others are") from None


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def _broken(path: Path, encoding: str, error: UnicodeDecodeError, line: int, at: int) -> str:
    """What to say of bytes that do not decode; ``line`` and ``at`` are where the bytes looked at begin."""
    line += error.object[: error.start].count(b"\n")
    byte = error.object[error.start]
    wide = at == 0 and error.object[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    fits = "utf-16" if wide else "latin-1, gb18030, …"
    return (
        f"{path}: not {encoding} at line {line} (byte {at + error.start} is 0x{byte:02x}); repair that line, or save "
        f"it all as utf-8 (unmask prepare takes --encoding {fits})"
    )


def _blocks(path: Path, size: int, meter: Meter = lambda _: None) -> Iterator[bytes]:
    """The bytes of a file, unpacked as its ending says."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is {'a folder' if path.is_dir() else 'a pipe or a device'}; give a file")
    try:
        with path.open("rb") as stored:
            for block in _unpacked(stored, path.suffix, size):
                meter(stored.tell())
                yield block
    except (EOFError, zlib.error, LZMAError, BadGzipFile) as error:
        raise UserError(f"{path}: broken, or not packed as {path.suffix} ({error})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


_UNPACK: dict[str, Callable[[IO[bytes]], Any]] = {".gz": lambda f: GzipFile(fileobj=f), ".xz": LZMAFile}


def _unpacked(stored: IO[bytes], suffix: str, size: int) -> Iterator[bytes]:
    if suffix == ".zst":
        yield from _zstandard(stored, size)
        return
    file: IO[bytes] = _UNPACK[suffix](stored) if suffix in _UNPACK else stored
    while block := file.read(size):
        yield block


def _zstandard(stored: IO[bytes], size: int) -> Iterator[bytes]:
    """Frame after frame. The library's own file object takes a cut-off file for a whole one."""
    import zstandard

    unpacker = zstandard.ZstdDecompressor().decompressobj()
    while packed := stored.read(size):
        while packed:
            if unpacker.eof:
                unpacker = zstandard.ZstdDecompressor().decompressobj()
            try:
                block = unpacker.decompress(packed)
            except zstandard.ZstdError as error:
                raise EOFError(error) from None
            packed = unpacker.unused_data
            if block:
                yield block
    if not unpacker.eof:
        raise EOFError("it ends too early")
