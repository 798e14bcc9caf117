"""Verbs whose help page keeps its colours: it is our own text, unlike what verbs print."""

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


class Verbs(TyperGroup):
    """Several commands under one name."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Prints the page."""
        with own_words():
            super().format_help(ctx, formatter)
