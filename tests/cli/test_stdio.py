"""Whatever the streams, the locale and the terminal do, the exit code is the verdict; nothing hostile reaches them."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from auditor.document import from_bytes, sealed, to_bytes
from auditor.printable import ascii_form
from reports.terminal.report import TerminalReport
from tests.reports import samples
from tests.reports.compared import AUDITS

GATE = (sys.executable, "-m", "auditor", "gate")
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
HOSTILE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]|^\s*::", re.M)
NAME = "\x1b[8m\x9b2J\x1b]0;title\x07::stop-commands::x \u202e\u200b\r" + "long " * 30 + "::error::y"


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A document by the exit code of its verdict."""
    folder = tmp_path_factory.mktemp("documents")
    made = {0: samples.clean(), 1: samples.realistic(), 3: samples.empty()}
    for code, audit in made.items():
        (folder / f"{code}.json").write_bytes(to_bytes(audit))
    return {code: folder / f"{code}.json" for code in made}


def _run(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line of bash; `$@` is the gate."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **environment}
    words = ["bash", "-o", "pipefail", "-c", command, "bash", *GATE]
    return subprocess.run(words, capture_output=True, env=env, timeout=120)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1252:strict"},
        {"PYTHONIOENCODING": "utf-16"},
        C_LOCALE,
        {"TERM": "dumb", "COLUMNS": "20"},
    ],
    ids=str,
)
def test_an_encoding_changes_no_exit_code(documents: dict[int, Path], environment: dict[str, str]) -> None:
    for code in (0, 1):
        done = _run(f'"$@" {documents[code]}', **environment)
        assert (done.returncode, done.stderr) == (code, b"")
        encoding = environment.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
        last = done.stdout.decode(encoding).strip().splitlines()[-2:]
        assert f"Exit code {code}." in " ".join(last), last


@pytest.mark.parametrize(
    ("streams", "said"),
    [
        (">&-", b"it is closed"),
        (">/dev/full", b"No space left"),
        (">/dev/full 2>&1", b""),
        ("2>/dev/full", b""),
        ("2>&-", b""),
        ("<&- >&- 2>&-", b""),
        ("| true", b""),
        ("2>&1 | true", b""),
    ],
)
def test_a_stream_that_is_closed_full_or_left_changes_no_exit_code(
    documents: dict[int, Path], streams: str, said: bytes
) -> None:
    for code in (1, 3):
        done = _run(f'"$@" {documents[code]} {streams}')
        assert done.returncode == code
        assert said in done.stderr
        assert b"Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) <= 1


def test_an_error_that_cannot_be_told_keeps_its_code() -> None:
    assert _run('"$@" nowhere.json 2>/dev/full').returncode == 2
    assert _run('"$@" nowhere.json --policy "" >&- 2>&-').returncode == 2


def test_ascii_forms_stand_for_the_signs_of_a_report(documents: dict[int, Path]) -> None:
    """In a pipe, and more so where the encoding has nothing else."""
    piped = _run(f'"$@" {documents[1]} --verbose').stdout.decode("ascii")
    narrow = _run(f'"$@" {documents[1]} --verbose', **C_LOCALE).stdout.decode("ascii")
    screen = TerminalReport().render(from_bytes(documents[1].read_bytes()), verbose=True)
    assert {"·", "≤", "•"} <= set(screen)
    assert narrow == piped
    assert piped.count("?") == screen.count("?"), "a sign without an ASCII form"
    assert ascii_form("− ≤ ≥ → ± … · ─ │ é") == "- <= >= -> +/- ... * - | e"


@pytest.mark.parametrize("columns", [1, 20])
@pytest.mark.parametrize("name", ["realistic", "comparison", "claim"])
def test_a_narrow_terminal_changes_no_exit_code(tmp_path: Path, name: str, columns: int) -> None:
    path = tmp_path / "audit.json"
    path.write_bytes(to_bytes(AUDITS[name]()))
    code, text = on_terminal([*GATE, str(path)], columns)
    assert code == AUDITS[name]().verdict.exit_code
    assert "Traceback" not in text
    assert "\x1b[1" in text, "our own styles reach a terminal"


def test_a_help_page_keeps_its_colours() -> None:
    code, text = on_terminal([*GATE, "--help"], 80)
    assert code == 0
    assert "\x1b[1" in text


