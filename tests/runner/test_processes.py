"""What a model's own code does to its process costs one cell at most, and never gives a verdict."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from pydantic_core import to_json

import auditor
from auditor.api.report import Report
from auditor.document import CellRow, canonical
from auditor.errors import AuditorError, CallError, LoadError, SplitError, UsageError
from auditor.runner.plan import PlannedCell
from auditor.runner.processes import Processes, Worker, _as_raised, _brief, _dealt, _heard
from auditor.runner.record import Record
from auditor.runner.worker import Answers
from auditor.targets.call_failures import NotRunError
from auditor.targets.resolve import UndecidedError
from tests.cli.program import auditor as program
from tests.runner.hostile import ENDS, IN_CORRUPTION, LATE, hostile, in_turn
from tests.toys import Silent

pytestmark = pytest.mark.workers


def audited(folder: Path, **options: Any) -> Report:
    return auditor.audit(folder, only="strata,corruption", profile="quick", **{"jobs": 1, **options})


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return audited(hostile(tmp_path_factory.mktemp("honest") / "t"))


def test_the_number_of_processes_changes_no_number(tmp_path: Path, honest: Report) -> None:
    assert [cell.status for cell in honest.cells] == ["ok", "ok"]
    two = audited(hostile(tmp_path / "t"), jobs=2)
    assert canonical(two.document) == canonical(honest.document)


def of_corruption(report: Report, seeds: int) -> list[CellRow]:
    """Its cells by seed; those of strata, which runs in the same processes, all stand."""
    assert [cell.status for cell in report.cells if cell.probe == "strata"] == ["ok"] * seeds
    cells = {cell.seed: cell for cell in report.cells if cell.probe == "corruption"}
    return [cells[seed] for seed in range(seeds)]


@pytest.mark.slow
def test_an_end_in_a_cell_is_its_row_and_the_others_go_on(tmp_path: Path) -> None:
    folder, last = in_turn(tmp_path / "t", IN_CORRUPTION, list(ENDS.values())), len(ENDS)
    words = ("--only", "strata,corruption", "--profile", "quick", "--seeds", ",".join(map(str, range(last + 1))))
    done = program("run", folder, *words, "--jobs", 1, "-o", tmp_path / "out")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    report = Report.load(tmp_path / "out")
    rows = of_corruption(report, last + 1)
    assert dict(zip([*ENDS, "none"], [row.status for row in rows], strict=True)) == {
        **dict.fromkeys(ENDS, "error"),
        "none": "ok",
    }
    assert len((tmp_path / "ended").read_text()) > last
    honest = audited(hostile(tmp_path / "honest"), seeds=range(last + 1))
    own, undisturbed = ([r.estimate for r in each.document.results if r.probe == "strata"] for each in (report, honest))
    assert own == undisturbed


def test_the_process_of_a_cell_may_end_and_is_replaced(tmp_path: Path) -> None:
    folder = hostile(tmp_path / "t", forward=LATE + "os._exit(0)")
    report = audited(folder, out=tmp_path / "out")
    assert (report.verdict.status, report.verdict.exit_code) == ("INCOMPLETE", 3)
    broken = [cell for cell in report.cells if cell.status == "error"]
    assert broken
    assert all(cell.reason.startswith("it ended its process, exit code 0") for cell in broken)


SAY = (
    "[os.write(n, {text!r}) for n in range(3, 60) if os.path.exists(f'/proc/self/fd/{{n}}') "
    "and 'pipe' in os.readlink(f'/proc/self/fd/{{n}}') and __import__('fcntl').fcntl(n, 3) & 3]"
)
"""Writes into every pipe that is open for writing: that of the answers is one."""
NO_ANSWERS = {
    "unknown": SAY.format(text=b"junk\n"),
    "says-that-it-is-gone": SAY.format(text=b"gone\n"),
    "no-json": SAY.format(text=b"tick nope\n"),
    "other-types": SAY.format(text=b'tick ["much", 1]\n'),
    "no-trace": SAY.format(text=b"trace 1\n"),
    "silent": "os.closerange(3, 60); time.sleep(1e6)",
    "a-child-in-a-session-of-its-own-keeps-the-stream": (
        "os.fork() == 0 and (os.setsid(), os.fork() == 0 and time.sleep(90), os._exit(0)); os._exit(3)"
    ),
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the stream of the answers in /proc")
def test_what_no_worker_says_costs_the_cell_under_way(tmp_path: Path) -> None:
    last = len(NO_ANSWERS)
    folder = in_turn(tmp_path / "t", IN_CORRUPTION, list(NO_ANSWERS.values()), once=True)
    report = audited(folder, seeds=range(last + 1))
    rows = of_corruption(report, last + 1)
    assert dict(zip([*NO_ANSWERS, "none"], [row.status for row in rows], strict=True)) == {
        **dict.fromkeys(NO_ANSWERS, "error"),
        "none": "ok",
    }
    assert max(row.seconds for row in rows) < 60
    assert report.verdict.exit_code == 3


@pytest.mark.parametrize("text", [b"note nope\n", b"loaded nope\n", b"described {}\n", b"failed 1\n", b"junk\n"])
def test_what_no_answer_is_is_no_target(text: bytes) -> None:
    kind, _, payload = text.rstrip().partition(b" ")
    assert _heard(kind.decode(), payload) is None


@pytest.mark.parametrize("loaded", [["a"], [["a"], None], [["a"], [0.5, float("nan")]]])
def test_what_a_worker_has_loaded_is_understood(loaded: list[Any]) -> None:
    assert (_heard("loaded", to_json(loaded)) is None) == (len(loaded) == 1)


IN_CHECKS = "if CALLS > 60: "
"""After the model is loaded, while it is checked."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("does", "limit", "said"),
    [
        ("time.sleep(1e6)", {"cell_timeout": 20}, "longer than 20 s"),
        ("self.kept = [torch.ones(25_000_000) for _ in range(40)]; time.sleep(60)", {"max_memory": 1}, "1.0 GB"),
    ],
    ids=["time", "memory"],
)
def test_the_checks_of_a_target_have_limits_too(tmp_path: Path, does: str, limit: dict[str, Any], said: str) -> None:
    with pytest.raises(LoadError, match=said):
        audited(hostile(tmp_path / "t", forward=IN_CHECKS + does), **limit)


