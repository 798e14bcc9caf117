"""Fixtures shared by every test: the data root, one thread, no network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from auditor.api.session import Session
from tests import in_process

LONGEST = (
    "tests/golden/test_runs.py",
    "tests/alone/",
    "tests/attacks/test_contract.py",
    "tests/cli/test_cli.py",
    "tests/runner/test_comparing.py",
    "tests/runner/test_compared.py",
    "tests/runner/test_kills.py",
    "tests/runner/test_claimed.py",
    "tests/runner/test_processes.py",
    "tests/test_gate_example.py",
    "tests/benchmarks/test_trust_slow.py",
    "tests/golden/",
    "tests/targets/test_save.py",
    "tests/targets/test_shapes.py",
    "tests/cli/test_stdio.py",
    "tests/test_doc_examples.py",
    "tests/test_wheel.py",
)
"""Files that take longest are begun first: one that were begun last would leave the other workers idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((k for k, name in enumerate(LONGEST) if item.nodeid.startswith(name)), len(LONGEST))

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Reduction order depends on the number of threads."""
    torch.set_num_threads(1)


WORKERS = Session.workers


@pytest.fixture(scope="module", autouse=True)
def _no_worker_processes_for_what_is_made_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a module makes once for its tests does without processes as they do; see `_no_worker_processes`."""
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("workers") is None:
            patch.setattr(Session, "workers", in_process.start)
        yield


@pytest.fixture(autouse=True)
def _no_worker_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process costs seconds: those that are not about processes (`pytest.mark.workers`) do without."""
    marked = request.node.get_closest_marker("workers") is not None
    monkeypatch.setattr(Session, "workers", WORKERS if marked else in_process.start)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real graphs; skips where there is none, fails where AUDITOR_REQUIRE_DATA says it must be there."""
    given = os.environ.get("AUDITOR_DATA")
    root = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not (root / "INDEX.toml").exists():
        missing = f"no real graphs at {root}: set AUDITOR_DATA to a data root"
        if os.environ.get("AUDITOR_REQUIRE_DATA"):
            pytest.fail(missing)
        pytest.skip(missing)
    return root
