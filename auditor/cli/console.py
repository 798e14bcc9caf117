"""Where output goes: verdict and tables to stdout, progress and notes to stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from auditor.api.report import Report
    from auditor.api.session import Session

WIDTH = 100


def stdout() -> Console:
    """Console for results: at most 100 columns, colour only where the terminal and NO_COLOR allow it."""
    console = Console(highlight=False, soft_wrap=False)
    if console.width > WIDTH or not console.is_terminal:
        console = Console(highlight=False, soft_wrap=False, width=WIDTH)
    return console


def stderr() -> Console:
    """Console for progress and notes."""
    return Console(file=sys.stderr, highlight=False, width=None if sys.stderr.isatty() else WIDTH)


def note(text: str) -> None:
    """One line for the user on stderr, never markup."""
    stderr().print(text, markup=False, style="dim")


class Notes(logging.Handler):
    """What the API says to its logger, as notes on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """One record, one note."""
        note(record.getMessage())


def loading(*, plain: bool) -> AbstractContextManager[Any]:
    """A live line while a target is loaded; nothing where plain output was asked for."""
    return nullcontext() if plain else stderr().status("loading the target")


def show(report: Report, session: Session) -> None:
    """The terminal report on stdout, and where the files are."""
    show_in(report, session.out, session.formats(), plain=session.resolved["plain"])


def show_in(report: Report, out: Path | None, formats: Sequence[str], *, plain: bool) -> None:
    """The same for a report whose files of these formats lie in `out`."""
    from auditor import registry

    registry.find("reports", "terminal").load()().print(report.document, stdout(), plain=plain)
    if report.interrupted:
        note(f"interrupted; finished cells are kept{'' if out is None else f' in {out}: the same command goes on'}")
    elif out is not None:
        files = ["audit.json", *(registry.find("reports", name).load()().filename for name in formats)]
        note("written: " + ", ".join(str(out / name) for name in files))
