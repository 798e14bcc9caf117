"""Signals that ask a run to stop: it ends its workers, writes what it has, and says so with its exit code."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

INTERRUPTED = 128 + signal.SIGINT
AGAIN_S, PATIENCE_S = 0.05, 10.0


class Stopped(KeyboardInterrupt):
    """A signal other than an interrupt asked the program to stop.

    Attributes:
        exit_code: 128 and the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def exit_code_of(stop: KeyboardInterrupt) -> int:
    """What a shell expects of a program that was stopped so."""
    return stop.exit_code if isinstance(stop, Stopped) else INTERRUPTED


def stop_at_once() -> None:
    """From now on a signal that asks the program to stop ends it at once, as long as no run is under way.

    An exception would not do: raised in the middle of an import, it comes out as another one, or not at all.
    """
    for number in _heeded():
        signal.signal(number, _end)


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside: SIGTERM and SIGHUP raise `Stopped`, SIGINT raises KeyboardInterrupt. Outside: as it was.

    Inside an import they wait until it is done, up to 10 seconds. Elsewhere than in the main thread no handler can be
    set, and none is; nor where the caller has one of its own for SIGINT.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first: list[float] = []

    def stop(number: int, frame: FrameType | None) -> None:
        first.append(time.monotonic())
        if _is_importing(frame) and first[-1] - first[0] < PATIENCE_S:
            again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        raise KeyboardInterrupt if number == signal.SIGINT else Stopped(number)

    own = (signal.default_int_handler, _end)
    numbers = [each for each in _heeded() if each != signal.SIGINT or signal.getsignal(each) in own]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heeded() -> list[signal.Signals]:
    """The signals that ask a program to stop, without those that whoever started it wants ignored (`nohup`)."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    shown = b"\x1b[?25h\n" if os.isatty(2) else b""  # a progress bar hides the cursor
    with suppress(OSError):
        os.write(2, shown + b"interrupted\n")
    os._exit(128 + number)
