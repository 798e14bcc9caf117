"""Where output goes: verdict and tables to stdout, progress and notes to stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from auditor.cli.screen import styled
from auditor.errors import UsageError
from auditor.printable import ERROR_LIMIT, neutral, neutral_lines

if TYPE_CHECKING:
    from auditor.api.report import Report
    from auditor.api.session import Session

WIDTH = 100
NARROWEST = 20  # below it the terminal itself breaks the lines


class _Console(Console):
    """Takes the words as anybody's and the styles as ours."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments whose text is neutral; what moves the cursor comes from the console itself."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=neutral_lines(segment.text))


def stdout() -> Console:
    """Console for results: at most 100 columns, colour only where the terminal and NO_COLOR allow it."""
    return _console(sys.stdout)


def stderr() -> Console:
    """Console for progress and notes."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    console = _Console(file=styled(stream), highlight=False)
    console.width = max(min(console.width, WIDTH), NARROWEST) if console.is_terminal else WIDTH
    return console


def write_data(document: str | bytes) -> None:
    """A document for a program on standard output: always UTF-8, since that is what its format says.

    Raises:
        UsageError: it could not be written; whoever reads it would take a part for the whole.
    """
    out, raw = sys.stdout, document if isinstance(document, bytes) else document.encode("utf-8", "replace")
    out.flush()
    out.buffer.write(raw)
    out.buffer.flush()
    if reason := getattr(out, "lost", ""):
        raise UsageError(f"the document could not be written to standard output: {reason}. Write it to a file with -o.")


def note(text: str) -> None:
    """One line for the user on stderr, never markup."""
    stderr().print(neutral(text, ERROR_LIMIT), markup=False, style="dim")


class Notes(logging.Handler):
    """What the API says to its logger, as notes on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """One record, one note."""
        note(record.getMessage())


def loading(*, plain: bool) -> AbstractContextManager[Any]:
    """A live line while a target is loaded; nothing where plain output was asked for."""
    return nullcontext() if plain else stderr().status("loading the target")


def is_plain(asked: bool | None = None) -> bool:
    """Whether plain lines are written: asked for, or nobody sees columns, or the encoding lacks our signs."""
    console = stdout()
    return bool(asked) or not console.is_terminal or console.encoding.lower().replace("-", "") != "utf8"


def show(report: Report, session: Session, *, verbose: bool = False) -> None:
    """The terminal report on stdout, and where the files are."""
    show_in(report, session.out, session.formats(), plain=session.resolved["plain"], verbose=verbose)


def show_in(
    report: Report, out: Path | None, formats: Sequence[str], *, plain: bool | None, verbose: bool = False
) -> None:
    """The same for a report whose files of these formats lie in `out`."""
    from auditor import registry
    from auditor.api.report import openings_of

    files = [] if out is None or report.interrupted else [str(out / name) for name in openings_of(formats)]
    page = next((name for name in files if name.endswith(".html")), "")
    terminal = registry.find("reports", "terminal").load()()
    path = files[0] if files else ""  # the document comes first
    terminal.print(report.document, stdout(), plain=is_plain(plain), verbose=verbose, where=page, path=path)
    if report.interrupted:
        note(f"interrupted; finished cells are kept{'' if out is None else f' in {out}: the same command goes on'}")
    elif files:
        note("written: " + ", ".join(files))
