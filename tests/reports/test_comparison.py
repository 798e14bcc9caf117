"""The comparison in every format: order, units, when a difference is marked, what is said and what was left out."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET

import pytest

from auditor.document import Audit, Comparison, Decision, Headline, ValidityRow
from auditor.policy import Policy, gate
from reports import views
from reports.comparison import Grid, broken, leading, to
from reports.csv import CsvReport
from reports.html.pictures import compared as compared_picture
from reports.html.report import HtmlReport
from reports.markdown import MarkdownReport
from reports.neutral import neutral
from reports.sentences import comparison as words
from reports.sentences import verdict
from reports.sentences.names import QUESTIONS, subset
from reports.sentences.steps import steps
from reports.sentences.templates import TEMPLATES
from reports.terminal.report import TerminalReport
from tests.reports import compared, reading, samples, voices
from tests.reports.compared import AUDITS
from tests.reports.reading import fresh, rendered

COMPARED = ("comparison", "one seed", "hostile comparison")


def comparison_in(audit: Audit) -> Comparison:
    assert audit.comparison is not None
    return audit.comparison


def whole(name: str, audit: str) -> str:
    """A format with all that it can show."""
    return TerminalReport().render(AUDITS[audit](), verbose=True) if name == "terminal" else rendered(name, audit)


def with_comparison(**changed: object) -> Audit:
    audit = compared.comparison()
    return audit.model_copy(update={"comparison": comparison_in(audit).model_copy(update=changed)})


def cell(arm: str, title: str) -> Headline:
    grid = Grid.of(compared.comparison_of(compared.SEEDS))
    row = next(row for row in grid.rows if row.name == arm)
    found = row.cells[[words.title(column) for column in grid.columns].index(title)]
    assert found is not None
    return found


def test_controls_stand_behind_the_defence_that_brought_them() -> None:
    assert [(row.name, row.short) for row in Grid.of(compared.comparison_of(compared.SEEDS)).rows] == [
        ("none", "none"),
        ("joint-cluster", "joint-cluster"),
        ("joint-cluster:arm=ce", "arm=ce"),
        ("joint-cluster:arm=joint_random", "arm=joint_random"),
        ("dp-edge:eps=4", "dp-edge:eps=4"),
        ("mlp", "mlp"),
        ("l2r:mode=all", "l2r:mode=all"),
        ("l2r:mode=erm", "mode=erm"),
    ]


def test_a_control_without_its_defence_is_still_listed() -> None:
    every = compared.comparison_of(compared.SEEDS)
    arms = tuple(arm for arm in every.arms if arm.arm != "joint-cluster")
    names = [row.name for row in Grid.of(every.model_copy(update={"arms": arms})).rows]
    assert sorted(names) == sorted(arm.arm for arm in arms)


def test_a_headline_that_one_arm_lacks_leaves_its_place_empty() -> None:
    every = compared.comparison_of((0,))
    short = every.arms[1].model_copy(update={"headlines": every.arms[1].headlines[2:]})
    grid = Grid.of(every.model_copy(update={"arms": (every.arms[0], short)}))
    assert [bool(found) for found in grid.rows[1].cells] == [False, False, True, True, True]


@pytest.mark.parametrize(("room", "places"), [(1, [0]), (3, [0, 2, 3]), (4, [0, 2, 3, 4]), (9, [0, 1, 2, 3, 4])])
def test_a_narrow_table_keeps_the_first_column_of_each_family(room: int, places: list[int]) -> None:
    assert leading(Grid.of(compared.comparison_of((0,))).columns, room) == places


@pytest.mark.parametrize(
    ("arm", "title", "moved", "mark"),
    [
        ("joint-cluster", "clean accuracy", "2.5 worse", "worse"),
        ("joint-cluster", "robust accuracy", "5.5 better", "better"),
        ("joint-cluster", "AUC excess", "0.5 better", ""),
        ("dp-edge:eps=4", "AUC excess", "5.0 better", "better"),  # lower is better there
        ("dp-edge:eps=4", "robust accuracy", "0.2 better", ""),
        ("mlp", "accuracy excess", "4.4 better", "better"),
    ],
)
def test_a_difference_is_better_or_worse_for_the_owner_and_marked_by_the_document(
    arm: str, title: str, moved: str, mark: str
) -> None:
    found = cell(arm, title)
    shift = to(found)
    assert shift is not None
    assert (words.difference(found, shift)[0], shift.mark) == (moved, mark)


def test_no_two_columns_have_one_title() -> None:
    first = Grid.of(compared.comparison_of(compared.SEEDS)).columns[0]
    leaks = [
        first.model_copy(update={"family": "privacy", "probe": probe, "metric": "auc", "shown": "excess"})
        for probe in ("posterior-similarity", "partition-leak")
    ]
    assert words.titles([first]) == [words.title(first)]
    assert words.titles([first, *leaks])[0] == words.title(first)
    assert words.titles([first, *leaks])[1:] == [f"{words.title(leak)}, {leak.probe}" for leak in leaks]


def test_seconds() -> None:
    assert (words.seconds(None), words.seconds(3.915), words.seconds(1234.5)) == ("–", "3.9", "1,234")


@pytest.mark.parametrize("name", ["joint-cluster:arm=joint_random", "a b", "x" * 50, "", "k=v,k2=v2", ":::"])
def test_broken_names_keep_their_letters_and_fit(name: str) -> None:
    lines = broken(name, 15)
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")
    assert max(map(len, lines)) <= 15


def test_names_break_behind_punctuation() -> None:
    assert broken("joint-cluster:arm=joint_random", 17) == ["joint-cluster:", "arm=joint_random"]


def test_a_defended_target_shows_its_guarantee_with_every_caveat() -> None:
    audit, guarantee = samples.realistic(), samples.guarantee(**compared.GUARANTEE)
    bare = audit.model_copy(update={"target": audit.target.model_copy(update={"defense": "gap:epsilon=4"})})
    target = bare.target.model_copy(update={"guarantee": guarantee})
    promised = bare.model_copy(update={"target": target})
    for report in (TerminalReport(), HtmlReport(), MarkdownReport()):
        text = " ".join(re.sub(r"\\(.)", r"\1", re.sub(r"<.*?>", " ", report.render(promised))).split())
        assert "efended by gap:epsilon=4: edge level (flip one pair) · ε = 4.00" in text
        for caveat in guarantee.caveats:
            assert f"aveat: {caveat}" in text
        assert "efended by gap:epsilon=4: no formal guarantee" in report.render(bare).replace("\\", "")
        assert "efended by" not in rendered(report.id, "realistic")


def test_terminal_opens_with_the_comparison_and_ends_with_the_verdict() -> None:
    text = whole("terminal", "comparison")
    order = ["joint-cluster HELPS", "Buys", "Costs", "Can this audit be trusted?", "What may be said", "Guarantees",
             "Not fitted", "Left out", "judged numbers of 8 arms", "FAILED"]  # fmt: skip
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    assert QUESTIONS["privacy"] not in text, "no table per family"
    assert "posterior-similarity on joint-cluster" not in text
    assert text.rstrip().rpartition("\n\n")[2].startswith("FAILED")


@pytest.mark.parametrize("width", [60, 80, 100, 300])
@pytest.mark.parametrize("audit", COMPARED)
def test_terminal_keeps_its_width_and_its_numbers_whole(audit: str, width: int) -> None:
    text = TerminalReport().render(AUDITS[audit](), width=width, verbose=True)
    assert max(map(len, text.splitlines())) <= min(width, 100)
    assert "79.5 to 83.5" in text
    assert not set("─│━┃╭╮╰╯") & set(TerminalReport().render(AUDITS[audit](), width=width, verbose=True, plain=True))


def test_terminal_shows_value_interval_difference_and_its_interval() -> None:
    lines = whole("terminal", "comparison").partition("\nComparison")[2].splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("joint-cluster "))
    assert re.split(r"\s{2,}", lines[start]) == ["joint-cluster", "79.1", "78.0", "5.0", "66.7", "4.8", "12.3"]
    assert lines[start + 1].split()[-1] == "front"
    assert re.findall(r"Δ \S+ (?:better|worse)(?: \*)?", lines[start + 2]) == [
        "Δ 2.5 worse *",
        "Δ 2.7 worse *",
        "Δ 0.5 better",
        "Δ 5.5 better *",
        "Δ 0.5 better",
    ]
    assert "1.8 to 3.1" in lines[start + 3]


def test_a_narrow_terminal_keeps_one_number_of_each_family_and_names_the_others() -> None:
    text = TerminalReport().render(compared.comparison(), width=80, verbose=True)
    assert "Not shown at this width: balanced accuracy, accuracy excess" in text
    lines = text.partition("\nComparison")[2].splitlines()
    line = next(line for line in lines if line.startswith("joint-cluster "))
    assert re.split(r"\s{2,}", line) == ["joint-cluster", "79.1", "5.0", "66.7", "12.3"]
    assert "Not shown at this width" not in whole("terminal", "comparison")


@pytest.mark.parametrize("name", ["terminal", "html", "markdown"])
def test_decisions_reasons_guarantees_and_what_was_left_out_are_printed(name: str) -> None:
    found = comparison_in(compared.comparison())
    text = " ".join(reading.visible(name, whole(name, "comparison")).replace("&#39;", "'").split())
    for arm in found.arms:
        for decision in arm.decisions:
            results = compared.comparison().results
            assert words.decided(decision, None, results) in text
    assert text.count(compared.REASON) >= 2
    assert "edge level (flip one pair) · ε = 4.00, δ = 1e-05 · gaussian noise on aggregates" in text
    assert "does NOT protect features, labels" in text
    assert "edges between test nodes are not covered" in text
    assert "k seeds released means k-fold composition" in text
    assert "no formal guarantee" in text
    for line in found.left_out:
        assert line in text
    assert text.count("could not be fitted") >= 2


@pytest.mark.parametrize("name", ["terminal", "markdown"])
def test_one_seed_says_how_many_are_needed_and_marks_nothing(name: str) -> None:
    text = " ".join(whole(name, "one seed").split())
    assert "No difference is marked: 1 seed was run, 5 are needed." in text
    assert not re.search(r"(better|worse) \*|\*\*proven\*\*", text)


@pytest.mark.parametrize(
    ("case", "called"),
    [(0, "1 in 100 feature bits"), (2, "the categories of 1 in 100 nodes")],
    ids=["bits", "categories"],
)
def test_what_was_edited_of_features_is_called_what_it_is(case: int, called: str) -> None:
    result = voices.result("robustness-features", voices.CASES["robustness-features"][case], "over")
    column = Headline(
        family="robustness", probe=result.probe, metric=result.metric, subset=result.subset, unit="share",
        shown="value", worse_when="lower", estimate=result.estimate,
    )  # fmt: skip
    decision = Decision(about="robustness", probe=result.probe, subset=result.subset, status="not-shown")
    assert words.head(column, [result])[0] == f"right after edits of {called}"
    assert called in words.decided(decision, results=[result])
    assert called in TEMPLATES["robustness-features"].brief.label(result, "node")


def test_answers_and_steps_are_about_the_undefended_target() -> None:
    audit = compared.comparison()
    kept = tuple(
        result
        for result in audit.results
        if result.arm == "joint-cluster" or (result.judgement is not None and result.judgement.status == "pass")
    )
    audit = audit.model_copy(update={"results": kept})
    assert {answer.result.arm for answer in views.answers(audit) if answer.result} == {"none"}
    assert {answer.status for answer in views.answers(audit)} == {"seen", "no answer"}
    assert {id_ for step in steps(audit, views.undefended(audit)) for id_ in step.findings} == {"shift-miscalibrated"}
    every = audit.model_copy(update={"comparison": None})
    assert {id_ for step in steps(every, views.undefended(every)) for id_ in step.findings} > {"shift-miscalibrated"}


def with_a_failing_control() -> Audit:
    """The comparison, and what fails on the defended arm fails on one of its controls, too."""
    audit = compared.comparison()
    control = "joint-cluster:arm=ce"
    failing = [result for result in audit.results if result.arm == "joint-cluster" and result.has_status("fail")]
    more = [r.model_copy(update={"arm": control, "fingerprint": f"{k:064d}"}) for k, r in enumerate(failing)]
    assert more
    return gate(audit.model_copy(update={"results": (*audit.results, *more)}), Policy(), as_of=samples.TODAY)


def test_a_failing_control_is_never_the_headline_nor_a_failure_of_the_build() -> None:
    before, audit = gate(compared.comparison(), Policy(), as_of=samples.TODAY), with_a_failing_control()
    assert audit.verdict.counts["fail"] == before.verdict.counts["fail"]
    count = audit.verdict.counts["on_controls"] - before.verdict.counts["on_controls"]
    assert count > 0
    _, line = verdict.last_line(audit)
    assert "Without a defence: " in line
    assert f"; {audit.verdict.counts['on_controls']} more on control" in line
    junit = ET.fromstring(fresh("junit", audit))
    own = [case for case in junit.iter("testcase") if "joint-cluster:arm=ce" in case.get("classname", "")]
    assert not [case for case in own if case.find("failure") is not None]
    assert any(
        "on a control" in case.find("skipped").get("message") for case in own if case.find("skipped") is not None
    )
    results = json.loads(fresh("sarif", audit))["runs"][0]["results"]
    levels = {r["level"] for r in results if r["properties"]["arm"] == "joint-cluster:arm=ce"}
    assert levels == {"note"}
    alone = audit.model_copy(update={"results": tuple(r for r in audit.results if r.arm == "joint-cluster:arm=ce")})
    assert gate(alone, Policy(), as_of=samples.TODAY).verdict.status != "FAILED"


def test_failing_numbers_of_the_arms_are_counted_by_arm() -> None:
    text = " ".join(whole("terminal", "comparison").split())
    expected = (
        "24 judged numbers of 8 arms, 3 of them over the limit (on none and joint-cluster): audit.html, audit.json"
    )
    assert expected in text


def test_equal_checks_of_several_arms_or_seeds_are_one_row() -> None:
    rows = [
        ValidityRow(id="gradient", kind="strength", status="warn", evidence=f"arm {k}", touches=("dice",))
        for k in range(4)
    ]
    audit = compared.comparison().model_copy(update={"validity": tuple(rows)})
    assert [(row.id, row.evidence) for row in views.checks(audit)] == [("gradient", "arm 0 (and 3 similar rows)")]
    two = audit.model_copy(update={"validity": tuple(rows[:2])})
    assert views.checks(two)[0].evidence == "arm 0 (and 1 similar row)"
    on = [
        cell.model_copy(update={"validity": (rows[k],), "arm": arm})
        for k, (cell, arm) in enumerate(zip(audit.cells[:2], "ab", strict=True))
    ]
    cells = audit.model_copy(update={"validity": (), "cells": tuple(on)})
    assert views.checks(cells)[0].evidence == "arm 0 (and 1 similar row, on a and b)"
    same = cells.model_copy(update={"cells": (on[0], on[1].model_copy(update={"validity": (rows[0],)}))})
    assert views.checks(same)[0].evidence == "arm 0 (on a and b)"
    other = rows[0].model_copy(update={"touches": None})
    assert len(views.checks(audit.model_copy(update={"validity": (*rows, other)}))) == 2


def test_what_is_told_as_not_fitted_is_not_told_again() -> None:
    text = whole("terminal", "comparison")
    assert "Features-evasion broke off" in text
    assert "was not fitted" not in text
    assert len(views.missing(compared.comparison())) == 4


@pytest.mark.parametrize("audit", COMPARED)
def test_a_dot_of_the_picture_lies_where_its_number_is(audit: str) -> None:
    """Within a column places and numbers are one linear map, and the upright bar is where no defence is."""
    document = neutral(AUDITS[audit]())
    grid = Grid.of(comparison_in(document))
    picture = compared_picture(document, grid)
    assert picture is not None
    shown = leading(grid.columns, 4)
    for place, k in enumerate(shown):
        known = [
            (cell.estimate, track)
            for row, drawn in zip(grid.rows, picture.rows, strict=False)
            if (cell := row.cells[k]) is not None and (track := drawn.cells[place][1]) is not None
        ]
        values = [estimate.value or 0.0 for estimate, _ in known]
        spread = max(values) - min(values)
        if spread == 0:
            continue
        first, last = known[values.index(min(values))][1].at or 0.0, known[values.index(max(values))][1].at or 0.0
        for estimate, track in known:
            wanted = first + (last - first) * ((estimate.value or 0.0) - min(values)) / spread
            assert track.at == pytest.approx(wanted, abs=0.2)
            assert track.lo <= (track.at or 0.0) <= track.hi
            assert track.mark == known[0][1].at


def test_the_picture_marks_what_is_proven_and_draws_controls_hollow() -> None:
    html = rendered("html", "comparison")
    picture = html[html.index('class="stack compared"') :].partition("</table>")[0]
    assert picture.count("<strong>") == picture.count("<td")
    assert picture.count('class="control"') == sum(
        row.is_control for row in Grid.of(comparison_in(compared.comparison())).rows
    )
    assert " *</strong>" in picture
    alone = rendered("html", "one seed")
    assert " *</strong>" not in alone
    assert "No difference is marked: 1 seed was run, 5 are needed." in alone


def test_more_rows_and_columns_than_the_picture_holds_stand_in_the_matrix() -> None:
    every = compared.comparison_of((0,))
    arms = []
    for arm in every.arms:
        more = [h.model_copy(update={"probe": f"probe-{k}"}) for h in arm.headlines[2:3] for k in range(4)]
        arms.append(arm.model_copy(update={"headlines": (*arm.headlines, *more)}))
    last = arms[-1]
    arms += [last.model_copy(update={"arm": f"{last.arm}-{k}"}) for k in range(20)]
    grid = Grid.of(every.model_copy(update={"arms": tuple(arms)}))
    picture = compared_picture(compared.comparison(), grid)
    assert picture is not None
    assert len(picture.heads) == 4 + 1
    assert len(picture.rows) + picture.left_out == len(grid.rows)


def test_no_arm_with_a_number_means_no_picture() -> None:
    every = compared.comparison_of(compared.SEEDS)
    arms = tuple(a.model_copy(update={"headlines": (), "decisions": (), "reason": "crashed"}) for a in every.arms)
    audit = with_comparison(arms=arms)
    assert compared_picture(audit, Grid.of(comparison_in(audit))) is None
    assert "crashed" in HtmlReport().render(audit)
    assert "Could not be fitted: crashed" in TerminalReport().render(audit)
    assert "could not be fitted" in MarkdownReport().render(audit)


def test_page_has_the_comparison_before_the_answers_and_folds_the_arms() -> None:
    html = rendered("html", "comparison")
    places = [html.index(part) for part in ('id="verdict"', 'id="compared"', 'class="answers"', 'class="stack arms"')]
    assert places == sorted(places)
    assert "With and without defences" not in html
    assert html.count('class="chart"') == 5, "charts of the defences are left to audit.json"
    assert re.search(r"<summary>\d+ numbers under the defences and their controls</summary>", html)
    assert html.count('<th scope="row">posterior-similarity on joint-cluster') == 4
    assert "control of joint-cluster" in html


def test_markdown_table_is_rectangular() -> None:
    for audit in ("comparison", "hostile comparison"):
        lines = rendered("markdown", audit).splitlines()
        start = next(k for k, line in enumerate(lines) if line.startswith("| defence"))
        table = lines[start : start + 10]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {10}
        assert lines[start + 10] == ""


def test_csv_has_a_row_per_difference_signed_as_worse_for_the_owner() -> None:
    audit = compared.comparison()
    lines = [row for row in csv.DictReader(io.StringIO(CsvReport().render(audit))) if row["probe"] == "compare"]
    headlines = [headline for arm in comparison_in(audit).arms for headline in arm.headlines]
    assert len(lines) == sum(max(len(headline.differences), 1) for headline in headlines)
    by = {(row["arm"], row["finding"], row["metric"], row["control"]): row for row in lines}
    fallen = by["joint-cluster", "", "clean_accuracy", "none"]
    assert float(fallen["excess"]) == pytest.approx(0.0246, abs=2e-3)
    assert float(fallen["excess_lo"]) < float(fallen["excess"]) < float(fallen["excess_hi"])
    assert float(fallen["control_value"]) - float(fallen["value"]) == pytest.approx(float(fallen["excess"]))
    leak = by["dp-edge:eps=4", "posterior-similarity", "auc", "none"]
    assert float(leak["excess"]) == pytest.approx(float(leak["value"]) - float(leak["control_value"]))
    assert float(leak["excess"]) < 0
    header, *_ = csv.reader(io.StringIO(rendered("csv", "realistic")))
    assert len(header) == len(lines[0])
    assert "compare" not in rendered("csv", "realistic")


def test_arms_that_miss_a_number_for_one_reason_share_a_line() -> None:
    audit = compared.comparison()
    skipped = next(cell for cell in audit.cells if cell.status == "skipped")
    again = tuple(skipped.model_copy(update={"key": name, "arm": name}) for name in ("mlp", "joint-cluster"))
    audit = audit.model_copy(update={"cells": (*audit.cells, *again)})
    line = "Membership on none, mlp, joint-cluster does not apply: needs REFERENCES: none were given"
    assert line in " ".join(TerminalReport().render(audit).split())
    unfitted = sum(each.arm == "l2r:mode=all" for each in views.missing(audit))
    assert len(views.missing(audit)) == len(views.listed_missing(audit)) + 2 + unfitted


def test_a_large_comparison_stays_a_small_page() -> None:
    audit = compared.comparison()
    arms = comparison_in(audit).arms
    joint = next(arm for arm in arms if arm.arm == "joint-cluster")
    more = tuple(joint.model_copy(update={"arm": f"joint-cluster:k={k}"}) for k in range(30))
    results = tuple(
        result.model_copy(update={"arm": f"joint-cluster:k={k}"})
        for k in range(30)
        for result in audit.results
        if result.arm == "joint-cluster"
    )
    audit = with_comparison(arms=(*arms, *more)).model_copy(update={"results": (*audit.results, *results)})
    html = HtmlReport().render(audit)
    assert len(html.encode()) < 300_000
    assert "22 more rows in the matrix below." in html
    assert "more in audit.json" in html


def test_charts_take_their_font_from_the_page() -> None:
    for svg in re.findall(r"<svg.*?</svg>", rendered("html", "comparison"), re.S):
        assert "font-family" not in svg
        assert "font-size:" in svg
        assert "rotate(-0" not in svg


def test_one_added_node_is_not_as_many_as_there_are():
    assert subset("nodes=1") == "one added node"
    assert subset("nodes=1.0") == "10 in 10 nodes"
    assert subset("nodes=0.01") == "1 in 100 nodes"
