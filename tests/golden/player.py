"""Plays command lines in one process, so that the imports are paid once: `Player` starts it, `main` is the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUMS = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}
"""Makes every processor add up in one order: a training takes another path from the last digit of a float32 sum."""


@dataclass(frozen=True)
class Played:
    """One command: its exit code and what it printed."""

    command: str
    code: int
    stdout: str
    stderr: str


class Player:
    """A process with a fixed environment that plays command lines in any folder."""

    def __init__(self, cache: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AUDITOR_")}
        fixed = {"OMP_NUM_THREADS": "1", "AUDITOR_CACHE": str(cache), "NO_COLOR": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.golden.player"],
            env=kept | fixed | SUMS,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def play(self, folder: Path, commands: Sequence[str]) -> tuple[Played, ...]:
        """The commands one after another, with `folder` as the working folder."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"folder": str(folder), "commands": list(commands)}) + "\n")
        stdin.flush()
        answer = stdout.readline()
        if not answer:
            raise RuntimeError(f"the process that plays the commands ended with {self._process.wait()}")
        return tuple(Played(**played) for played in json.loads(answer))

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def main() -> None:
    """Reads one line of JSON per scenario, answers with one line: every command with its code and output."""
    import contextlib
    import io

    from auditor.__main__ import run
    from auditor.api.session import Session
    from tests import in_process

    Session.workers = in_process.start  # type: ignore[method-assign,assignment]  # what processes add is tested elsewhere
    answers = sys.stdout
    for line in sys.stdin:
        asked = json.loads(line)
        os.chdir(asked["folder"])
        played = []
        for command in asked["commands"]:
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(command.split())
            played.append({"command": command, "code": code, "stdout": out.getvalue(), "stderr": err.getvalue()})
        answers.write(json.dumps(played) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
