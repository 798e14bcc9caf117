"""Verbs whose help page keeps its colours, since it is our own text, and whose interrupts keep their exit code."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from auditor.cli.screen import own_words


class Broken(BaseException):
    """An interrupt on its way to the entry point.

    Attributes:
        stop: what was raised.
    """

    def __init__(self, stop: KeyboardInterrupt) -> None:
        super().__init__()
        self.stop = stop


class Verb(TyperCommand):
    """A command."""

    def invoke(self, ctx: Any) -> Any:
        """Runs it; an interrupt passes the library by, which knows one exit code for all signals."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise Broken(stop) from None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Prints the page."""
        with own_words():
            super().format_help(ctx, formatter)


class Verbs(TyperGroup):
    """Several commands under one name."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Prints the page."""
        with own_words():
            super().format_help(ctx, formatter)
