"""The command line for tests: as a process of its own, or inside this one."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

from auditor.__main__ import run


def auditor(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **environment}
    command = [sys.executable, "-m", "auditor", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=600)


def inside(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same command line in this process, where the process itself is not what is tested."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    path = list(sys.path)
    try:
        with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run([str(word) for word in arguments])
    finally:
        sys.path[:] = path
    said = (stream.buffer.getvalue().decode() for stream in (out, err))
    return subprocess.CompletedProcess(arguments, code, *said)


def killed(verb: str, target: Path, out: Path, number: int, after: float, *words: str) -> int | None:
    """Exit code of a run that gets a signal after so many seconds; None where it was done before."""
    command = [sys.executable, "-m", "auditor", verb, str(target), *words, "-o", str(out)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    # A suite started in the background inherits an ignored SIGINT, and so would the program.
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=env, preexec_fn=heeds, **silent) as process:
        try:
            process.wait(after)
            return None
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        return process.wait(60)
