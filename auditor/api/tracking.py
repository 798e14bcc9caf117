"""Logs a finished audit to an experiment tracker. The tracker's package is imported for those alone who ask for it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Final
from urllib.parse import urlparse

from auditor.api.files import check_folder, write_file
from auditor.document import NONE, Audit, Estimate, Result
from auditor.errors import ConfigError, UsageError, nearest
from auditor.printable import error_text

TRACKERS: Final = ("mlflow",)
KEY_SIGNS, SHORT = 60, 200
"""Characters of one part of a name, and of what a tracker says of itself."""
_SETTINGS: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # an audit tells nobody that it took place
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # standard output is the verdict's
    "MLFLOW_ALLOW_FILE_STORE": "true",  # whoever names a folder means it, although MLflow develops it no further
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # a server that is gone costs seconds, not minutes
}
"""Settings of MLflow, where the environment says nothing else."""
_ODD = re.compile(r"[^A-Za-z0-9_.-]+")


def check_tracker(name: str) -> None:
    """Makes sure, before anything runs, that a tracker is there and that its place can be used; sends nothing.

    Args:
        name: of `TRACKERS`.

    Raises:
        ConfigError: unknown, not installed, or its store cannot be opened or written.
    """
    if name not in TRACKERS:
        raise ConfigError(f'log is "{name}"; expected {" or ".join(TRACKERS)}. {nearest(name, TRACKERS)}')
    mlflow = _mlflow()
    address = mlflow.get_tracking_uri()
    try:
        if urlparse(address).scheme in ("", "file"):  # its client would write there
            from mlflow.utils.file_utils import local_file_uri_to_path

            check_folder(Path(local_file_uri_to_path(address)))
        else:
            mlflow.MlflowClient()
    except Exception as error:  # whatever the store of somebody else raises
        why = "it cannot be written" if isinstance(error, UsageError) else error_text(error, SHORT).rstrip(".")
        raise ConfigError(
            f"log is mlflow, whose store {address} cannot be used: {why}. Set MLFLOW_TRACKING_URI to a folder "
            "(file:./mlruns) or a server (a database needs the whole package: pip install mlflow), or leave log out."
        ) from None


def log_audit(audit: Audit, files: Mapping[str, bytes]) -> None:
    """One MLflow run: numbers as metrics, what was asked as parameters, the verdict as a tag, files as artefacts.

    A result that does not count, since a check failed that it rests on, is no metric; its status is a tag like that of
    every judged result.

    Args:
        audit: the document.
        files: artefacts by name.

    Raises:
        Exception: whatever MLflow or its server raises.
    """
    mlflow = _mlflow()
    is_inside = mlflow.active_run() is not None
    with mlflow.start_run(run_name=audit.target.name, nested=is_inside), TemporaryDirectory() as folder:
        mlflow.log_params(_params(audit))
        mlflow.set_tags(_tags(audit))
        mlflow.log_metrics(dict(_metrics(audit)))
        for name, content in files.items():
            write_file(Path(folder) / name, content)
        mlflow.log_artifacts(folder)


def _mlflow() -> ModuleType:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow
    except ImportError:
        raise ConfigError(
            "log is mlflow, which is not installed. Run: pip install mlflow-skinny, or leave log out."
        ) from None
    return mlflow  # type: ignore[no-any-return]


def _params(audit: Audit) -> dict[str, str]:
    return {
        "target": audit.target.name,
        "target_digest": audit.target.digest,
        "defense": audit.target.defense,
        "profile": audit.profile,
        "policy": audit.verdict.policy,
        "fail_on": audit.verdict.fail_on,
        "seeds": ",".join(map(str, audit.seeds)),
        "document_digest": audit.digest,
    }


def _tags(audit: Audit) -> dict[str, str]:
    judged = {
        f"auditor.status.{key}": "untrusted" if result.judgement.untrusted else result.judgement.status
        for key, result in _keyed(audit)
        if result.judgement is not None
    }
    version = " ".join(filter(None, (audit.tool.get("name"), audit.tool.get("version"))))
    verdict = {"auditor.verdict": audit.verdict.status, "auditor.exit_code": str(audit.verdict.exit_code)}
    return {**verdict, "auditor.version": version, **judged}


def _metrics(audit: Audit) -> Iterator[tuple[str, float]]:
    """The number, its control, and the excess (above 0 is worse) of every judged result that counts."""
    for key, result in _keyed(audit):
        if result.judgement is None or result.judgement.untrusted:
            continue
        control = result.control
        parts: tuple[tuple[str, Estimate | None], ...] = (
            ("", result.own),
            (".control", None if control is None else control.estimate),
            (".excess", result.excess),
        )
        for part, estimate in parts:
            for end in ("value", "lo", "hi") if estimate is not None else ():
                number = getattr(estimate, end)
                if number is not None:
                    yield f"{key}{part}{'' if end == 'value' else f'.{end}'}", number


def _keyed(audit: Audit) -> Iterator[tuple[str, Result]]:
    """Judged results by a name that MLflow takes: `probe/metric.subset`, of another arm behind the arm's."""
    seen: set[str] = set()
    for result in audit.judged:
        words = (result.metric, result.subset) if result.subset else (result.metric,)
        key = f"{_plain(result.probe)}/{'.'.join(map(_plain, words))}"
        key = key if result.arm == NONE else f"{_plain(result.arm)}/{key}"
        key = f"{key}.{result.fingerprint[:8]}" if key in seen else key
        seen.add(key)
        yield key, result


def _plain(text: str) -> str:
    """Letters, digits and `_.-` alone, none of them a path."""
    return _ODD.sub("_", text)[:KEY_SIGNS].strip(".") or "_"
