"""Files that are replaced whole: written beside their place, on the disk, then renamed into it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from auditor.errors import UsageError


def replace_file(path: Path, raw: bytes) -> None:
    """Puts the bytes in the place of a file, so that a reader never sees half of them.

    Raises:
        UsageError: it cannot be written.
    """
    rename(part_of(path, raw), path)


def part_of(path: Path, raw: bytes) -> Path:
    """The bytes on the disk, under a temporary name beside `path`; raises UsageError where they cannot be written."""
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)  # a pipe would wait for a reader, a link leads elsewhere
        with part.open("xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise unwritable(path, error) from None
    return part


def rename(part: Path, path: Path) -> None:
    """Puts the part in the place of `path`; raises UsageError where that cannot be."""
    try:
        part.replace(path)
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> UsageError:
    """What is said of a file that cannot be written."""
    return UsageError(f"cannot write {path}: {error.strerror}. Choose another place with -o.")
