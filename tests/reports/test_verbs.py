"""What `gate`, `diff`, `baseline` and `report` print, and which documents they refuse with which exit code."""

from __future__ import annotations

import datetime
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from auditor import __main__
from auditor.document import Audit, to_bytes
from auditor.policy import Policy, gate
from auditor.policy.baseline import accept
from auditor.policy.diff import diff
from reports.sentences import changes
from reports.terminal.report import TerminalReport
from tests.reports import reading, samples

TODAY = datetime.date(2026, 11, 20)
Write = Callable[[str, Audit], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(name: str, audit: Audit) -> str:
        path = tmp_path / name
        path.write_bytes(to_bytes(audit))
        return str(path)

    return to_file


def printed(show: Callable[[Console], None], width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, _environ={})
    show(console)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def worse() -> Audit:
    """The realistic audit after link stealing got worse, a shown number came, and a probe stopped running."""
    more = samples.number(
        samples.AUC,
        "privacy-link-stealing",
        0.99,
        samples.KNOWN,
        subset="prior",
        judged=True,
        facts=samples.links(180, 78),
    )
    new = samples.number(samples.PRECISION, "privacy-link-stealing", 0.5, None, subset="new")
    cells = [each for each in samples.finished_cells() if each.row.probe not in ("graphmi", "posterior-similarity")]
    stealing = samples.cell("posterior-similarity", "privacy", [more, new], access=("posteriors", "features", "labels"))
    return samples.assembled([*cells, stealing], validity=samples.checks())


def test_gate_and_report_print_the_terminal_report(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    audit = samples.realistic()
    path = write("audit.json", audit)
    assert __main__.run(["report", path]) == 0
    assert capsys.readouterr().out == TerminalReport().render(audit, plain=True).replace("AUDIT.JSON", path)
    assert __main__.run(["gate", path, "--policy", "lenient", "--as-of", "2026-11-20"]) == 1
    judged = gate(audit, Policy.named("lenient"), as_of=TODAY)
    text = capsys.readouterr().out
    assert text == TerminalReport().render(judged, plain=True).replace("AUDIT.JSON", path)
    assert f"Every number: auditor report {path} --verbose" in text


def test_a_path_that_a_shell_would_break_is_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "an audit.json"
    path.write_bytes(to_bytes(samples.realistic()))
    assert __main__.run(["report", str(path)]) == 0
    assert f"Every number: auditor report '{path}' --verbose" in capsys.readouterr().out


@pytest.mark.parametrize(
    "verb", [["gate"], ["report"], ["diff"], ["baseline", "write", "--reason", "r", "--expires", "2027-01-01"]]
)
def test_a_document_of_the_last_version_or_against_itself_is_refused(
    verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(to_bytes(samples.realistic()))
    path = tmp_path / "audit.json"
    files = [str(path)] * (2 if verb == ["diff"] else 1)
    path.write_text(json.dumps({**document, "schema_version": "1.0"}))
    assert __main__.run([*verb, *files]) == 2
    assert "it was made by auditor 0.1. Run the audit again." in capsys.readouterr().err
    document["results"][0]["estimate"]["value"] += 0.001
    path.write_text(json.dumps(document))
    assert __main__.run([*verb, *files]) == 3
    assert "does not agree with itself" in capsys.readouterr().err


def test_changes_are_listed_regressions_first_without_signs() -> None:
    found = diff(samples.realistic(), worse())
    text = printed(lambda console: TerminalReport().print_changes(found, console), width=160)
    lines = [line for line in text.splitlines() if line.strip()]
    assert lines[0].startswith("1 worse, ")
    assert lines[1].split() == list(changes.HEADS)
    assert lines[2].split()[:2] == ["worse", "posterior-similarity,"]
    row = changes.cells(found.rows[0])
    assert row == (
        "worse",
        "posterior-similarity, AUC prior",
        "5.4 worse · 4.2 to 6.6 worse",
        "8.8 worse · 7.6 to 10.0 worse",
        "3.4 worse · 1.7 to 5.1 worse",
    )
    assert lines[-1].startswith("1 worse, ")
    assert not reading.SIGN.search(text)
    assert not reading.FORBIDDEN.search(text)
    assert "(shown)" not in text
    every = printed(lambda console: TerminalReport().print_changes(found, console, show_all=True), width=160)
    assert every.count("the same") > text.count("the same")
    assert "(shown)" in every


def test_a_diff_in_a_pipe_is_ascii_one_change_a_line(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = write("old.json", samples.realistic()), write("new.json", worse())
    assert __main__.run(["diff", old, new]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert text.isascii()
    assert "" not in lines
    assert lines[1] == (
        "worse: posterior-similarity, AUC prior; before 5.4 worse * 4.2 to 6.6 worse; after 8.8 worse * 7.6 to 10.0 "
        "worse; difference 3.4 worse * 1.7 to 5.1 worse"
    )
    assert lines[0] == lines[-1]
    assert __main__.run(["diff", old, new, "--all"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > len(lines)


def test_why_numbers_were_not_compared_is_said() -> None:
    old = samples.realistic()
    found = diff(old, old.model_copy(update={"profile": "full"}))
    assert {row.change for row in found.rows} == {"redefined"}
    change, what, *_ = changes.cells(next(row for row in found.rows if row.judged))
    assert change == "measured in another way"
    assert what.endswith(": another profile")
    assert changes.summary(found) == [f"{len(found.rows)} measured in another way."]


def test_audits_of_different_targets_or_of_nothing_say_so() -> None:
    old = samples.empty()
    new = old.model_copy(update={"target": old.target.model_copy(update={"name": samples.HOSTILE})})
    first, second = changes.summary(diff(old, new))
    assert first.startswith("The audits are of different targets, cora-gcn and <script>alert(1)</script>")
    assert "\x1b" not in first
    assert second == "Nothing was measured in either audit."


def accepted(audit: Audit, **more: Any) -> Any:
    results = [result for result in audit.judged if result.finding == "privacy-link-stealing"]
    known = {"reason": "ticket 12", "by": "the privacy team", "created": TODAY, "expires": datetime.date(2027, 6, 30)}
    return accept(audit, results, **{**known, **more})


def test_what_is_accepted_is_listed_with_the_days_that_are_left() -> None:
    baseline = accepted(samples.realistic())
    row = changes.accepted_cells(baseline.accepted[1], TODAY)
    assert row == (
        "privacy-link-stealing: posterior-similarity tpr@0.001 prior",
        "very large",
        "0.324",
        "222",
        "ticket 12",
        "the privacy team",
    )
    over = changes.accepted_cells(baseline.accepted[1], datetime.date(2027, 7, 1))
    assert over[3] == "over since 30 June 2027"
    text = printed(lambda console: TerminalReport().print_accepted(baseline, console, today=TODAY))
    assert text.rstrip().endswith("2 results accepted under standard, 5 tests must keep running.")


def test_reasons_of_a_file_are_text_not_markup() -> None:
    baseline = accepted(samples.realistic(), reason=samples.HOSTILE)
    text = printed(lambda console: TerminalReport().print_accepted(baseline, console, today=TODAY), width=1000)
    assert "[bold]markup[/bold]" in text
    assert "\x1b" not in text


def test_baseline_write_shows_what_it_accepts(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write("audit.json", samples.realistic()), tmp_path / "base.json"
    options = ["--reason", "known", "--expires", "2027-06-30", "--as-of", "2026-11-20", "-o", str(out)]
    assert __main__.run(["baseline", "write", path, *options]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "2 results accepted under standard, 5 tests must keep running." in text
    assert __main__.run(["baseline", "show", str(out), "--as-of", "2026-11-20"]) == 0
    assert " ".join(capsys.readouterr().out.split()) == text


@pytest.mark.parametrize("verb", [["gate"], ["baseline", "write"], ["run"]])
def test_the_help_of_a_policy_names_every_form(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.run([*verb, "--help"]) == 0
    text = " ".join(word for word in capsys.readouterr().out.split() if word != "│")
    assert "strict or NAME of a policy.NAME table." in text