def test_a_worker_that_ends_between_two_cells_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost with it: its last cell is told already."""
    idle, fresh = (
        SimpleNamespace(job=None, loaded=True, cell=None, how_it_ended=lambda: "gone", end=lambda: None),
        object(),
    )
    monkeypatch.setattr(Worker, "start", lambda *_: fresh)
    pool = object.__new__(Processes)
    pool._workers, pool._job, pool._inbox = [idle], None, None  # type: ignore[list-item, assignment]
    assert list(pool._answered(idle, "gone", b"", Silent(), Record())) == []  # type: ignore[arg-type]
    assert pool._workers == [fresh]


def test_cells_of_a_seed_stay_in_one_process() -> None:
    """What they share is made once, and a process that helps with another one's family begins a seed of its own."""
    specs = ("graphmi", "posterior-similarity")
    waiting = [
        PlannedCell(spec=spec, seed=seed, profile="standard", key=f"{spec} {seed}") for spec in specs for seed in (0, 1)
    ]
    first, second = (SimpleNamespace(groups=set()) for _ in range(2))
    taken: list[list[tuple[str, int]]] = [[], []]
    while waiting:
        for worker, own in zip((first, second), taken, strict=True):
            cell = _dealt(worker, [first, second], waiting)  # type: ignore[arg-type, list-item]
            assert cell is not None
            own.append((cell.id, cell.seed))
    assert taken == [[(spec, seed) for spec in specs] for seed in (0, 1)]


AT_LOAD = [
    {"forward": "sys.exit(0)"},
    {"forward": "os._exit(0)"},
    *(pytest.param({place: "sys.exit(0)"}, marks=pytest.mark.slow) for place in ("top", "build")),
    *(pytest.param({place: "os._exit(0)"}, marks=pytest.mark.slow) for place in ("top", "build")),
]


@pytest.mark.parametrize("parts", AT_LOAD, ids=str)
def test_an_end_while_loading_is_a_target_that_cannot_be_loaded(tmp_path: Path, parts: dict[str, str]) -> None:
    with pytest.raises(LoadError):
        audited(hostile(tmp_path / "t", **parts), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_forward_that_fails_on_its_graph_is_a_usage_error_and_no_fault_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the model cannot be run on graph .*ValueError: of no use"):
        audited(hostile(tmp_path / "t", forward="raise ValueError('of no use')"))


def test_a_forward_that_fails_in_a_check_is_a_target_that_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"forward raised ValueError: tired \(model\.py, line \d+\)"):
        audited(hostile(tmp_path / "t", forward="if CALLS > 20: raise ValueError('tired')"))


