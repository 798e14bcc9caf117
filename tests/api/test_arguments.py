"""Arguments of the API: None is what an optional one is without; another type is refused in plain words."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import auditor
from auditor.api.options import DEFAULTS, resolve
from auditor.api.progress import WATCHES
from auditor.api.report import Report
from auditor.document import canonical
from auditor.errors import ConfigError, UsageError
from auditor.runner.observer import Observer
from auditor.targets.target import Target
from tests.api.given import data_of
from tests.policy.samples import audit_of, cell, measurement
from tests.targets.projects import Project
from tests.toys import toy_target

PYTHON_WORDS = re.compile(r"\b(int|str|bool|float|dict|integer|boolean|string|dictionary|NoneType)\b")
QUICK: dict[str, Any] = {"only": "strata", "profile": "quick"}


def optional(function: Callable[..., Any]) -> dict[str, None]:
    """Every argument that may be left out, as None."""
    given = inspect.signature(function).parameters.values()
    return {each.name: None for each in given if each.default is not each.empty}


@pytest.fixture(scope="module")
def toy() -> Target:
    return toy_target()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Project(tmp_path_factory.mktemp("arguments") / "t").write()


def test_none_is_what_an_optional_argument_of_an_audit_is_without(place: Path, toy: Target) -> None:
    without = auditor.audit(place, **QUICK)
    given = auditor.audit(place, **{**optional(auditor.audit), **QUICK})
    assert canonical(given.document) == canonical(without.document)
    live = {**optional(auditor.audit), **QUICK, "data": data_of(toy.graph, toy.split)}
    assert auditor.audit(toy.model, **live).document.coverage.ok == 1
    assert auditor.check(place, **{**optional(auditor.check), **QUICK}).target == auditor.check(place, **QUICK).target
    assert auditor.load_target(place, **optional(auditor.load_target)).digest == auditor.load_target(place).digest


def test_none_is_what_the_other_optional_arguments_are_without(place: Path, toy: Target, tmp_path: Path) -> None:
    given = data_of(toy.graph, toy.split)
    assert auditor.check_split(given, **optional(auditor.check_split)) == auditor.check_split(given)
    auditor.audit(place, out=tmp_path / "1", shard="1/1", **QUICK)
    merged = auditor.merge([tmp_path / "1"], **optional(auditor.merge))
    assert merged.document.coverage.ok == 1
    for method in (Report.judged, Report.gate, Report.save):
        asked = {"folder": tmp_path / "saved"} if method is Report.save else {}
        method(merged, **asked, **optional(method))
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["audit.json"]
    assert merged.judged(None).verdict == merged.judged().verdict


def test_progress_of_none_says_nothing_and_anything_else_must_be_able_to_watch(
    toy: Target, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "auditor"):
        auditor.audit(toy, progress=None, **QUICK)
        assert "strata" not in caplog.text
        auditor.audit(toy, **QUICK)
        assert "strata" in caplog.text
    methods = [name for name, value in vars(Observer).items() if callable(value) and not name.startswith("_")]
    assert sorted(WATCHES) == sorted(methods)
    for wrong in (True, "none", print, logging.getLogger()):
        with pytest.raises(UsageError, match=r'without planned, .*expected "auto", None for no progress'):
            auditor.audit(toy, progress=wrong, **QUICK)  # type: ignore[arg-type]


WRONG = (True, 1.5, [1.5], {}, object())


@pytest.mark.parametrize("how", ["file", "environment", "argument"])
@pytest.mark.parametrize("name", DEFAULTS)
def test_an_option_of_another_type_is_refused_without_the_words_of_a_programmer(
    monkeypatch: pytest.MonkeyPatch, name: str, how: str
) -> None:
    kind = type(DEFAULTS[name])
    values = ("x", "true") if how == "environment" else WRONG
    said = []
    for value in values:
        if how == "environment":
            monkeypatch.setenv(f"AUDITOR_{name.upper()}", str(value))
        given = {name: value} if how == "argument" else {}
        tables = {"run": {name: value}} if how == "file" else {}
        try:
            assert type(resolve(given, tables)[name]) is kind
        except ConfigError as error:
            said.append(str(error))
    assert said or (how == "environment" and kind in (str, bool))
    assert all(name in text.lower() and ("expected" in text or how == "environment") for text in said), said
    assert not [text for text in said if PYTHON_WORDS.search(text)]


def test_true_is_no_number_and_a_number_of_numpy_is_one() -> None:
    for given, tables in (({"exposed": True}, {}), ({}, {"run": {"exposed": True}})):
        with pytest.raises(ConfigError, match="exposed is true; expected a whole number"):
            resolve(given, tables)
    assert resolve({"exposed": np.int64(3)}, {})["exposed"] == 3
    assert resolve({"cell_timeout": 3}, {})["cell_timeout"] == 3.0


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 1e300])
@pytest.mark.parametrize("name", ["cell_timeout", "max_memory"])
def test_a_limit_that_no_machine_could_reach_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} is .*expected .* at most"):
        resolve({name: value}, {})


def test_a_single_seed_need_not_be_a_list(toy: Target) -> None:
    assert auditor.audit(toy, seeds=3, **QUICK).cells[0].seed == 3  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"seeds is 1\.5; expected"):
        auditor.audit(toy, seeds=1.5, **QUICK)  # type: ignore[arg-type]


def test_a_report_that_is_judged_by_no_policy_is_refused() -> None:
    report = Report(audit_of([cell(measurement(0.3, 0.26, 0.34))]))
    with pytest.raises(ConfigError, match="no shipped policy"):
        report.judged(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("spared", ["graph-membership", "attribute-inference", "prototype-ood"])
def test_a_probe_asked_for_by_name_that_cannot_run_here_gives_no_verdict_and_says_why(toy: Target, spared: str) -> None:
    (cell,) = auditor.check(toy, only=spared, profile="quick").cells
    report = auditor.audit(toy, only=spared, profile="quick", progress=None)
    assert cell.skip
    assert (report.verdict.status, report.verdict.exit_code) == ("INCOMPLETE", 3)
    said = " ".join(report.summary().split())
    assert f"the test {spared} was asked for by name and cannot run here with seed 0: {cell.skip}" in said
