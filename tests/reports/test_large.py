"""Large documents: no report and no judgement looks at every result for every result, and pages stay readable."""

from __future__ import annotations

import cProfile
import json
import pstats
import re
from collections.abc import Callable
from functools import cache

import pytest

from auditor import registry
from auditor.document import Audit, canonical, from_bytes, to_bytes
from auditor.document.serial import VOLATILE
from auditor.policy import Policy, gate
from auditor.policy.diff import diff
from tests.policy.samples import TODAY
from tests.reports.large import large

SMALL, MANY = 200, 800


@cache
def document(results: int) -> Audit:
    return large(results)


def rendered(name: str) -> Callable[[Audit], object]:
    return lambda audit: registry.find("reports", name).load()().render(audit)


WORK: dict[str, Callable[[Audit], object]] = {
    "read": lambda audit: from_bytes(to_bytes(audit)),
    "gate": lambda audit: gate(audit, Policy.named("strict"), as_of=TODAY),
    "diff": lambda audit: diff(audit, audit),
    **{name: rendered(name) for name in registry.entries("reports")},
}


def calls(work: Callable[[Audit], object], results: int) -> int:
    """Function calls that the work takes: what grows with it on every machine alike."""
    audit, profile = document(results), cProfile.Profile()
    profile.runcall(work, audit)
    return pstats.Stats(profile).total_calls  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("name", WORK)
def test_work_grows_no_faster_than_the_document(name: str) -> None:
    WORK[name](document(1))  # what is imported and built once
    assert calls(WORK[name], MANY) <= 1.15 * MANY / SMALL * calls(WORK[name], SMALL)


def test_a_screen_lists_the_worst_and_counts_the_others() -> None:
    text = rendered("terminal")(document(MANY))
    assert isinstance(text, str)
    assert re.search(r"\d more results over the limit or not settled", text)
    assert len(text.splitlines()) < 100


def test_the_page_of_a_large_document_is_folded() -> None:
    page = rendered("html")(document(MANY))
    assert isinstance(page, str)
    assert len(page) < 2_000_000


@pytest.mark.parametrize("audit", [large(60), from_bytes(to_bytes(large(60)))], ids=["made", "read"])
def test_the_fast_writer_writes_what_json_writes(audit: Audit) -> None:
    odd = {"é": {"b": [1, 2.5e-7, 1e22, True, None, (), {}, float("nan"), "\ud800\x1b"], "a": TODAY}, "host": "here"}
    audit = audit.model_copy(update={"config": odd})
    whole = audit.model_dump(mode="json")
    assert json.loads(to_bytes(audit)) == json.loads(json.dumps(whole))
    assert b"\x1b" not in to_bytes(audit)
    kept = _kept(whole)
    del kept["digest"]
    text = json.dumps(kept, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1)
    assert canonical(audit) == text.encode("utf-8", "backslashreplace") + b"\n"


def _kept(value: object) -> dict[str, object]:
    if isinstance(value, dict):
        return {key: _kept(item) for key, item in value.items() if key not in VOLATILE}
    return [_kept(item) for item in value] if isinstance(value, list) else value  # type: ignore[return-value]
