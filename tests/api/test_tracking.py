"""An audit in an experiment tracker: what a run holds, what is asked before, and that no verdict depends on it."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from auditor import __main__
from auditor.api import tracking
from auditor.api.report import files_of
from auditor.api.session import Session
from auditor.document import Audit, from_bytes, to_bytes
from auditor.errors import ConfigError
from auditor.runner.record import Record
from tests.reports import samples
from tests.reports.compared import AUDITS


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A local folder that MLflow logs to, without a server."""
    place = tmp_path / "runs"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.as_uri())
    yield place
    client = importlib.import_module("mlflow")
    while client.active_run() is not None:
        client.end_run()


def runs(store: Path) -> list[Any]:
    client: ModuleType = importlib.import_module("mlflow")
    return list(client.MlflowClient(store.as_uri()).search_runs(["0"]))


def logged(audit: Audit, store: Path) -> Any:
    tracking.log_audit(audit, files_of(audit, ["csv"]))
    (run,) = runs(store)
    return run


def kept(audit: Audit) -> None:
    session = Session.without_target({"log": "mlflow", "format": "csv"})
    session.check_out()
    with Record.opened(None) as record:
        record.begin(None)
        assert session.keep(audit, record).document is audit


def test_a_run_has_the_numbers_with_their_ends_and_control(store: Path) -> None:
    audit = samples.realistic()
    run, result = logged(audit, store), next(r for r in audit.judged if r.metric == "tpr@0.001")
    key, found = "posterior-similarity/tpr_0.001.prior", run.data.metrics
    assert result.control is not None
    assert result.excess is not None
    for name, number in {
        "": result.own.value,
        ".lo": result.own.lo,
        ".hi": result.own.hi,
        ".control": result.control.estimate.value,
        ".control.hi": result.control.estimate.hi,
        ".excess": result.excess.value,
        ".excess.lo": result.excess.lo,
    }.items():
        assert found[key + name] == number
    assert {name.split("/")[0] for name in found} == {result.probe for result in audit.judged}


def test_a_run_has_what_was_asked_the_verdict_and_the_files(store: Path) -> None:
    audit = samples.realistic()
    run = logged(audit, store)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == audit.target.name
    assert run.data.tags["auditor.verdict"] == "FAILED"
    assert run.data.tags["auditor.exit_code"] == "1"
    params = run.data.params
    assert params["target_digest"] == audit.target.digest
    assert (params["profile"], params["policy"], params["seeds"]) == ("standard", "standard", "0")
    folder = store / "0" / run.info.run_id / "artifacts"
    assert from_bytes((folder / "audit.json").read_bytes()) == audit
    assert (folder / "audit.csv").is_file()


def test_what_does_not_count_is_no_metric_and_said_so(store: Path) -> None:
    audit = samples.untrusted()
    run = logged(audit, store)
    void = [result for result in audit.judged if result.judgement is not None and result.judgement.untrusted]
    assert {result.probe for result in void} == {"structure-evasion", "graphmi"}
    assert {name.split("/")[0] for name in run.data.metrics} == {"posterior-similarity"}
    assert run.data.tags["auditor.status.graphmi/auc.full"] == "untrusted"
    assert run.data.tags["auditor.status.posterior-similarity/auc.prior"] == "fail"


@pytest.mark.parametrize("audit", [name for name in AUDITS if "hostile" in name or name in ("comparison", "claim")])
def test_every_audit_can_be_logged_and_no_two_numbers_share_a_name(audit: str, store: Path) -> None:
    document = AUDITS[audit]()
    run = logged(document, store)
    judged = [result for result in document.judged if result.own.value is not None and result.judgement is not None]
    counted = [result for result in judged if result.judgement is not None and not result.judgement.untrusted]
    plain = {name for name in run.data.metrics if not name.endswith((".lo", ".hi", ".control", ".excess"))}
    assert len(plain) == len(counted)
    assert not any(".." in name for name in run.data.metrics)


def test_a_run_inside_another_is_its_child(store: Path) -> None:
    mlflow = importlib.import_module("mlflow")
    with mlflow.start_run() as outer:
        tracking.log_audit(samples.clean(), {})
    (inner,) = (run for run in runs(store) if run.info.run_id != outer.info.run_id)
    assert inner.data.tags["mlflow.parentRunId"] == outer.info.run_id


def test_the_page_comes_along_whatever_formats_were_asked_for(store: Path) -> None:
    kept(samples.clean())
    (run,) = runs(store)
    names = {path.name for path in (store / "0" / run.info.run_id / "artifacts").iterdir()}
    assert names == {"audit.json", "audit.html", "audit.csv"}


def test_nothing_is_written_before_an_audit_is_complete(store: Path) -> None:
    session = Session.without_target({"log": "mlflow"})
    session.check_out()
    assert not store.exists()
    with Record.opened(None) as record:
        record.begin(None)
        session.keep(samples.clean(), record, complete=False)
    assert not store.exists()


def test_a_tracker_that_fails_afterwards_is_one_note_and_no_more(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with caplog.at_level(logging.WARNING, logger="auditor"):
        kept(samples.clean())
    (note,) = [record.getMessage() for record in caplog.records if record.name == "auditor"]
    assert note.startswith("the audit stands, but was not logged to mlflow: ")
    assert "\n" not in note
    assert not store.exists()


def test_without_the_package_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigError, match="pip install mlflow-skinny"):
        Session.without_target({"log": "mlflow"}).check_out()


@pytest.mark.parametrize(
    ("address", "said"),
    [("nosuch://place", "nosuch://place cannot be used"), ("file:///dev/null/runs", "cannot be used")],
)
def test_a_store_that_cannot_be_used_is_refused(address: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(ConfigError, match=said) as refused:
        Session.without_target({"log": "mlflow"}).check_out()
    assert "MLFLOW_TRACKING_URI" in str(refused.value)


@pytest.mark.parametrize("words", [["--log", "wandb"], ["--log", "mlflow", "--shard", "1/2", "-o", "out"]])
def test_the_command_refuses_what_cannot_be_logged(
    words: list[str], store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "audit.toml").write_text('[target]\nweights = "absent.pt"\n')
    assert __main__.run(["run", ".", *words]) == 2
    assert "error: log" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert not store.exists()


def test_the_document_knows_nothing_of_it(store: Path) -> None:
    session = Session.without_target({"log": "mlflow"})
    assert "log" not in session.settings(()).config
    assert b"mlflow" not in to_bytes(samples.clean())
