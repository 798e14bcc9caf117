"""The most exposed by name: ten by default, in the run's own files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import auditor
from auditor.api.session import Session
from auditor.document import canonical, from_bytes
from auditor.errors import ConfigError
from auditor.runner.plan import choose_probes, plan
from auditor.side_knowledge import SideKnowledge
from auditor.targets.target import Target
from reports.sentences.exposed import name
from tests.cli.program import auditor as program
from tests.cli.program import inside
from tests.targets.projects import Project
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


SHARED = "[run]\nexposed = 20\nsave_flips = true\ntraining_seeds = 3\nprofile = 'quick'\n"
CLAIM = ("dp-claim", "--claim", "1,1e-3", "--static", "q=0.1,sigma=1,steps=10", "--level", "graph")


def test_what_a_shared_place_says_for_a_run_alone_is_set_aside_elsewhere_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "audit.toml").write_text(SHARED, encoding="utf-8")
    run, other = Session.open(tmp_path, {}).resolved, Session.open(tmp_path, {}, verb="compare").resolved
    assert (run["exposed"], run["save_flips"], run["training_seeds"], run.set_aside) == (20, True, 3, ())
    assert (other["exposed"], other["save_flips"], other["training_seeds"]) == (0, False, 0)
    assert other["profile"] == "quick"
    assert [line.partition(" is for run alone")[0] for line in other.set_aside] == [
        "exposed = 20 (file)", "save_flips = true (file)", "training_seeds = 3 (file)",
    ]  # fmt: skip
    (tmp_path / "audit.toml").write_text("[run]\nexposed = 0\n", encoding="utf-8")
    assert Session.open(tmp_path, {}, verb="compare").resolved.set_aside == (), "it asks for nothing else than is done"
    monkeypatch.setenv("AUDITOR_EXPOSED", "x")
    with pytest.raises(ConfigError, match="AUDITOR_EXPOSED"):
        Session.without_target({}, verb="compare")


def test_what_chooses_probes_is_set_aside_where_a_claim_is_audited_and_told(tmp_path: Path) -> None:
    said = "[run]\nprofile = 'quick'\nonly = 'graphmi'\nseeds = '4'\nfamily = 'privacy'\nskip = 'strata'\n"
    (tmp_path / "audit.toml").write_text(said, encoding="utf-8")
    compared, claimed = (Session.open(tmp_path, {}, verb=verb).resolved for verb in ("compare", "dp-claim"))
    assert [compared[name] for name in ("only", "profile", "seeds")] == ["graphmi", "quick", "4"]
    assert compared.set_aside == ()
    assert [claimed[name] for name in ("only", "skip", "family", "profile", "seeds")] == ["", "", "", "standard", ""]
    assert {line.partition(" = ")[0] for line in claimed.set_aside} == {"only", "skip", "family", "profile", "seeds"}
    assert all("is not used: dp-claim" in line for line in claimed.set_aside)


def test_a_comparison_and_a_claim_name_nobody_whatever_a_shared_place_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDITOR_EXPOSED", "20")
    said = "exposed = 20 (environment AUDITOR_EXPOSED) is for run alone and is not used"
    claimed = inside(*CLAIM, "-o", tmp_path / "claim", cwd=tmp_path)
    assert claimed.returncode == 1, claimed.stderr
    assert said in " ".join(claimed.stderr.split())
    place = Project(tmp_path / "t").write()
    compared = inside(
        "compare", place, "--defense", "coarse-outputs:digits=1", "--only", "posterior-similarity",
        "--profile", "quick", "-o", tmp_path / "compared", cwd=tmp_path,
    )  # fmt: skip
    assert compared.returncode in (0, 1, 3), compared.stderr
    assert said in " ".join(compared.stderr.split())
    for made in ("claim", "compared"):
        document = from_bytes((tmp_path / made / "audit.json").read_bytes())
        assert document.config["exposed"] == 0
        assert not any(cell.exposed for cell in document.cells)
