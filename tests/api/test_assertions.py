"""auditor.testing and the plugin: decided on intervals, run once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unittest
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import auditor
from auditor import testing
from auditor.api import auditing
from auditor.api.report import Report
from auditor.document import Estimate, Metric, check
from auditor.document.facts import Robust
from tests.policy.samples import audit_of, cell
from tests.policy.samples import measurement as any_measurement
from tests.toys import toy_target

HEADROOM = Metric("headroom", "errors", "higher", "ranking")
measurement = partial(any_measurement, metric=HEADROOM)
ROOT = Path(auditor.__file__).parents[1]
BAD = check("deterministic", "integrity", False, "answers differ")


def of_audit(monkeypatch: pytest.MonkeyPatch, cells: list[Any], **parts: Any) -> None:
    monkeypatch.setattr(testing, "audited", lambda *_args, **_options: Report(audit_of(cells, **parts)))


@pytest.mark.parametrize(
    ("excess", "words"),
    [
        ((-0.01, -0.02, 0.0), ""),
        ((0.01, 0.0, 0.02), ""),
        ((0.071, 0.052, 0.090), r"leaks: \+0.071 \[\+0.052, \+0.090\] beyond the control, allowed 0.02"),
        ((0.03, -0.01, 0.06), r"cannot tell: \[-0.010, \+0.060\] spans 0.02; more seeds or a larger graph"),
        ((0.03, 0.02, 0.06), "cannot tell"),
        ((0.0, None, None), r"cannot tell: \[open, open\]"),
    ],
)
def test_a_leak_is_decided_on_the_interval(monkeypatch: pytest.MonkeyPatch, excess, words: str) -> None:
    of_audit(monkeypatch, [cell(measurement(*excess))])
    if not words:
        testing.assert_no_link_leak(None, max_excess=0.02)
        return
    with pytest.raises(AssertionError, match=words):
        testing.assert_no_link_leak(None, max_excess=0.02)
    if "cannot" in words:
        with pytest.raises(unittest.SkipTest, match="cannot tell"):
            testing.assert_no_link_leak(None, max_excess=0.02, undecided="skip")
    else:
        with pytest.raises(AssertionError, match=words):
            testing.assert_no_link_leak(None, max_excess=0.02, undecided="skip")


def test_what_cannot_be_trusted_fails_first(monkeypatch: pytest.MonkeyPatch) -> None:
    calm = cell(measurement(-0.01, -0.02, 0.0))
    of_audit(monkeypatch, [calm], validity=[BAD])
    with pytest.raises(AssertionError, match="cannot be trusted: deterministic: answers differ"):
        testing.assert_no_link_leak(None, max_excess=0.02, undecided="skip")
    of_audit(monkeypatch, [calm, cell(probe="strata", status="error", reason="out of memory")])
    with pytest.raises(AssertionError, match="broke off: out of memory"):
        testing.assert_no_link_leak(None, max_excess=0.02, undecided="skip")
    of_audit(monkeypatch, [cell(probe="strata", status="skipped", reason="needs PARAMS")])
    with pytest.raises(AssertionError, match=r"nothing was judged \(needs PARAMS\)"):
        testing.assert_no_link_leak(None, max_excess=0.02)


def test_a_drop_is_counted_from_the_clean_accuracy_of_the_same_items() -> None:
    left = Estimate(value=0.7, lo=0.6, hi=0.8, n=50)
    facts = Robust(
        clean=Estimate(value=0.9, lo=0.8, hi=0.95), attacked=left, random=None, edge_free=None,
        no_edge_free="no-recipe",
        majority=0.5, edits=1, budget=1, additions=1, deletions=0, attacked_items=50, winner="x", attempts={},
    )  # fmt: skip
    (result,) = audit_of([cell(measurement())]).results
    from auditor.api.report import Number

    drop = testing._drop(Number(result.model_copy(update={"estimate": left, "facts": facts})))
    assert drop is not None
    assert (drop.value, drop.lo, drop.hi) == pytest.approx((0.2, 0.1, 0.3))
    assert testing._drop(Number(result)) is None


def test_an_audit_runs_once_for_equal_contents_and_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran = []

    def fake(model: object, data: object = None, **options: Any) -> Report:
        ran.append(options)
        return Report(audit_of([cell(measurement())]))

    monkeypatch.setattr(auditing, "audit", fake)
    monkeypatch.setattr(testing, "_AUDITS", testing._Audits())
    testing.begin(profile="quick", out=tmp_path)
    target = toy_target(epochs=1)
    first = testing.audited(target, only="strata")
    assert testing.audited(target, only="strata") is first
    testing.audited(target, only="corruption")
    testing.audited(target, only="strata", profile="full")
    assert [run["profile"] for run in ran] == ["quick", "quick", "full"]
    assert [run["out"].name for run in ran] == [f"0{i}-{target.name}" for i in range(3)]
    testing.begin()
    testing.audited(target, only="strata")
    assert (ran[-1]["profile"], ran[-1].get("out")) == (None, None)


def test_assertions_choose_by_the_registry_line(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def keep(*_args: object, **options: Any) -> Report:
        asked.append(options)
        return Report(audit_of([cell(measurement(-0.01, -0.02, 0.0))]))

    monkeypatch.setattr(testing, "audited", keep)
    testing.assert_no_link_leak(None, skip="graphmi")
    with pytest.raises(AssertionError):
        testing.assert_robust(None, max_drop=0.1, eps=0.05)
    assert "graphmi" in asked[0]["skip"]
    assert {"strata", "corruption", "structure-evasion"} <= set(asked[0]["skip"])
    assert "posterior-similarity" not in asked[0]["skip"]
    assert asked[1]["only"] == ["structure-evasion:eps=0.05"]


@pytest.mark.slow
def test_the_example_runs_with_the_plugin(tmp_path: Path) -> None:
    example = ROOT / "docs" / "examples" / "test_my_model.py"
    words = ("-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(example))
    options = ("--auditor-profile", "quick", "--auditor-out", str(tmp_path / "out"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *options], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert re.search(r"^3 passed", done.stdout, flags=re.MULTILINE), done.stdout + done.stderr
    assert len(list((tmp_path / "out").glob("*/audit.json"))) == 3


def test_the_page_of_the_api_says_what_happens() -> None:
    import doctest

    done = doctest.testfile(str(ROOT / "docs" / "python-api.md"), module_relative=False)
    assert (done.failed, done.attempted > 10) == (0, True)
