"""The terminal report: at most 100 columns, verdict last, words beside colours, nothing read as markup."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from reports.terminal import TerminalReport
from tests.reports import samples

REPORT = TerminalReport()


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("make", [samples.realistic, samples.hostile, samples.empty, samples.several_seeds])
@pytest.mark.parametrize("width", [80, 100, 300])
def test_no_line_is_wider_than_the_terminal(make: object, plain: bool, width: int) -> None:
    text = REPORT.render(make(), width=width, plain=plain)  # type: ignore[operator]
    assert max(map(len, text.splitlines())) <= min(width, 100)


def test_verdict_is_the_last_thing() -> None:
    last = REPORT.render(samples.realistic()).rstrip().rpartition("\n\n")[2]
    assert last.startswith("FAILED")
    assert "5 of 8" in " ".join(last.split())


def test_numbers_are_never_broken_over_lines() -> None:
    for width in (80, 100):
        lines = REPORT.render(samples.realistic(), width=width).splitlines()
        assert any("[0.332, 0.372]" in line for line in lines)
        assert any("[+0.284, +0.324]" in line for line in lines)


def test_what_could_not_be_checked_is_listed_with_its_reason() -> None:
    text = " ".join(REPORT.render(samples.realistic()).split())
    assert "skipped membership: needs REFERENCES: none were given" in text
    assert "error features-evasion: RuntimeError: mat1 and mat2 do not fit" in text
    assert "timeout injection: no result after 600 s" in text
    assert "1 skipped · 1 crashed · 1 timed out" in text


def test_status_is_a_word_and_colour_only_where_asked() -> None:
    assert "\x1b[" not in REPORT.render(samples.realistic())
    colored = REPORT.render(samples.realistic(), color=True)
    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored).split() == REPORT.render(samples.realistic()).split()


def test_plain_has_no_boxes() -> None:
    assert "─" in REPORT.render(samples.realistic())
    assert not set("─│━┃╭╮╰╯") & set(REPORT.render(samples.realistic(), plain=True))


def test_markup_in_names_stays_text() -> None:
    assert "[bold]markup[/bold]" in REPORT.render(samples.hostile()).replace("\n", " ")


def test_print_writes_what_render_returns() -> None:
    console = Console(file=io.StringIO(), width=100, color_system=None, _environ={})
    REPORT.print(samples.realistic(), console)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\n".join(line.rstrip() for line in written.splitlines()) + "\n" == REPORT.render(samples.realistic())


def test_an_empty_audit_says_that_nothing_was_asked() -> None:
    text = REPORT.render(samples.empty())
    assert text.count("Not asked: no probe of this family was in this run.") == 3
    assert "3 never started or finished" in text


def test_untested_is_never_called_safe() -> None:
    for make in (samples.realistic, samples.clean, samples.empty):
        assert not re.search(r"\b(secure|safe|private)\b", REPORT.render(make()))
