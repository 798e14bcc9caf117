"""What the terminal says of a split: the verdict first and last, leaks before the rest, nothing hostile."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from auditor.split_report import SplitReport, SplitRow, corrected, fault, unchecked
from reports.terminal.report import TerminalReport

LEAK = fault("link-in-messages", [(1, 2), (3, 4)], 40, "2 of 40 positives are there: (1, 2), (3, 4)", "Take them out.")
QUIET = fault("link-reversed", [], 40, "0 of 40 positives are there in reverse", "Never said.")
UNSAID = unchecked("item-overlap", "fault", "nobody named them", "Name them.")


def excess(p: float, found: int = 3) -> SplitRow:
    return SplitRow(
        id="row-duplicate", kind="excess", status="pass", found=found, of=9, p=p, evidence="3 of 9", fix="Keep."
    )


def report(*rows: SplitRow, name: str = "mine") -> SplitReport:
    return SplitReport.of(name, "edge", "in the file", {"test": 40, "train": 90}, rows, ["x is float64 in the file"])


def shown(of: SplitReport, *, width: int = 100, plain: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None, _environ={})
    TerminalReport().print_split(of, console, plain=plain)
    return str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("rows", "status", "code"),
    [((QUIET,), "CLEAN", 0), ((QUIET, LEAK), "LEAKS", 1), ((UNSAID,), "UNDECIDED", 3), ((UNSAID, LEAK), "LEAKS", 1)],
)
def test_the_verdict_stands_first_and_last(rows: tuple[SplitRow, ...], status: str, code: int) -> None:
    made = report(*rows)
    lines = shown(made, plain=True)
    assert (made.status, made.exit_code) == (status, code)
    assert lines[0].startswith(f"mine: {status}. ")
    assert lines[-1].startswith(f"{status}  ")
    assert lines[-1].endswith(f"Exit code {code}.")


def test_leaks_come_before_the_rest_with_what_to_do() -> None:
    lines = shown(report(QUIET, LEAK), plain=True)
    assert lines[1] == "Split in the file, edges: 90 train and 40 test."
    assert lines[2].startswith("LEAK: link in messages, severity high: 2 of 40")
    assert lines[3] == "Fix: Take them out."
    assert lines[4].startswith("passed: link reversed")
    assert "Never said" not in "".join(lines)
    assert lines[-2] == "Read: X is float64 in the file."


def test_a_pass_never_says_that_there_is_no_leak() -> None:
    assert "no leak" not in " ".join(shown(report(QUIET))).lower()
    assert "No exact copy" in shown(report(QUIET))[0]


@pytest.mark.parametrize("width", [100, 60])
def test_columns_are_kept(width: int) -> None:
    assert max(map(len, shown(report(LEAK, QUIET, UNSAID), width=width))) <= width


def test_names_from_a_file_are_neutral() -> None:
    assert "\x1b" not in "".join(shown(report(LEAK, name="a\x1b[2Jb"), plain=True))


def test_excesses_of_one_audit_are_corrected_together() -> None:
    alone, *two = (*corrected([excess(0.008)]), *corrected([excess(0.008), excess(0.9)]))
    assert (alone.status, alone.severity, alone.fix) == ("leak", "medium", "Keep.")
    assert [row.status for row in two] == ["pass", "pass"]
    assert two[0].p == pytest.approx(0.016)
    assert two[0].evidence.endswith("p = 0.016 of 2 together")
    assert two[0].fix == ""
