"""The executor on a real Ray cluster of this machine."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

import auditor
from auditor.document import canonical
from auditor.errors import ConfigError
from tests.runner.hostile import hostile

WHAT = {"only": "strata,corruption,posterior-similarity", "profile": "quick"}


@pytest.mark.workers
@pytest.mark.slow
def test_the_document_is_that_of_processes_and_a_lost_cell_is_its_row(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install ray")
    target = hostile(tmp_path / "t")
    one, other = auditor.audit(target, jobs=1, **WHAT), auditor.audit(target, executor="ray", **WHAT)  # type: ignore[arg-type]
    assert canonical(one.document) == canonical(other.document)
    ends = hostile(tmp_path / "ends", forward="if CALLS > 50 and 'RAY_JOB_ID' in os.environ: os._exit(0)")
    broken = auditor.audit(ends, executor="ray", only="strata,corruption", profile="quick")
    assert {cell.status for cell in broken.cells} == {"ok", "error"}
    assert broken.verdict.exit_code == 3


def test_without_ray_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "ray":
            raise ImportError(name)
        return real(name, *rest, **more)

    from auditor.runner.job import Job
    from auditor.runner.processes import Limits
    from auditor.runner.ray_tasks import RayTasks

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match="pip install"):
        RayTasks(Job(path=str(tmp_path)), Limits())


@pytest.mark.parametrize(
    ("given", "message"),
    [({"executor": "rey"}, "ray"), ({"ray_address": "10.0.0.1:1"}, "without executor")],
)
def test_a_wrong_executor_is_refused(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        auditor.audit(tmp_path, **given)
