"""Tables of the file count however the target is named; wrong values exit 2; a reader that leaves changes nothing."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import auditor
from auditor.api.session import Session
from auditor.cli import progress
from auditor.cli.progress import BarObserver, LineObserver
from auditor.document import to_bytes
from auditor.errors import AuditorError, ConfigError, UsageError
from auditor.view import SideKnowledge
from tests.cli.program import auditor as program
from tests.cli.program import inside
from tests.policy.samples import audit_of, cell, measurement

TABLES = """
[run]
profile = "quick"
[access]
served_digits = 1
[gate]
fail_on = "low"
"""


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("target.toml", "."),
        ("target.toml", "target.toml"),
        ("target.toml", "model.safetensors"),
        ("audit.toml", "."),
        ("audit.toml", "audit.toml"),
    ],
)
def test_tables_of_the_file_count_however_the_target_is_named(tmp_path: Path, file: str, named: str) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / file).write_text(TABLES)
    session = Session.open(tmp_path / named, {})
    assert session.resolved["profile"] == "quick"
    assert session.resolved.tables["access"] == {"served_digits": 1}
    assert session.policy().fail_on == "low"
    assert Session.open(tmp_path / named, {"profile": "full"}).resolved["profile"] == "full"


def test_paths_of_a_file_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "audit.toml").write_text('[run]\nout = "reports"\nbaseline = "base.json"\ndata_root = "/data"\n')
    settings = Session.open(tmp_path, {}).resolved
    assert [settings[name] for name in ("out", "baseline", "data_root")] == [
        str(tmp_path / "reports"),
        str(tmp_path / "base.json"),
        "/data",
    ]
    assert Session.open(tmp_path, {"out": "here"}).resolved["out"] == "here"


def test_a_second_file_that_is_not_read_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def said(path: Path) -> str:
        caplog.clear()
        with pytest.raises(AuditorError):  # there is nothing to load
            Session.open(path, {}).load_target()
        return caplog.text

    (tmp_path / "audit.toml").write_text("[run]\nprofile = 'full'\n")
    assert "is not read" not in said(tmp_path)
    (tmp_path / "target.toml").write_text(TABLES)
    assert Session.open(tmp_path, {}).resolved["profile"] == "quick"
    assert "audit.toml beside target.toml is not read" in said(tmp_path)
    assert "is not read" not in said(tmp_path / "audit.toml")


def test_tables_of_defences_fill_in_what_the_command_line_leaves_open(tmp_path: Path) -> None:
    (tmp_path / "audit.toml").write_text(
        "[defenses.joint-cluster]\ntau = 0.5\ncompat = true\nprototypes = 'live'\n[defenses.l2r]\nmode = 'head'\n"
    )
    session = Session.open(tmp_path, {})
    specs = [request.spec for request in session.defenses(["joint-cluster:tau=0.25"]) if not request.control_of]
    assert specs == ["none", "joint-cluster:compat=true,prototypes=live,tau=0.25"]
    asked = [request.spec for request in session.defenses([]) if not request.control_of]
    assert asked == ["none", "joint-cluster:compat=true,prototypes=live,tau=0.5", "l2r"]
    (tmp_path / "audit.toml").write_text("[defenses.l2r]\nmode = ['head']\n")
    with pytest.raises(ConfigError, match=r"\[defenses.l2r\] mode is \['head'\]; expected a word"):
        Session.open(tmp_path, {}).defenses([])
    (tmp_path / "audit.toml").write_text("")
    with pytest.raises(ConfigError, match="no defence was named"):
        Session.open(tmp_path, {}).defenses([])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[run]\nthreads = 0", "at least 1"),
        ("[run]\nthreads = -3", "at least 1"),
        ("[policy]\nx = 1", "expected a table"),
        ("[gaet]\nfail_on = 'low'", '"gate"'),
        ("fail_on = 'low'", "unknown key"),
    ],
)
def test_wrong_tables_are_refused_before_anything_is_loaded(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "target.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        Session.open(tmp_path, {})


@pytest.mark.parametrize("text", ["", "tool = 1", "[tool.other]\nx = 1"])
def test_pyproject_without_our_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError, match=r"no \[tool.auditor\] table"):
        Session.open(tmp_path / "pyproject.toml", {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"features": "no"},
        {"features": 0},
        {"density": "4"},
        {"density": True},
        {"density": float("inf")},
        {"density": 0.0},
        {"served_digits": 1.5},
        {"served_digits": True},
        {"served_digits": 0},
    ],
)
def test_side_knowledge_of_the_wrong_type_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is"):
        SideKnowledge(**wrong)  # type: ignore[arg-type]


def test_baseline_that_is_over_before_it_begins_is_refused(tmp_path: Path) -> None:
    audit, out = tmp_path / "audit.json", tmp_path / "base.json"
    audit.write_bytes(to_bytes(audit_of([cell(measurement(0.3, 0.26, 0.34))])))
    words = ["baseline", "write", str(audit), "--reason", "known", "--as-of", "2026-11-21", "-o", str(out)]
    over = inside(*words, "--expires", "2026-11-20", cwd=tmp_path)
    assert (over.returncode, out.exists()) == (2, False)
    assert "2026-11-20" in over.stderr
    assert inside(*words, "--expires", "2026-11-21", cwd=tmp_path).returncode == 0


def test_reader_that_leaves_changes_no_exit_code(tmp_path: Path) -> None:
    passing, failing = tmp_path / "passing.json", tmp_path / "failing.json"
    passing.write_bytes(to_bytes(audit_of([cell(measurement(0.0, -0.01, 0.01))])))
    failing.write_bytes(to_bytes(audit_of([cell(measurement(0.3, 0.26, 0.34))])))
    for words, code in ((("gate", passing), 0), (("gate", failing), 1), (("list", "probes"), 0)):
        read, write = os.pipe()
        os.close(read)
        command = [sys.executable, "-m", "auditor", *map(str, words)]
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=120, check=False)
        os.close(write)
        assert (done.returncode, done.stderr) == (code, b""), words


def test_a_run_leaves_nothing_of_an_earlier_one_behind(tmp_path: Path) -> None:
    target, out = tmp_path / "target", tmp_path / "out"
    words = ("train", "--data", "demo", "--epochs", "5", "--hidden", "4", "-o", target)
    assert inside(*words, cwd=tmp_path).returncode == 0
    options = ("run", target, "--profile", "quick", "--only", "strata", "-o", out)
    assert inside(*options, "--format", "csv,html", cwd=tmp_path).returncode in (0, 1)
    assert {"audit.csv", "audit.html"} <= {path.name for path in out.iterdir()}
    (out / "audit.toml").touch()
    assert inside(*options, "--format", "markdown", cwd=tmp_path).returncode in (0, 1)
    ours = {".auditor.lock", "audit.json", "audit.md", "cells.jsonl", "run.json"}
    assert {path.name for path in out.iterdir()} == {*ours, "audit.toml"}


@pytest.mark.parametrize(("plain", "kind"), [(True, LineObserver), (False, BarObserver)])
def test_plain_asks_for_lines_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch, plain: bool, kind: type) -> None:
    monkeypatch.setattr(progress, "stderr", lambda: Console(file=io.StringIO(), force_terminal=True))
    with progress.observe(plain=plain) as observer:
        assert isinstance(observer, kind)


def test_bare_command_shows_its_help_and_no_empty_error(tmp_path: Path) -> None:
    done = inside(cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage" in done.stdout + done.stderr
    assert "error" not in done.stderr


@pytest.mark.parametrize("option", [("--alpha", "0.5"), ("--runs", "3"), ("--canaries", "9"), ("--power-only",)])
def test_options_of_a_run_beside_arithmetic_are_refused(option: tuple[str, ...]) -> None:
    from typer.testing import CliRunner

    from auditor.cli.main import app

    asked = ("dp-claim", "--static", "q=0.1,sigma=1,steps=10", "--claim", "1,1e-3", "--level", "graph")
    done = CliRunner().invoke(app, [*asked, *option])
    assert isinstance(done.exception, UsageError) or done.exit_code == 2
    assert option[0] in str(done.exception) + done.output


@pytest.mark.parametrize("option", ["only", "family"])
def test_an_option_that_names_no_test_does_not_choose_all(tmp_path: Path, option: str) -> None:
    done = inside("check", tmp_path, f"--{option}", "", cwd=tmp_path)
    assert done.returncode == 2
    assert f"{option} was given and is empty: every test would run" in " ".join(done.stderr.split())
    with pytest.raises(ConfigError, match=f"{option} was given and is empty"):
        auditor.check(tmp_path, **{option: ()})


def test_what_is_set_aside_is_said_once(tmp_path: Path) -> None:
    """Accounting loads a library that sets up logging for the whole process."""
    arithmetic = ("--static", "q=1,sigma=1,steps=1,units=9", "--claim", "1,1e-3", "--level", "node")
    done = program("dp-claim", *arithmetic, cwd=tmp_path, AUDITOR_PROFILE="quick")
    assert done.returncode == 1, done.stderr
    assert " ".join(done.stderr.split()).count("is not used: dp-claim runs no probes.") == 1


@pytest.mark.parametrize("verb", ["run", "check", "compare"])
def test_an_option_given_twice_is_refused(tmp_path: Path, verb: str) -> None:
    played = inside(verb, ".", "--only", "strata", "--only", "corruption", cwd=tmp_path)
    assert played.returncode == 2
    assert "--only is given 2 times" in played.stderr
