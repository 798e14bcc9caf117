"""Memory of a worker: what it keeps when it frees something, and the most that one cell holds.

An attack makes large tensors of equal sizes thousands of times. The C library hands each back to the system when it is
freed, and the system clears every page of the next one: up to half of the time of such a loop. A worker keeps what it
frees for what comes next, and hands it back between cells, so that the peak of a cell is its own.
"""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path
from typing import Final

KEEP_FREED: Final = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
"""Settings of glibc in the environment of a process, read when it starts (mallopt(3)); others ignore them."""


def begin_peak() -> None:
    """Hands back what is free, and resets the kernel's high-water mark (Linux); elsewhere peaks stay unknown."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library has no malloc_trim
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mb() -> float | None:
    """The most resident memory since `begin_peak`, MB of 2^20 bytes; None where nobody keeps it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM"):
                return round(int(line.split()[1]) / 1024, 1)
    return None
