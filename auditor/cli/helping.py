"""Verbs: their help pages keep their colours, an option given twice is refused, and what stops them is not lost."""

from __future__ import annotations

from collections import Counter
from typing import Any

from typer.core import TyperCommand, TyperGroup, TyperOption

from auditor.cli.screen import own_words
from auditor.errors import UsageError


class Verb(TyperCommand):
    """A command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the options.

        Raises:
            UsageError: one that takes one value is given twice; the first would be dropped without a word.
        """
        _values, _rest, order = self.make_parser(ctx).parse_args(list(args))
        for param, times in Counter(order).items():
            takes_one = isinstance(param, TyperOption) and not (param.multiple or param.is_flag)
            if times > 1 and takes_one:
                raise UsageError(
                    f"{max(param.opts, key=len)} is given {times} times; expected once. Where several values are "
                    "meant, separate them by commas."
                )
        return super().parse_args(ctx, args)

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
