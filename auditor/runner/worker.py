"""One worker process: loads a target, then carries out the cells that it is told to.

User code runs here and nowhere else. Whatever it does to this process, to its streams or to the standard library, the
parent only reads lines of numbers, and judges, writes and prints by itself. An order is a line on standard input,
an answer a line on what was standard output when the process began; what user code prints goes elsewhere.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import traceback
from queue import SimpleQueue
from typing import BinaryIO, Final

from pydantic_core import to_json

from auditor import errors
from auditor.errors import AuditorError
from auditor.printable import neutral, neutral_lines
from auditor.runner.bench import Bench
from auditor.runner.claim_bench import ClaimBench
from auditor.runner.finished import said_of, to_line
from auditor.runner.job import Job
from auditor.runner.loading import loaded
from auditor.runner.plan import PlannedCell
from auditor.runner.undisturbed import ended_by, raised_by_forward, undisturbed
from auditor.targets.in_place import left_forward

PR_SET_CHILD_SUBREAPER: Final = 36
"""Of `prctl(2)`."""


class Answers:
    """The way back to the parent: one line an answer, `kind` and its JSON."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def give(self, kind: str, payload: bytes) -> None:
        """One line."""
        with self._lock:
            self._stream.write(kind.encode() + b" " + payload + b"\n")
            self._stream.flush()

    def note(self, text: str) -> None:
        """Something for the user to read."""
        self.give("note", to_json(neutral_lines(text)))

    def tick(self, fraction: float | None, note: str) -> None:
        """The running cell is that far."""
        self.give("tick", to_json([fraction, neutral(note)]))

    def trace(self, _cell: PlannedCell, text: str) -> None:
        """The traceback of the running cell."""
        self.give("trace", to_json(_printable(text)))

    def failed(self, error: BaseException) -> None:
        """The target cannot be loaded, or something of ours is wrong."""
        if not isinstance(error, Exception):
            error = ended_by(error)
        elif not isinstance(error, AuditorError) and left_forward(error):
            error = raised_by_forward(error)
        kind = next((each.__name__ for each in type(error).__mro__ if each.__module__ == errors.__name__), "")
        self.give(
            "failed",
            to_json([kind, said_of(error), _printable(traceback.format_exc())]),
        )


def _printable(text: str) -> str:
    """The text with what is no character spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def main() -> None:
    """Orders in, answers out, until the parent goes away."""
    orders, answers = _streams()
    _keep_children()
    try:
        job = Job.model_validate_json(orders.get())
        with undisturbed(job.threads, job.device):
            _serve(loaded(job, answers.note), orders, answers)
    except BaseException as error:
        answers.failed(error)
    os._exit(0)  # threads that user code has left behind would keep the process


def _serve(bench: Bench | ClaimBench, orders: SimpleQueue[bytes], answers: Answers) -> None:
    answers.give("loaded", to_json([sorted(cell.key for cell in bench.cells), bench.outputs()]))
    while True:
        order, _, cell = orders.get().partition(b" ")
        if order == b"describe":
            answers.give("described", bench.describe().model_dump_json().encode())
        else:
            finished = bench.run_one(PlannedCell.model_validate_json(cell), answers.tick, answers.trace)
            answers.give("finished", to_line(finished))


def _keep_children() -> None:
    """Children that would outlive their parents become this process's own (Linux): they count, and end with it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _streams() -> tuple[SimpleQueue[bytes], Answers]:
    """The parent's lines and the way back, on descriptors of their own; user code finds other streams in their place.

    Without a parent there is nobody to work for: the end of its lines ends this process at once, whatever runs.
    """
    lines, back = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what user code prints goes where its errors go
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    orders: SimpleQueue[bytes] = SimpleQueue()

    def listen() -> None:
        for line in lines:
            orders.put(line.rstrip(b"\n"))
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115  lives as long as the process
    return orders, Answers(back)


if __name__ == "__main__":
    main()
