r"""
# Nothing is lost

A run may end at any moment: the power fails, a disk is full, somebody needs the machine. What it has written by then must
be whole.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raises the `OSError` of its block again, as one sentence that says which file could not be written, and why."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            f"could not write {path} ({reason}): make room or pass another --out; "
            "what was written before is whole"
        ) from error


def write(path: Path, content: bytes) -> None:
    """
    ## A file is whole or it is not there

    * `path`: the file, whose former content stays until the new one is on the disk; `content`: the new one

    It is written under another name, flushed to the disk, and only then renamed, which the system does at once. Its mode
    is what the user's `umask` says. Raises `OSError`, and leaves no part of it behind.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with explained(path):
            with partial.open("wb") as file:
                file.write(content)
                flush(file)
            partial.replace(path)
            flush_folder(path.parent)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


# A rename is in the folder, which is flushed on its own. Windows can't open one.
def flush_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def lock(folder: Path) -> int | None:
    """
    ## One run in a folder

    * `folder`: which exists
    * returns a descriptor that holds the lock until it is closed, or the process ends, in whatever way; `None` where the
      system has no such locks

    Raises `BlockingIOError` where another run holds it.
    """
    try:
        import fcntl
    except ImportError:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        # Some file systems of a network cannot lock a folder.
        if not isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor
