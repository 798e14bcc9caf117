"""Standard output and error on which no character can raise, nothing hostile arrives and no failure changes a code.

A stream may be closed, full, or of an encoding that lacks `≤`; its reader may have gone. What cannot be written is
dropped and told on standard error, and the exit code stays what it was.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from auditor.printable import ascii_form, neutral_lines, without_command

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

ERRORS = "auditor.ascii"


def _replace(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)  # registered for streams that are written
    return ascii_form(error.object[error.start : error.end]), error.end


codecs.register_error(ERRORS, _replace)


class _Pipe(io.FileIO):
    """A file descriptor that may fail: from its first failure on, what is written to it is dropped."""

    failure: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        """Writes, or drops and remembers why."""
        if self.failure is None:
            try:
                while (written := super().write(data)) is None:  # a reader that set the pipe to non-blocking
                    select.select((), (self,), ())
                return written
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes


class Screen(io.TextIOWrapper):
    """A text stream for anybody's words: escapes, control characters and commands of CI runners are taken out.

    Attributes:
        styled: the same stream for whoever has neutralised the words and adds colours of our own.
    """

    def __init__(self, descriptor: int, encoding: str | None) -> None:
        self._pipe = _Pipe(descriptor, "w", closefd=False)
        super().__init__(io.BufferedWriter(self._pipe), encoding or "utf-8", ERRORS, line_buffering=True)
        self.styled = _Styled(self)

    def write(self, text: str, /) -> int:
        """Writes what is left of the text, line by line."""
        super().write(neutral_lines(text))
        return len(text)

    def write_styled(self, text: str) -> None:
        """Writes text with colours; a command of a CI runner that the layout has made is broken here, too."""
        super().write("\n".join(map(without_command, text.split("\n"))))

    def close(self) -> None:
        """Flushes: code that is under audit does not close our streams."""
        self.flush()

    @property
    def lost(self) -> str:
        """Why something could not be written; empty where all was, or where the reader wanted no more."""
        failure = self._pipe.failure
        if failure is None or failure.errno == errno.EPIPE:
            return ""
        return "it is closed" if failure.errno == errno.EBADF else failure.strerror or "unknown reason"


class _Styled(io.TextIOBase):
    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def write(self, text: str, /) -> int:
        self._screen.write_styled(text)
        return len(text)

    def flush(self) -> None:
        self._screen.flush()

    def isatty(self) -> bool:
        return self._screen.isatty()

    def fileno(self) -> int:
        return self._screen.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._screen.encoding


def open_screens() -> tuple[Screen, Screen]:
    """Puts a Screen in the place of standard output and of standard error, whatever those are."""
    _fill_closed_descriptors()
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115  as long as the process
    out = Screen(1, getattr(sys.stdout, "encoding", None))
    err = Screen(2, getattr(sys.stderr, "encoding", None))
    sys.stdout, sys.stderr = out, err
    return out, err


def _fill_closed_descriptors() -> None:
    """Opens 0, 1 and 2 where they are closed, so that no file of ours or the user's gets their number.

    They are opened for reading: writing there fails, and is told like every other failure.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY)  # the lowest number that is free: this one
            os.set_inheritable(opened, True)


def leave(code: int, screens: tuple[Screen, Screen]) -> NoReturn:
    """Ends the process with `code`, and no thread, exit function or lost stream can change that."""
    out, err = screens
    with suppress(Exception):
        out.flush()
    if out.lost:
        err.write(f"standard output could not be written ({out.lost}); the exit code {code} stands\n")
    with suppress(Exception):
        err.flush()
    os._exit(code)


def styled(stream: Any) -> Any:
    """Where a console of ours writes to; a stream that is no Screen is taken as it is."""
    return getattr(stream, "styled", stream)


@contextmanager
def own_words() -> Iterator[None]:
    """Inside, all that is printed is our own text with colours: a help page."""
    before = sys.stdout
    sys.stdout = styled(before)
    try:
        yield
    finally:
        sys.stdout = before