@pytest.mark.parametrize(
    "forward",
    ["self.conv1(x[:, :3], edge_index)", "raise __import__('auditor').errors.SkippedError('does not apply')"],
    ids=["a library", "this program"],
)
def test_the_place_that_is_to_be_mended_is_in_the_code_of_the_model(tmp_path: Path, forward: str) -> None:
    """Not where a library, or what watches over the forward, found that out."""
    with pytest.raises(LoadError, match=r"forward raised RuntimeError: .* \(model\.py, line \d+\)"):
        audited(hostile(tmp_path / "t", forward=f"if CALLS > 20: {forward}"))


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (NotRunError("does not run"), CallError, 2),
        (UndecidedError("two calls", "call"), CallError, 2),
        (SplitError("no split"), SplitError, 2),
        (LoadError("no model"), LoadError, 4),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_error_of_ours_crosses_a_process_as_what_it_is(error: AuditorError, kind: type, code: int) -> None:
    """One that is declared elsewhere than the others, too: what the user can mend is never called an internal error."""
    stream = io.BytesIO()
    Answers(stream).failed(error)
    name, _, payload = stream.getvalue().rstrip(b"\n").partition(b" ")
    raised = _as_raised(*_heard(name.decode(), payload))
    assert (type(raised), str(raised)) == (kind, str(error))
    assert isinstance(raised, AuditorError)
    assert raised.exit_code == code


@pytest.mark.parametrize(("limit", "said"), [(20, "20"), (1200.0, "1,200"), (1.0, "1"), (0.25, "0.2"), (1e-9, "1e-09")])
def test_a_limit_is_never_told_as_none(limit: float, said: str) -> None:
    assert _brief(limit, 0) == said


@pytest.mark.slow
def test_a_cell_that_hangs_is_ended(tmp_path: Path) -> None:
    start = time.monotonic()
    report = audited(hostile(tmp_path / "t", forward=LATE + "time.sleep(1e6)"), cell_timeout=20)
    assert time.monotonic() - start < 150
    ended = [cell for cell in report.cells if cell.status == "timeout"]
    assert ended
    assert all(cell.reason == "it took longer than 20 s (--cell-timeout)" for cell in ended)
    assert report.verdict.exit_code == 3


@pytest.mark.slow
def test_a_cell_that_takes_all_memory_is_ended(tmp_path: Path) -> None:
    greedy = LATE + "self.kept = [torch.ones(25_000_000) for _ in range(200)]"
    report = audited(hostile(tmp_path / "t", forward=greedy), max_memory=2)
    ended = [cell for cell in report.cells if cell.status == "error"]
    assert ended
    assert all(cell.reason == "it needed more than 2.0 GB (--max-memory)" for cell in ended)


HARMLESS = {
    "build": "os.chdir('/'); json.dumps = json.loads = lambda *a, **k: '{}'; sys.stdin.read(); "
    "threading.Thread(target=time.sleep, args=(1e6,)).start()",
    "forward": "print('finished {}'); os.write(1, b'finished {}')",
}
"""Moves, patches, reads the input, leaves a thread and prints what an answer looks like."""


@pytest.mark.slow
def test_what_code_does_to_its_process_changes_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, honest: Report
) -> None:
    hostile(tmp_path / "t", **HARMLESS)
    monkeypatch.chdir(tmp_path)
    report = audited(Path("t"), out="out")
    assert [r.estimate for r in report.document.results] == [r.estimate for r in honest.document.results]
    assert {cell.status for cell in report.cells} == {"ok"}
    assert json.loads((tmp_path / "out" / "audit.json").read_bytes())["verdict"]["status"] == report.verdict.status


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="nobody else adopts orphans")
def test_what_a_model_leaves_in_the_background_ends_with_its_worker(tmp_path: Path) -> None:
    left = tmp_path / "left"
    note = f"open({str(left)!r}, 'w').write(str(os.getpid()))"
    daemon = f"os.fork() == 0 and (os.setsid(), os.fork() == 0 and ({note}, time.sleep(1e6)), os._exit(0))"
    audited(hostile(tmp_path / "t", build=daemon))
    process, until = int(left.read_text()), time.monotonic() + 10
    while lives := psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            break
        time.sleep(0.1)
    assert not lives


def test_a_worker_ends_although_a_signal_left_the_lock_of_its_process_held() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1e6)"], stdin=subprocess.PIPE)
    worker = Worker(SimpleNamespace(), process, io.BytesIO())
    process._waitpid_lock.acquire()  # as an exception does that comes right behind it
    worker.end()
    process._waitpid_lock.release()
    assert process.wait(5) == -signal.SIGKILL


def test_a_model_that_is_another_one_at_every_load_is_refused(tmp_path: Path) -> None:
    drawn = "torch.manual_seed(time.time_ns() % 2**31); Net.extra = torch.rand(1); import random"
    folder = hostile(tmp_path / "t", build=drawn, forward="x = x * Net.extra")
    with pytest.raises(LoadError, match="another model each time"):
        audited(folder, jobs=2, seeds=range(4))  # the first is not done before the second has loaded


def test_the_program_itself_runs_no_model(tmp_path: Path) -> None:
    words = ["run", str(hostile(tmp_path / "t")), "--only", "strata", "--profile", "quick", "--jobs", "1"]
    code = "import sys; from auditor.__main__ import run; code = run(sys.argv[1:]); print(code, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] in ("0 False", "1 False")
