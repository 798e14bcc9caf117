"""Documents edited by hand and given a digest of their own are refused, with what disagrees in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditor.document import (
    Audit,
    Control,
    Estimate,
    Metric,
    canonical,
    digest_of,
    from_bytes,
    measured,
    sealed,
    to_bytes,
)
from auditor.document.agreement import contradictions
from auditor.errors import DocumentError
from auditor.statistics.seeds import joined
from tests.cli.program import inside
from tests.policy.samples import AUC, audit_of, cell, measurement
from tests.reports.compared import AUDITS

Content = dict[str, Any]
ACCURACY = Metric("accuracy", "share", "lower", "damage")


def audited(planned: int | None = None) -> Audit:
    """Two seeds with two controls whose ends differ, a judged fall of accuracy, one cell of another probe."""

    def leak(value: float) -> Any:
        controls = [
            Control(name="features", estimate=Estimate(value=0.5), contrast=_around(value - 0.5, 0.04)),
            Control(name="labels", estimate=Estimate(value=0.45), contrast=_around(value - 0.45, 0.12)),
        ]
        return measured(
            AUC, Estimate(value=value, n=500), finding="privacy-link-stealing", controls=controls, judged=True
        )

    def fall(value: float) -> Any:
        controls = [Control(name="clean", estimate=Estimate(value=0.8), contrast=_around(value - 0.8, 0.01))]
        number = Estimate(value=value, lo=value - 0.03, hi=value + 0.03, n=500)
        return measured(ACCURACY, number, finding="shift-damage", controls=controls, judged=True)

    cells = [cell(leak(value), fall(0.5), seed=seed) for seed, value in enumerate((0.9, 0.8))]
    return audit_of([*cells, cell(measurement(0.0, -0.1, 0.05), probe="strata", family="shift")], planned=planned)


def _around(value: float, half: float) -> Estimate:
    return Estimate(value=value, lo=value - half, hi=value + half, n=500)


def first(content: Content) -> Content:
    return content["results"][0]  # type: ignore[no-any-return]


def measurement_removed(content: Content) -> None:
    del content["results"][1]


def all_measurements_removed(content: Content) -> None:
    content["results"] = []


def a_seed_removed(content: Content) -> None:
    del first(content)["by_seed"][0]


def number_changed(content: Content) -> None:
    first(content)["estimate"]["value"] = 0.6


def joined_ends_changed(content: Content) -> None:
    first(content)["contrast"] |= {"lo": 0.0, "hi": 0.9}


def contrast_removed(content: Content) -> None:
    first(content)["contrast"] = None


def contrast_changed_together_with_its_controls(content: Content) -> None:
    contrast, control = first(content)["contrast"], first(content)["controls"][0]
    contrast |= {"value": 0.0, "lo": -0.1, "hi": 0.1}
    control["contrast"] |= {"value": 0.0, "lo": -0.1, "hi": 0.1}
    control["estimate"] = first(content)["estimate"]


def contrast_at_a_seed_changed(content: Content) -> None:
    first(content)["by_seed"][1]["contrast"]["lo"] = -0.5


def another_control_changed(content: Content) -> None:
    first(content)["by_seed"][1]["controls"][1]["contrast"]["value"] = 0.3


def sign_of_the_excess_turned(content: Content) -> None:
    content["results"][1]["worse_when"] = "higher"


def no_longer_judged(content: Content) -> None:
    content["results"][1]["judged"] = False


def judged_otherwise(content: Content) -> None:
    content["results"][1]["judgement"]["status"] = "pass"


def a_seed_of_another_cell(content: Content) -> None:
    first(content)["by_seed"][0]["cell"] = content["results"][-1]["by_seed"][0]["cell"]


def cell_dropped_with_all_that_counts_it(content: Content) -> None:
    gone = content["cells"].pop()
    content["results"] = [r for r in content["results"] if r["by_seed"][0]["cell"] != gone["key"]]
    content["coverage"] |= {"planned": 2, "ok": 2}
    content["verdict"]["counts"]["pass"] -= 1


def verdict_turned(content: Content) -> None:
    content["verdict"] |= {"status": "PASSED", "exit_code": 0}


SPOILS: dict[Callable[[Content], None], str] = {
    measurement_removed: "its verdict counts 1 as fail, and its results 0",
    all_measurements_removed: "is marked ok and has no result",
    a_seed_removed: "names the seeds (0, 1) and holds others",
    number_changed: "is not its number less its control's",
    joined_ends_changed: "is not what its seeds say together",
    contrast_removed: "is not what its seeds say together",
    contrast_changed_together_with_its_controls: "is not what its seeds say together",
    contrast_at_a_seed_changed: "the interval of the difference",
    another_control_changed: "at seed 1 is not its number less its control's",
    sign_of_the_excess_turned: "is judged a fail, and its excess is not above the threshold",
    no_longer_judged: "is not judged and has a judgement",
    judged_otherwise: "is judged a pass, and its excess reaches the threshold",
    a_seed_of_another_cell: "rests on a cell of another probe, arm or seed",
    cell_dropped_with_all_that_counts_it: "its cells are not those that were planned",
    verdict_turned: "it passed, and a result fails",
}


def edited(spoil: Callable[[Content], None], audit: Audit) -> Audit:
    content = json.loads(to_bytes(audit))
    spoil(content)
    return sealed(Audit.model_validate(content))


def test_what_was_made_here_agrees_with_itself() -> None:
    assert [result.judgement and result.judgement.status for result in audited().results] == [
        "inconclusive",
        "fail",
        "pass",
    ]
    for audit in (audited(), audited(planned=5), *(make() for make in AUDITS.values())):
        assert list(contradictions(audit)) == []
        assert from_bytes(to_bytes(audit)) == audit


@pytest.mark.parametrize(("spoil", "message"), SPOILS.items(), ids=lambda part: getattr(part, "__name__", ""))
def test_an_edit_with_a_digest_of_its_own_is_refused(spoil: Callable[[Content], None], message: str) -> None:
    spoiled = edited(spoil, audited())
    assert spoiled.digest == digest_of(spoiled)
    with pytest.raises(DocumentError, match="does not agree with itself") as caught:
        from_bytes(to_bytes(spoiled))
    assert message in str(caught.value)


def test_ends_past_what_a_number_can_be_are_read_as_they_were_written() -> None:
    """Documents were made before ends were cut; an end that is neither of the two was put there by hand."""

    def right(value: float) -> Any:
        number = Estimate(value=value, lo=value - 0.03, hi=min(value + 0.03, 1.0), n=500)
        return measured(ACCURACY, number, finding="shift-damage")

    audit = audit_of([cell(right(value), seed=seed, family="shift") for seed, value in enumerate((0.9, 0.99))])
    (result,) = audit.results
    uncut = joined([each.estimate for each in result.by_seed])
    assert result.estimate.hi == 1.0
    assert uncut.hi is not None
    assert uncut.hi > 1.0

    def ending(hi: float) -> Audit:
        def spoil(content: Content) -> None:
            first(content)["estimate"]["hi"] = hi

        return edited(spoil, audit)

    assert list(contradictions(audit)) == []
    assert list(contradictions(ending(uncut.hi))) == []
    assert "is not what its seeds say together" in next(contradictions(ending(1.05)))


def test_fewer_planned_cells_disagree_with_the_verdict() -> None:
    def fewer(content: Content) -> None:
        content["coverage"]["planned"] = 3

    assert audited(planned=5).plan == ""
    assert "its verdict names 5 planned cells and its coverage 3" in list(
        contradictions(edited(fewer, audited(planned=5)))
    )


def test_a_comparison_edited_in_one_place_disagrees_with_the_other() -> None:
    def better(content: Content) -> None:
        differences = [
            difference
            for arm in content["comparison"]["arms"]
            for headline in arm["headlines"]
            for difference in headline["differences"]
            if difference["by_seed"]
        ]
        differences[0]["by_seed"][0] += 0.2

    found = list(contradictions(edited(better, AUDITS["comparison"]())))
    assert len(found) == 1
    assert "is not theirs" in found[0]


def test_a_document_without_a_recorded_plan_keeps_its_digest() -> None:
    audit = audited()
    before = audit.model_copy(update={"plan": ""})
    assert b'"plan"' not in canonical(before)
    assert from_bytes(to_bytes(before.model_copy(update={"digest": digest_of(before)}))).plan == ""


@pytest.mark.parametrize("verb", ["gate", "report", "diff"])
def test_every_verb_that_reads_a_document_answers_3(verb: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    path.write_bytes(to_bytes(edited(cell_dropped_with_all_that_counts_it, audited())))
    done = inside(verb, *[path] * (2 if verb == "diff" else 1), cwd=tmp_path)
    assert done.returncode == 3
    assert "its cells are not those that were planned" in done.stderr
