"""`gate`, `baseline` and `diff` as commands: exit codes, files, refusals, and no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.cli.main import app
from auditor.document import Audit, to_bytes
from auditor.errors import AuditorError
from tests.policy.samples import audit_of, cell, measurement, row

LEAK = [cell(measurement(0.3, 0.26, 0.34)), cell(measurement(0.0, -0.1, 0.05), probe="strata", family="shift")]
Run = Callable[..., int]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str | Path) -> int:
        try:
            return int(app(args=[str(a) for a in arguments], standalone_mode=False) or 0)
        except AuditorError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code

    return call


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Audit], Path]:
    def to_file(name: str, audit: Audit) -> Path:
        path = tmp_path / name
        path.write_bytes(to_bytes(audit))
        return path

    return to_file


def test_gate_exits_with_the_verdict_and_changes_nothing(run: Run, write) -> None:
    path = write("audit.json", audit_of(LEAK))
    before = path.read_bytes()
    assert run("gate", path) == 1
    assert run("gate", path, "--policy", "lenient") == 0
    assert run("gate", path, "--fail-on", "critical") == 0
    assert run("gate", path, "--exit-zero") == 0
    assert path.read_bytes() == before
    broken = write("broken.json", audit_of(LEAK[1:], validity=[row("fail", "strength")]))
    assert run("gate", broken, "--exit-zero") == 3


def test_baseline_written_by_a_policy_turns_that_gate_green_until_it_expires(run: Run, write, tmp_path, capsys) -> None:
    path, base = write("audit.json", audit_of(LEAK)), tmp_path / "base.json"
    day = ("--as-of", "2026-11-21")
    options = ("--policy", "strict", "--reason", "known, ticket 12", "--expires", "2027-06-30", "-o", base)
    assert run("gate", path, "--policy", "strict", *day) == 1
    assert run("baseline", "write", path, *options, *day) == 0
    document = json.loads(base.read_bytes())
    assert [entry["reason"] for entry in document["accepted"]] == ["known, ticket 12"]
    assert run("gate", path, "--policy", "strict", "--baseline", base, *day) == 0
    assert run("gate", path, "--policy", "strict", "--baseline", base, "--as-of", "2027-06-30") == 0
    assert run("gate", path, "--policy", "strict", "--baseline", base, "--as-of", "2027-07-01") == 1
    capsys.readouterr()
    assert run("baseline", "show", base, *day) == 0
    shown = capsys.readouterr().out
    assert "privacy-link-stealing" in shown
    assert "221" in shown  # days from 2026-11-21 to 2027-06-30
    assert run("baseline", "show", base, "--as-of", "2027-07-01") == 0
    assert "221" not in capsys.readouterr().out


def test_gate_reads_its_tables_from_the_config(run: Run, write, tmp_path, capsys) -> None:
    path, config = write("audit.json", audit_of(LEAK)), tmp_path / "audit.toml"
    config.write_text('[gate]\nfail_on = "critical"\n[policy.release]\nfail_on = "medium"\n')
    assert run("gate", path, "--config", config) == 0
    assert run("gate", path, "--config", config, "--policy", "release") == 1
    config.write_text('[[suppress]]\nid = "privacy-*"\ntarget = "cora-*"\nreason = "known"\nexpires = 2027-01-31\n')
    assert run("gate", path, "--config", config, "--as-of", "2026-11-21") == 0
    config.write_text("[gate]\nmax_gp_pt = 5\n")
    assert run("gate", path, "--config", config) == 2
    assert "max_gap_pt" in capsys.readouterr().err


def test_diff_fails_on_a_regression_only_when_asked(run: Run, write) -> None:
    old, new = (
        write("old.json", audit_of(LEAK)),
        write("new.json", audit_of([cell(measurement(0.5, 0.46, 0.54)), LEAK[1]])),
    )
    assert run("diff", old, new) == 0
    assert run("diff", old, new, "--fail-on-regression") == 1
    assert run("diff", new, old, "--fail-on-regression") == 0
    assert run("diff", old, write("less.json", audit_of(LEAK[:1])), "--fail-on-regression") == 3
    assert run("diff", old, write("other.json", audit_of(LEAK, target="other"))) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gate", "missing.json"), "cannot read"),
        (("gate", "{audit}", "--policy", "strct"), 'Did you mean "strict"'),
        (("gate", "{audit}", "--fail-on", "severe"), "expected one of low"),
        (("gate", "{audit}", "--as-of", "tomorrow"), "expected a date"),
        (("gate", "{audit}", "--baseline", "{audit}"), "not a baseline"),
        (("gate", "{audit}", "--config", "missing.toml"), "cannot read"),
        (("baseline", "write", "{audit}", "--reason", " ", "--expires", "2027-01-01"), "--reason is empty"),
        (("baseline", "write", "{audit}", "--reason", "r", "--expires", "soon"), "expected a date"),
        (
            ("baseline", "write", "{audit}", "--reason", "r", "--expires", "2030-01-01", "--as-of", "2026-11-21"),
            "at most 365",
        ),
        (("baseline", "show", "{audit}"), "not a baseline"),
        (("diff", "{audit}", "missing.json"), "cannot read"),
    ],
)
def test_bad_input_is_exit_2_in_words(run: Run, write, capsys, arguments, words: str) -> None:
    path = write("audit.json", audit_of(LEAK))
    assert run(*(argument.format(audit=path) for argument in arguments)) == 2
    assert words in capsys.readouterr().err


def test_a_document_that_was_changed_by_hand_is_no_verdict(run: Run, write, tmp_path: Path, capsys) -> None:
    path = write("audit.json", audit_of(LEAK))
    document = json.loads(path.read_bytes())
    document["results"][0]["contrast"]["hi"] += 0.001
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(document))
    for arguments in (("gate", changed), ("diff", path, changed), ("gate", changed, "--exit-zero")):
        assert run(*arguments) == 3
        assert "does not agree with itself" in capsys.readouterr().err


def test_a_document_of_an_earlier_auditor_is_refused(run: Run, tmp_path: Path, capsys) -> None:
    old = tmp_path / "old.json"
    old.write_text('{"schema_version": "1.0"}')
    assert run("gate", old) == 2
    assert "made by auditor 0.1" in capsys.readouterr().err


def test_hostile_names_stay_text(run: Run, write, tmp_path, capsys) -> None:
    bad = "[red]\x1b[31m\n<b>|$x$"
    base = tmp_path / "base.json"
    path = write("audit.json", audit_of(LEAK, target=bad))
    assert run("baseline", "write", path, "--reason", bad, "--by", bad, "--expires", "2027-01-01", "-o", base) == 0
    assert run("baseline", "show", base) == 0
    assert run("diff", path, write("other.json", audit_of(LEAK, target="[/]")), "--all") == 0
    out = capsys.readouterr().out
    assert "\x1b[31m" not in out
    assert "[red]" in out


def test_judging_imports_no_torch(write, tmp_path: Path) -> None:
    path = write("audit.json", audit_of(LEAK))
    script = f"""
import sys
from auditor.cli.main import app
audit, base = {str(path)!r}, {str(tmp_path / "b.json")!r}
for words in (["gate", audit], ["baseline", "write", audit, "--reason", "r", "--expires", "2027-01-01",
              "--as-of", "2026-11-21", "-o", base], ["baseline", "show", base], ["diff", audit, audit]):
    app(args=words, standalone_mode=False)
    heavy = sorted(set(sys.modules) & {{"torch", "torch_geometric", "matplotlib", "sklearn"}})
    assert not heavy, (words, heavy)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
