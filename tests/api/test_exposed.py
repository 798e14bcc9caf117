"""The switch that names the most exposed: off by default, in the run's own files alone, and never to a tracker."""

from __future__ import annotations

from pathlib import Path

import pytest

import auditor
from auditor.document import from_bytes
from auditor.errors import ConfigError
from auditor.targets.target import Target
from tests.cli.program import auditor as program
from tests.toys import toy_target

WHAT = {"only": "influence", "profile": "quick", "seeds": [0]}


@pytest.fixture(scope="module")
def target() -> Target:
    return toy_target()


def test_by_default_nobody_is_named_and_naming_changes_no_number(target: Target, tmp_path: Path) -> None:
    plain = auditor.audit(target, **WHAT)
    naming = auditor.audit(target, exposed=3, out=tmp_path, formats=["sarif", "junit", "markdown"], **WHAT)
    (before,), (after,) = plain.cells, naming.cells
    assert before.exposed == ()
    assert plain.document.config["exposed"] == 0
    (named,) = after.exposed
    keys = set(target.graph.pair_keys().tolist())
    assert {u * target.graph.num_nodes + v for u, v in (item.ids for item in named.items)} <= keys
    assert len(named.items) == 3
    assert before.key != after.key, "a run that goes on takes no cell that lacks its list"
    assert [r.estimate for r in plain.document.results] == [r.estimate for r in naming.document.results]
    kept = from_bytes((tmp_path / "audit.json").read_bytes())
    assert kept.cells[0].exposed == after.exposed
    first = "–".join(map(str, named.items[0].ids))
    assert first in (tmp_path / "audit.md").read_text(encoding="utf-8")
    for name in ("audit.sarif", "audit.junit.xml"):
        assert first not in (tmp_path / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [-1, 1001])
def test_a_number_that_cannot_be_meant_is_refused(target: Target, value: int) -> None:
    with pytest.raises(ConfigError, match="exposed is"):
        auditor.audit(target, exposed=value, **WHAT)


def test_a_tracker_gets_no_names(target: Target) -> None:
    with pytest.raises(ConfigError, match="exposed came with log"):
        auditor.audit(target, exposed=1, log="mlflow", **WHAT)


def test_a_comparison_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "audit.toml").write_text("[run]\nexposed = 10\n", encoding="utf-8")
    done = program("compare", str(tmp_path), "--defense", "coarse-outputs:digits=1")
    assert done.returncode == 2
    assert "exposed is for run" in done.stderr
