"""The most exposed by name: ten by default, in the run's own files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import auditor
from auditor.api.options import NAMELESS
from auditor.api.session import Session
from auditor.document import canonical, from_bytes
from auditor.errors import ConfigError
from auditor.runner.plan import choose_probes, plan
from auditor.side_knowledge import SideKnowledge
from auditor.targets.target import Target
from reports.sentences.exposed import name
from tests.cli.program import auditor as program
from tests.toys import toy_target

WHAT = {"only": "influence", "profile": "quick", "seeds": [0]}


@pytest.fixture(scope="module")
def target() -> Target:
    return toy_target()


def ascii_of(text: str) -> str:
    """As plain lines write it."""
    return text.replace("–", "-")


def test_by_default_ten_are_named_and_naming_changes_no_number(target: Target, tmp_path: Path) -> None:
    plain = auditor.audit(target, exposed=0, **WHAT)
    naming = auditor.audit(target, out=tmp_path, formats=["sarif", "junit", "markdown", "csv", "dossier"], **WHAT)
    (before,), (after,) = plain.cells, naming.cells
    assert before.exposed == ()
    assert (plain.document.config["exposed"], naming.document.config["exposed"]) == (0, 10)
    (named,) = after.exposed
    keys = set(target.graph.pair_keys().tolist())
    assert {u * target.graph.num_nodes + v for u, v in (item.ids for item in named.items)} <= keys
    assert len(named.items) == 10
    assert before.key != after.key, "a run that goes on takes no cell that lacks its list"
    assert [r.estimate for r in plain.document.results] == [r.estimate for r in naming.document.results]
    kept = from_bytes((tmp_path / "audit.json").read_bytes())
    assert kept.cells[0].exposed == after.exposed
    first = name(named.items[0])
    assert ascii_of(first) in naming.summary()
    for file in ("audit.sarif", "audit.junit.xml", "audit.md", "audit.csv", "audit.dossier.md"):
        assert first not in (tmp_path / file).read_text(encoding="utf-8")


def test_a_report_can_be_made_again_without_names(target: Target, tmp_path: Path) -> None:
    """What is handed on differs in nothing from a run that named nobody, but for the keys of its cells."""
    naming = auditor.audit(target, exposed=3, **WHAT)
    plain = auditor.audit(target, exposed=0, **WHAT)
    assert [len(each.items) for each in naming.naming(2).cells[0].exposed] == [2]
    assert naming.naming(3).document is naming.document
    nameless = naming.naming(0)
    told = canonical(nameless.document).decode()
    for part, known in ((nameless.cells[0].key, plain.cells[0].key), (nameless.document.plan, plain.document.plan)):
        told = told.replace(part, known)
    assert told == canonical(plain.document).decode()
    with pytest.raises(ConfigError, match="expected 0"):
        naming.naming(-1)

    first = name(naming.cells[0].exposed[0].items[0])
    naming.save(tmp_path, ["html"])
    (tmp_path / "audit.html").unlink()
    path = str(tmp_path / "audit.json")
    handed = program("report", path, "--format", "json,html", "--exposed", "0", "-o", str(tmp_path / "handed"))
    assert handed.returncode == 0, handed.stderr
    assert from_bytes((tmp_path / "handed" / "audit.json").read_bytes()).digest == nameless.document.digest
    assert ascii_of(first) in program("report", path).stdout
    assert first not in (tmp_path / "handed" / "audit.html").read_text(encoding="utf-8")
    gate = program("gate", path).stdout
    assert "over the limit" in gate
    assert ascii_of(first) not in gate, "the log of a release"


@pytest.mark.parametrize("value", [-1, 1001])
def test_a_number_that_cannot_be_meant_is_refused(target: Target, value: int) -> None:
    with pytest.raises(ConfigError, match="exposed is"):
        auditor.audit(target, exposed=value, **WHAT)


def test_a_tracker_gets_no_names(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, bytes] = {}
    monkeypatch.setattr("auditor.api.session.check_tracker", lambda name: None)
    monkeypatch.setattr("auditor.api.session.log_audit", lambda audit, files: sent.update(files))
    report = auditor.audit(target, log="mlflow", out=tmp_path, formats=["html"], **WHAT)
    first = name(report.cells[0].exposed[0].items[0])
    assert first in (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert set(sent) == {"audit.json", "audit.html"}
    assert from_bytes(sent["audit.json"]).cells[0].exposed == ()
    assert first not in sent["audit.html"].decode()


def test_only_privacy_tests_run_anew_where_a_run_goes_on_with_another_number(target: Target) -> None:
    what = {"seeds": (0,), "profile": "quick", "side": SideKnowledge()}
    requests = choose_probes(only="influence,structure-evasion", skip="", family="", profile="quick")
    ten, none = (plan(target, requests, exposed=most, **what) for most in (10, 0))
    same = {cell.id: cell.key == other.key for cell, other in zip(ten, none, strict=True)}
    assert same == {"influence": False, "structure-evasion": True}


def test_a_comparison_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "audit.toml").write_text("[run]\nexposed = 10\n", encoding="utf-8")
    done = program("compare", str(tmp_path), "--defense", "coarse-outputs:digits=1")
    assert done.returncode == 2
    assert "exposed is for run" in done.stderr
    assert Session.open(tmp_path, {"exposed": 0}, NAMELESS).resolved["exposed"] == 0
    assert Session.without_target({}, NAMELESS).resolved["exposed"] == 0, "what compare and dp-claim begin with"
