"""Verbs: their help pages keep their colours, as our own text, and what stops them is not lost."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from auditor.cli.screen import own_words


class Verb(TyperCommand):
    """A command."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Prints the page."""
        with own_words():
            super().format_help(ctx, formatter)


class Halt(BaseException):
    """Carries an interrupt past the command-line library, which would make 130 of whatever stopped the program."""

    def __init__(self, stop: KeyboardInterrupt) -> None:
        super().__init__()
        self.stop = stop


class Verbs(TyperGroup):
    """Several commands under one name."""

    def invoke(self, ctx: Any) -> Any:
        """Runs one of them.

        Raises:
            Halt: it was interrupted or told to stop.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise Halt(stop) from None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Prints the page."""
        with own_words():
            super().format_help(ctx, formatter)
