"""What the screens of all verbs share: tags, colours that repeat words, columns, and lines without any of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reports.comparison import broken
from reports.sentences.compose import ABSENT, ACCEPTED, OPEN, OVER, SEEN, UNANSWERED, UNASKED, VOID

NARROW = 80
"""Columns below which a tag and its question stand alone, with the text under them."""

_FIRST, _NUMBER = 16, 13  # columns of a name and of a number in a table
TAGS = {
    OVER: "OVER",
    OPEN: "open",
    SEEN: "seen",
    ABSENT: "none",
    ACCEPTED: "kept",
    VOID: "void",
    UNANSWERED: "void",
    UNASKED: "----",
}
"""Statuses as four letters; none of them says that something is all right."""

STYLE = {
    "fail": "bold red",
    "FAILED": "bold red",
    "VIOLATED": "bold red",
    "HURTS": "bold red",
    "error": "bold red",
    "timeout": "bold red",
    OVER: "bold red",
    "inconclusive": "bold yellow",
    "INCOMPLETE": "bold yellow",
    "UNDERPOWERED": "bold yellow",
    "warn": "bold yellow",
    OPEN: "bold yellow",
    VOID: "bold yellow",
    "skipped": "yellow",
    "accepted": "bold magenta",
    ACCEPTED: "bold magenta",
    SEEN: "bold blue",
    "pass": "bold green",
    "PASSED": "bold green",
    "CONSISTENT": "bold green",
    "HELPS": "bold green",
}


def styled(text: str, status: str) -> Text:
    """Text in the colour of a status; the colour repeats what a word says."""
    return Text(text, style=STYLE.get(status, ""))


def pasteable(command: str, width: int) -> str:
    """A command on lines of at most `width` columns that a shell reads as one: broken at spaces, with backslashes."""
    lines = [""]
    for word in command.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) + 3 > width:
            lines.append("   ")
        lines[-1] += word if not lines[-1].strip() else f" {word}"
    return " \\\n".join(lines)


def grid(*widths: int) -> Table:
    """Columns of fixed widths and a last one that takes the rest."""
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    for width in widths:
        table.add_column(width=width)
    table.add_column(ratio=1, overflow="fold")
    return table


class Screen:
    """Lines of one screen: as columns, stacked where it is narrow, or each as one line of plain text."""

    def __init__(self, *, width: int, plain: bool) -> None:
        self.plain = plain
        self.width, self.narrow = width, width < NARROW

    def text(self, text: str, style: str = "") -> RenderableType:
        """A paragraph."""
        return Text(text, style="" if self.plain else style)

    def gap(self) -> Iterable[RenderableType]:
        """An empty line between two parts; none in plain text."""
        if not self.plain:
            yield Text()

    def tagged(self, status: str, label: str, text: str) -> RenderableType:
        """`[seen] Privacy  135 of 905 …`."""
        tag = f"[{TAGS.get(status, status)}]"
        if self.plain:
            return Text(f"{tag} {label}: {text}")
        mark = styled(tag, status)
        if self.narrow:
            return Group(Text.assemble(mark, " ", (label, "bold")), Padding(Text(text), (0, 0, 0, 2)))
        row = grid(6, 11)
        row.add_row(mark, Text(label, style="bold"), Text(text))
        return row

    def labelled(self, label: str, texts: Sequence[str]) -> Iterable[RenderableType]:
        """`Trust       35 of 39 checks passed`; nothing without a text."""
        if not texts:
            return
        if self.plain:
            yield from (Text(f"{label}: {text}") for text in texts)
        elif self.narrow:
            yield Text(label, style="bold")
            yield from (Padding(Text(text), (0, 0, 0, 2)) for text in texts)
        else:
            row = grid(11)
            for k, text in enumerate(texts):
                row.add_row(Text("" if k else label, style="bold"), Text(text))
            yield row

    def numbered(self, title: str, steps: Sequence[tuple[str, Sequence[str]]]) -> Iterable[RenderableType]:
        """Things to do, each with the commands that do it under it; a command is never broken by us."""
        if not steps:
            return
        if not self.plain:
            yield Text(title, style="bold")
        for number, (text, commands) in enumerate(steps, 1):
            if self.plain:
                yield Text(f"{title} {number}: {text}")
                yield from (Text(f"{title} {number}: {command}") for command in commands)
                continue
            row = grid(3)
            row.add_row(Text(f"{number:>2}."), Text(text))
            for command in commands:
                row.add_row("", Text(pasteable(command, self.width - 5), style="cyan"))
            yield row

    def table(
        self, heads: Sequence[str], units: Sequence[str], rows: Sequence[Sequence[str]]
    ) -> Iterable[RenderableType]:
        """Rows of numbers under heads with units; a block for each row where it is narrow, a line in plain text."""
        if self.plain:
            for name, *values in rows:
                told = (
                    f"{head} {value} ({unit})" for head, unit, value in zip(heads[1:], units[1:], values, strict=True)
                )
                label = f"control {name.strip()}" if name.startswith(" ") else name
                yield Text(f"{label}: {'; '.join(told)}")
            return
        if self.width < _FIRST + (_NUMBER + 2) * len(heads[1:]):
            for name, *values in rows:
                yield Text(name, style="bold")
                block = Table.grid(padding=(0, 2, 0, 0))
                for head, unit, value in zip(heads[1:], units[1:], values, strict=True):
                    block.add_row(Text(f"  {head}"), Text(value), Text(unit, style="dim"))
                yield block
            return
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(overflow="fold", min_width=_FIRST)
        for _ in heads[1:]:
            table.add_column(width=_NUMBER, overflow="fold", justify="right")
        table.add_row(*(Text("\n".join(broken(head, _NUMBER))) for head in heads))
        table.add_row(*(Text(unit, style="dim") for unit in units))
        for name, *values in rows:
            table.add_row(Text(name, style="" if name.startswith(" ") else "bold"), *map(Text, values))
        yield table

    def verdict(self, status: str, word: str, text: str) -> RenderableType:
        """The last line."""
        if self.plain:
            return Text(f"{word}  {text}")
        row = grid(len(word) + 1)
        row.add_row(styled(word, status), Text(text))
        return row