def on_terminal(command: list[str], columns: int) -> tuple[int, str]:
    """Exit code and all that a terminal of so many columns was sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with subprocess.Popen(command, env={**env, "TERM": "xterm-256color"}, **streams) as process:
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 1 << 16):
                text += piece
        except OSError:  # the other end is closed
            pass
        os.close(ours)
    return process.returncode, text.decode()


# ---- hostile text ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    audit = samples.realistic()
    target = audit.target.model_copy(update={"name": NAME, "kind": NAME})
    cells = tuple(cell.model_copy(update={"reason": NAME} if cell.reason else {}) for cell in audit.cells)
    rows = tuple(row.model_copy(update={"evidence": NAME}) for row in audit.validity)
    made = sealed(audit.model_copy(update={"target": target, "cells": cells, "validity": rows, "profile": NAME}))
    path = tmp_path_factory.mktemp("hostile") / "audit.json"
    path.write_bytes(to_bytes(made))
    return path


@pytest.mark.parametrize("format_", ["terminal", "json", "html", "markdown", "sarif", "junit", "csv"])
def test_no_format_sends_hostile_text_to_the_screen(hostile: Path, format_: str) -> None:
    done = subprocess.run([*GATE[:-1], "report", hostile, "--format", format_], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert "stop-commands" in text, "the name is shown, as text"
    assert HOSTILE.search(text.replace("\r\n", "\n")) is None
    if format_ == "json":
        assert from_bytes(done.stdout) == from_bytes(hostile.read_bytes())


def test_no_error_text_carries_hostile_text(tmp_path: Path, hostile: Path) -> None:
    config = tmp_path / "audit.toml"
    config.write_text('["\\u001b[31m::error::x\\n::warning::y"]\nx = 1\n', encoding="utf-8")
    other = tmp_path / "\x1b[31m::error::\u202e.json"
    other.write_bytes(b"{}")
    for words in (
        ("report", hostile, "--format", NAME.replace("\r", "")),
        ("gate", other),
        ("gate", tmp_path / "\x1b[2J\n::error::gone"),
        ("gate", hostile, "--config", config),
        ("gate", hostile, "--policy", "\x1b[31m\n::error::x"),
        ("explain", "\x1b]0;x\x07\n::error::x"),
        ("\x1b[31mverb\n::error::x",),
    ):
        done = subprocess.run([*GATE[:-1], *words], capture_output=True, timeout=120)
        assert done.returncode == 2, (words, done.stderr)
        assert done.stderr, words
        assert HOSTILE.search(done.stderr.decode() + done.stdout.decode()) is None, (words, done.stderr)


def test_styles_reach_a_terminal_and_hostile_escapes_do_not(hostile: Path) -> None:
    code, text = on_terminal([*GATE, str(hostile)], 60)
    assert code == 1
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text.replace("\r\n", "\n"))
    assert plain != text
    assert HOSTILE.search(plain) is None
    assert "\x1b[8m" not in text


# ---- endings that no verb of ours has --------------------------------------------------------------------------------

FAKE = """
import sys, os, atexit, threading, time
import auditor.__main__ as program
class Broken(Exception):
    def __str__(self): raise SystemExit(0)
    __repr__ = __str__
class Own(BaseException):
    pass
def verb(arguments):
    {body}
program._invoke = verb
program.main()
"""


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("sys.exit(0)", 3),
        ("sys.exit(1)", 3),
        ("sys.exit('\\x1b[31m')", 3),
        ("raise GeneratorExit", 3),
        ("raise Own", 3),
        ("raise Broken", 3),
        ("raise RuntimeError('\\ud800\\x1b[31m')", 3),
        ("from auditor.errors import AuditorError\n    raise type('E', (AuditorError,), {'exit_code': 0})('x')", 3),
        ("from auditor.errors import UsageError\n    raise UsageError('\\ud800\\x1b[31m')", 2),
        ("raise KeyboardInterrupt", 130),
        ("raise MemoryError", 3),
        ("sys.stdout.close(); sys.stderr.close(); print('x'); return 1", 1),
        ("threading.Thread(target=time.sleep, args=(60,)).start(); return 1", 1),
        ("atexit.register(os._exit, 0); return 1", 1),
    ],
)
def test_no_ending_forges_a_verdict_or_shows_a_traceback(tmp_path: Path, body: str, code: int) -> None:
    script = FAKE.format(body=body)
    for folder in (str(tmp_path), "/proc/nowhere"):  # and where no log file can be written
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, timeout=30, env={**os.environ, "TMPDIR": folder}
        )
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr
        assert HOSTILE.search(done.stderr.decode()) is None
        assert done.stderr or code == 1


@pytest.mark.parametrize(("body", "code"), [("KeyboardInterrupt", 130), ("Stopped(15)", 143), ("Stopped(1)", 129)])
def test_what_stops_a_verb_is_its_exit_code_and_is_said(tmp_path: Path, body: str, code: int) -> None:
    script = (
        "import sys\nimport auditor.api.auditing as api\nfrom auditor import __main__\n"
        f"from auditor.stopping import Stopped\ndef audit(*_, **__): raise {body}\n"
        f"api.audit = audit\nsys.argv = ['auditor', 'run', {str(tmp_path)!r}]\n__main__.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, b"interrupted\n")


def test_a_folder_that_is_gone_changes_no_exit_code(documents: dict[int, Path], tmp_path: Path) -> None:
    done = _run(f'mkdir {tmp_path}/x; cd {tmp_path}/x; rmdir {tmp_path}/x; "$@" {documents[1]}')
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_document_for_a_program_is_utf_8_and_not_half_of_it(hostile: Path) -> None:
    command = f"{sys.executable} -m auditor report {hostile} --format json"
    done = _run(command, **C_LOCALE)
    assert from_bytes(done.stdout) == from_bytes(hostile.read_bytes())
    full = _run(f"{command} > /dev/full")
    assert full.returncode == 2
    assert b"No space left" in full.stderr
    assert _run(f"{command} | true").returncode == 0
