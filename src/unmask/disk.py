"""Files and folders that are there whole or not at all, and folders that one process works in at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unmask.errors import UserError, first_line

LOCK = ".lock"


def write_file(path: Path, content: bytes) -> None:
    """Write and wait until it is on the disk. What the system refuses is an `OSError` that names ``path``."""
    try:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # of a full disk it has no name
        raise OSError(error.errno, error.strerror, str(path)) from None


def replace_file(path: Path, content: bytes) -> None:
    """Write a file beside and rename it, so that readers see the old one or the new one, never half.

    Raises:
        UserError: something else than a file is there. What the system refuses is an `OSError` that names ``path``.
    """
    there, beside = _there_and_beside(path)
    try:
        write_file(beside, content)
        beside.rename(there)
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            beside.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what then takes the place of a file: in a folder beside, for writers that put more there.

    Raises:
        UserError: something else than a file is there.
    """
    there, beside = _there_and_beside(path)
    _remove(beside)  # what a killed process left
    try:
        beside.mkdir()
        yield beside / there.name
        (beside / there.name).replace(there)
    finally:
        _remove(beside)


def _there_and_beside(path: Path) -> tuple[Path, Path]:
    there = path.resolve()  # a link stays one
    if there.exists() and not there.is_file():
        raise UserError(f"{path}: is there and is no file; name another")
    return there, there.with_name(f".{there.name}.partial")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def refuse_overwriting(out: Path, source: Path, run: Path) -> None:
    """Refuse results that would take the place of what they were made from. Raises `UserError`."""
    there = out.resolve()
    if there == source.resolve():
        raise UserError(f"--out {out}: is the file that is read; name another")
    if there.is_relative_to(run.resolve()):
        raise UserError(f"--out {out}: lies in the run that is asked; name a file outside it")
    if not there.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}; make it, or name another")


def sync_folder(folder: Path) -> None:
    """Wait until the folder's entries are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside to write in, which at the end becomes ``out``, a new or an empty one.

    Raises:
        UserError: ``out`` is taken, cannot be written, or another process makes it.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; name a new folder")
    if out.exists() and any(out.iterdir()):
        raise UserError(f"--out {out}: is not empty (what unmask made there is whole); name a new folder")
    beside = out.with_name(f".{out.name}.partial")
    with alone(beside, out):
        try:
            empty(beside)  # of what a killed process left
            yield beside
            if out.exists():
                out.rmdir()
            (beside / LOCK).unlink()
            beside.rename(out)
        except OSError as error:
            shutil.rmtree(beside, ignore_errors=True)
            why = error.strerror or first_line(error)
            raise UserError(f"--out {out}: cannot be written ({why}); name another folder") from None
        except UserError as error:  # says where it was written, which nobody asked for
            shutil.rmtree(beside, ignore_errors=True)
            raise UserError(str(error).replace(str(beside), str(out))) from None
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise


def empty(folder: Path, last: str = "") -> None:
    """Remove all that a folder holds but the lock of who holds it; ``last`` is what it is known by."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == last):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


@contextmanager
def alone(folder: Path, out: Path | None = None) -> Iterator[None]:
    """Make a folder and keep other processes out of it. The lock ends with the process, however it ends.

    ``out`` is what people call it, if it has another name. Where what is done inside fails, nothing is left but what
    was put into the folder.

    Raises:
        UserError: another process is there, or nothing can be written.
    """
    from filelock import FileLock, Timeout

    lock, out = FileLock(folder / LOCK), out or folder
    absent = [path for path in (folder / LOCK, folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"--out {out}: another process is at work there; wait for it, or name another") from None
    except OSError as error:
        raise UserError(
            f"--out {out}: cannot be written ({error.strerror}); name a folder that can be written"
        ) from None
    try:
        yield
    except BaseException:
        for path in absent:  # the lock while it is held, then the folders that hold nothing else
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        raise
    finally:
        lock.release()
