"""An interrupt at any moment after the program has begun: exit 130 or that of the signal, one word, no traceback."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from auditor import stopping
from auditor.stopping import Stopped, stoppable

ASKS = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Finder())
sys.argv = ["auditor", *{words!r}]
from auditor.__main__ import main
main()
"""
EARLY = (
    "tempfile",
    "auditor.printable",
    "typer",
    "auditor.cli.run",
    "rich.progress",
    "pydantic",
    "numpy",
    "numpy._core",
)


def stopped_in(module: str, number: int, *words: str) -> subprocess.CompletedProcess[str]:
    """The program, sent a signal by itself while it imports a module."""
    code = ASKS.format(module=module, number=int(number), words=words)
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, preexec_fn=heeds)


@pytest.mark.slow
@pytest.mark.workers
@pytest.mark.parametrize("module", EARLY)
def test_an_interrupt_while_the_program_starts(tmp_path: Path, module: str) -> None:
    (tmp_path / "target.toml").write_text("")
    done = stopped_in(module, signal.SIGINT, "run", str(tmp_path))
    assert done.returncode == 130, done.stderr
    assert done.stderr in ("", "interrupted\n")
    assert not done.stdout


@pytest.mark.slow
@pytest.mark.workers
def test_a_termination_while_the_program_starts(tmp_path: Path) -> None:
    (tmp_path / "target.toml").write_text("")
    done = stopped_in("rich.progress", signal.SIGTERM, "run", str(tmp_path))
    assert (done.returncode, done.stderr) == (143, "interrupted\n")


class Importing:
    """Sends this process a signal from within an import, which takes a while longer."""

    def __init__(self, number: int, seconds: float) -> None:
        self.number, self.seconds = number, seconds

    def find_spec(self, name: str, *_: Any) -> None:
        if name == "no_such_module":
            os.kill(os.getpid(), self.number)
            time.sleep(self.seconds)


@pytest.fixture
def importing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, float], None]]:
    def run(number: int, seconds: float) -> None:
        monkeypatch.setattr(sys, "meta_path", [Importing(number, seconds), *sys.meta_path])
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("no_such_module")
        time.sleep(5)

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield run
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Stopped)])
def test_an_import_is_finished_before_a_signal_is_heeded(
    importing: Callable[[int, float], None], number: int, kind: type[BaseException]
) -> None:
    with pytest.raises(kind) as raised, stoppable():
        importing(number, 0.2)
    assert type(raised.value) is kind


def test_an_import_that_never_ends_is_not_waited_for(
    importing: Callable[[int, float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "PATIENCE_S", 0.1)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), stoppable():
        importing(signal.SIGINT, 5)
    assert time.monotonic() - start < 4


def test_signals_that_are_to_be_ignored_stay_ignored() -> None:
    numbers = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        with stoppable():
            assert all(signal.getsignal(number) == signal.SIG_IGN for number in numbers)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_handler_of_the_callers_own_stays() -> None:
    before = signal.signal(signal.SIGINT, own := lambda *_: None)
    try:
        with stoppable():
            assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_elsewhere_than_in_the_main_thread_nothing_is_set() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def inside() -> None:
        with stoppable():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [before]
