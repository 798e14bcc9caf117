"""Files that somebody names: what they are and how large is asked before a byte is read."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from auditor.errors import AuditorError

MAX_TEXT = 64 << 20  # lists of items and tables of numbers that are read line by line
MAX_DOCUMENT = 200 << 20  # an audit or a baseline
SMALL = 64 << 20  # up to here a file is read whatever it says of itself
HOLES = 100  # how much larger than its blocks on the disk a file may be
PIPE_SECONDS = 10.0  # how long a pipe may stay silent
_CHUNK = 1 << 20
_SHOWN = 200


class _UnfitError(Exception):
    """Why a path is not read, as a part of a sentence."""


def bytes_of(
    path: Path, *, error: type[AuditorError], expected: str, cap: int | None = None, pipe: bool = False
) -> bytes:
    """The bytes of a regular file.

    Args:
        path: as the user named it; links are followed.
        error: what is raised; its exit code is that of the file's role.
        expected: the end of the message: what was expected, and what to do.
        cap: the most bytes it may have; None for half of this machine's memory.
        pipe: takes a pipe too, up to `cap`, as of `auditor gate <(…)`.

    Raises:
        AuditorError: of the kind given: missing, a folder, a device, a socket, a pipe, too large, or not readable.
    """
    try:
        _check_kind(os.stat(path), pipe)  # before it is opened: opening a device may act on it, a pipe waits
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            _check_kind(status, pipe)
            if stat.S_ISFIFO(status.st_mode):
                return _drained(descriptor, cap or MAX_DOCUMENT)
            return _bounded(file, _checked_size(status, cap))
    except _UnfitError as reason:
        raise _refusal(path, str(reason), error, expected) from None
    except (OSError, ValueError, MemoryError) as found:
        raise _refusal(path, _reason(found), error, expected) from None


def measure(path: Path, *, error: type[AuditorError], expected: str, cap: int | None = None) -> int:
    """The size in bytes of a regular file that a library is going to open; arguments and errors as `bytes_of`."""
    try:
        status = os.stat(path)
        _check_kind(status, pipe=False)
        return _checked_size(status, cap)
    except _UnfitError as reason:
        raise _refusal(path, str(reason), error, expected) from None
    except (OSError, ValueError) as found:
        raise _refusal(path, _reason(found), error, expected) from None


@contextmanager
def reading(name: str, *, error: type[AuditorError], expected: str) -> Iterator[None]:
    """Inside, whatever goes wrong is the fault of the file called `name`, said in three parts.

    Raises:
        AuditorError: as raised inside, or of the kind given.
    """
    try:
        yield
    except AuditorError:
        raise
    except library_errors() as found:
        raise error(f"{name} cannot be read ({first_line(found)}); expected {expected}") from found


def library_errors() -> tuple[type[Exception], ...]:
    """What Python and the libraries that read files raise on a damaged or hostile one."""
    import csv
    import pickle
    import struct
    import zipfile
    import zlib

    from safetensors import SafetensorError

    return (
        ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
        SyntaxError, TypeError, ValueError, SafetensorError, csv.Error, pickle.PickleError, struct.error,
        zipfile.BadZipFile, zlib.error,
    )  # fmt: skip


def first_line(error: BaseException) -> str:
    """What an error says, one line of it; what it is where it says nothing."""
    if isinstance(error, MemoryError):
        return "it would need more memory than there is"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:_SHOWN]


def machine_memory() -> int:
    """Bytes of memory of this machine, or of the container that it is."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return total
    return min(total, int(limit)) if limit.isdecimal() else total


def _refusal(path: Path, reason: str, error: type[AuditorError], expected: str) -> AuditorError:
    return error(f"cannot read {path}: {reason}; expected {expected}")


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    return (error.strerror if isinstance(error, OSError) else None) or first_line(error)


def _check_kind(status: os.stat_result, pipe: bool) -> None:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
    }
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG and not (pipe and kind == stat.S_IFIFO):
        raise _UnfitError(f"it is {kinds.get(kind, 'no regular file')}")


def _checked_size(status: os.stat_result, cap: int | None) -> int:
    """The bytes that the file has: within its cap, and really there."""
    size, most = status.st_size, machine_memory() // 2 if cap is None else cap
    if size > most:
        raise _UnfitError(f"it has {size} bytes, and at most {most} are read")
    stored = getattr(status, "st_blocks", 0) * 512  # 0 where the file system does not say
    if size > SMALL and 0 < stored * HOLES < size:
        raise _UnfitError(f"it has {size} bytes, of which {stored} are on the disk: the rest is a hole")
    return size


def _bounded(file: BinaryIO, size: int) -> bytes:
    raw = file.read(size + 1)
    if len(raw) > size:
        raise _UnfitError(f"it has more than the {size} bytes that its folder says")
    return raw


def _drained(descriptor: int, most: int) -> bytes:
    """What comes through a pipe until its writers close it."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    parts: list[bytes] = []
    size = 0
    while True:
        if not waiting.poll(PIPE_SECONDS * 1000):
            raise _UnfitError(f"it is a pipe into which nobody wrote for {PIPE_SECONDS:.0f} seconds")
        part = os.read(descriptor, _CHUNK)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > most:
            raise _UnfitError(f"it is a pipe that gave more than {most} bytes")
