"""What a report format is: a pure rendering of one audit document."""

from __future__ import annotations

from typing import Protocol

from auditor.document import Audit


class Reporter(Protocol):
    """Renders an audit: no clock, no network, no printing; the same audit gives the same bytes.

    Attributes:
        id: the word after `--format`.
        filename: name of the file inside an output folder.
        opening: regular expression that the beginning of each of its files matches: no other file is written over.
    """

    id: str
    filename: str
    opening: str

    def render(self, audit: Audit) -> str | bytes:
        """The whole report."""
        ...
