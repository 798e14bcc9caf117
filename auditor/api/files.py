"""Files that are named by the user: read whole, written whole, refused in words."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from auditor.errors import UsageError
from auditor.reading.files import MAX_DOCUMENT, bytes_of
from auditor.replacing import replace_file

HEAD = 8192
"""Bytes that say of what kind a file is."""


def prepare_folder(path: Path) -> Path:
    """The folder for results, made if missing.

    Raises:
        UsageError: it is a file, or cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):  # of a name of its own: another run may be trying the same folder
            pass
    except OSError as error:
        raise UsageError(f"cannot write to {path}: {error.strerror}. Choose another folder with -o.") from None
    return path


def check_folder(path: Path) -> None:
    """Whether results can be written to `path` later; nothing is made, so that a failed command leaves nothing behind.

    Raises:
        UsageError: it is a file, or its nearest existing folder cannot be written.
    """
    existing = next(place for place in (path, *path.absolute().parents) if os.path.exists(place))
    prepare_folder(existing)


def check_names(path: Path, openings: Mapping[str, str]) -> None:
    """Whether files of these names can be written in a folder, each in the place of one of its kind alone.

    Args:
        path: the folder.
        openings: by the name of each file, how one of its kind begins, see `check_replaced`.

    Raises:
        UsageError: a folder or a file of another kind lies there.
    """
    for name, opening in openings.items():
        if os.path.isdir(path / name):
            raise UsageError(
                f"cannot write {path / name}: it is a folder. Remove it, or choose another folder with -o."
            )
        check_replaced(path / name, opening)


def check_replaced(path: Path, opening: str) -> Path:
    """`path`, if nothing but an earlier file of ours would be written over there.

    Args:
        path: where a file is going to be written.
        opening: a regular expression that the beginning of every file of its kind matches.

    Raises:
        UsageError: a file of another kind lies there; it is somebody's, and there may be no other copy.
    """
    if not os.path.isfile(path):
        return path
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD).decode("utf-8-sig", errors="replace")  # some editors begin with a mark
    except OSError as error:
        raise UsageError(
            f"-o would write over {path}, which cannot be read: {error.strerror}. Remove it, or choose another place."
        ) from None
    if head.strip() and not re.match(opening, head, re.DOTALL):
        raise UsageError(
            f"-o would write over {path}, which is no such file that auditor wrote. Remove it, or choose another place."
        )
    return path


def check_other_folder(path: Path, target: Path) -> None:
    """Raises UsageError where `path` is the folder that the target lies in: its weights would be overwritten."""
    if path.resolve() == (target if os.path.isdir(target) else target.parent).resolve():
        raise UsageError(f"-o {path} is the target's own folder; its weights would be overwritten. Choose another one.")


def write_file(path: Path, content: str | bytes) -> None:
    """Writes under a temporary name and renames, so that a reader never sees half a file."""
    replace_file(path, content.encode() if isinstance(content, str) else content)


def spare(source: Path, path: Path) -> Path:
    """`path`, if writing there leaves `source` as it is: what was measured is in that file alone.

    Raises:
        UsageError: they are one file.
    """
    with suppress(OSError):  # a place that cannot be looked at cannot be written to either, and is refused then
        if path.samefile(source):
            raise UsageError(f"-o {path} would write over {source}, the document that is read. Choose another place.")
    return path


def read_file(path: Path) -> bytes:
    """The bytes of a file named on the command line.

    Raises:
        UsageError: it does not exist, is a folder or a device, or has more than 200 MB. A pipe is read to its end.
    """
    expected = "a file of at most 200 MB. Give the path of an existing one."
    return bytes_of(path, error=UsageError, cap=MAX_DOCUMENT, pipe=True, expected=expected)
