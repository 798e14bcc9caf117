"""The comparison in every format: order, units, when a difference is marked, what is said and what was left out."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET

import pytest

from auditor.audit import Audit, Interval, Matrix, ValidityRow
from auditor.guarantee import Guarantee
from reports import rows as read
from reports.comparison import Comparison, broken, guarantee_facts, points, points_interval, seconds
from reports.csv import CsvReport
from reports.html.comparison import comparison_drawing
from reports.html.report import HtmlReport
from reports.markdown import MarkdownReport
from reports.neutral import neutral
from reports.rows import Reading
from reports.terminal import TerminalReport
from reports.words import QUESTIONS
from tests.reports import compared, samples


def of(audit: Audit) -> Comparison:
    assert audit.matrix is not None
    return Comparison.of(audit.matrix)


def cell(comparison: Comparison, arm: str, title: str) -> object:
    found = next(a for a in comparison.arms if a.name == arm)
    return found.cells[[column.title for column in comparison.columns].index(title)]


def test_controls_stand_behind_the_defence_that_brought_them() -> None:
    assert [(arm.name, arm.short) for arm in of(compared.comparison()).arms] == [
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
    matrix = compared.comparison().matrix
    assert matrix is not None
    rows = tuple(row for row in matrix.rows if row.defense != "joint-cluster")
    names = [arm.name for arm in Comparison.of(Matrix(rows=rows, seeds=matrix.seeds)).arms]
    assert sorted(names) == sorted(row.defense for row in rows)


@pytest.mark.parametrize(
    ("arm", "title", "word"),
    [
        ("joint-cluster", "clean accuracy", "worse"),
        ("joint-cluster", "robust accuracy", "better"),
        ("joint-cluster", "privacy leak", ""),
        ("dp-edge:eps=4", "privacy leak", "better"),  # lower is better there
        ("dp-edge:eps=4", "robust accuracy", ""),
        ("mlp", "shift gap", "better"),
    ],
)
def test_a_difference_is_marked_where_its_interval_excludes_zero(arm: str, title: str, word: str) -> None:
    shift = cell(of(compared.comparison()), arm, title).to_none  # type: ignore[attr-defined]
    assert shift.word == word
    assert shift.seeds == 5


def test_nothing_is_marked_below_five_paired_seeds() -> None:
    audit = compared.comparison()
    assert audit.matrix is not None
    document = audit.matrix.model_dump()
    for row in document["rows"]:
        if row["defense"] == "none":
            for entry in row["entries"]:
                entry["per_seed"] = (*entry["per_seed"][:4], None)
    shifts = [
        s
        for arm in Comparison.of(Matrix.model_validate(document)).arms
        for found in arm.cells
        if found and (s := found.to_none)
    ]
    assert len(shifts) == 5 * 5
    assert {(s.seeds, s.word) for s in shifts} == {(4, "")}


@pytest.mark.parametrize(
    ("value", "signed", "shown"),
    [
        (0.8084, False, "80.8"),
        (-0.0251, True, "−2.5"),
        (0.0251, True, "+2.5"),
        (-0.0001, True, "0.0"),
        (1.0, False, "100"),
        (-1.234, True, "−123"),
        (None, True, "–"),
    ],
)
def test_points(value: float | None, signed: bool, shown: str) -> None:
    assert points(value, signed=signed) == shown


def test_points_interval_and_seconds() -> None:
    assert points_interval(Interval(lo=-0.041, hi=None), signed=True) == "[−4.1, ∞]"
    assert points_interval(Interval()) == points_interval(None) == ""
    assert (seconds(None), seconds(3.915), seconds(1234.5)) == ("–", "3.9", "1,234")


@pytest.mark.parametrize("name", ["joint-cluster:arm=joint_random", "a b", "x" * 50, "", "k=v,k2=v2", ":::"])
def test_broken_names_keep_their_letters_and_fit(name: str) -> None:
    lines = broken(name, 15)
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")
    assert max(map(len, lines)) <= 15


def test_names_break_behind_punctuation() -> None:
    assert broken("joint-cluster:arm=joint_random", 17) == ["joint-cluster:", "arm=joint_random"]


def test_a_defended_target_shows_its_guarantee_with_every_caveat() -> None:
    audit = samples.realistic()
    guarantee = Guarantee.model_validate(compared.GUARANTEE)
    target = audit.target.model_copy(update={"defense": "gap:epsilon=4"})
    cells = tuple(cell.model_copy(update={"guarantee": guarantee}) for cell in audit.cells)
    promised = audit.model_copy(update={"target": target, "cells": cells})
    bare = audit.model_copy(update={"target": target})
    for report in (TerminalReport(), HtmlReport(), MarkdownReport()):
        text = " ".join(re.sub(r"\\(.)", r"\1", re.sub(r"<.*?>", " ", report.render(promised))).split())
        assert "defended by gap:epsilon=4: edge level (flip one pair) · ε = 4.00" in text
        for caveat in guarantee.caveats:
            assert f"caveat: {caveat}" in text
        assert "defended by gap:epsilon=4: no formal guarantee" in report.render(bare).replace("\\", "")
        assert "defended by" not in report.render(audit)


def test_guarantee_facts_start_with_the_level_and_lose_nothing() -> None:
    guarantee = Guarantee.model_validate(compared.GUARANTEE)
    facts = guarantee_facts(guarantee)
    assert [key for key, _ in facts][:4] == ["guarantee", "level", "relation", "epsilon"]
    assert {key for key, _ in facts[1:]} == {name.replace("_", " ") for name in Guarantee.model_fields}
    assert dict(facts)["caveats"].startswith("edges between test nodes are not covered, hyper-parameters")


def test_terminal_opens_with_the_comparison_and_ends_with_the_verdict() -> None:
    text = TerminalReport().render(compared.comparison())
    order = ["Can this audit be trusted?", "Comparison", "What may be said", "Guarantees", "Not fitted", "Left out",
             "audit.html, audit.json", "The target without a defence", "planned cells", "FAILED"]  # fmt: skip
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    assert QUESTIONS["privacy"] not in text, "no table per family"
    assert "posterior-similarity on joint-cluster" not in text
    assert text.rstrip().rpartition("\n\n")[2].startswith("FAILED")


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("width", [60, 80, 100, 300])
@pytest.mark.parametrize("make", [compared.comparison, compared.one_seed, compared.hostile_comparison])
def test_terminal_keeps_its_width_and_its_numbers_whole(make: object, width: int, plain: bool) -> None:
    text = TerminalReport().render(make(), width=width, plain=plain)  # type: ignore[operator]
    assert max(map(len, text.splitlines())) <= min(width, 100)
    assert "[79.5, 83.5]" in text
    if plain:
        assert not set("─│━┃╭╮╰╯") & set(text)


def test_terminal_shows_value_interval_difference_and_its_interval() -> None:
    lines = TerminalReport().render(compared.comparison()).splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("joint-cluster "))
    assert re.split(r"\s{2,}", lines[start]) == ["joint-cluster", "79.1", "78.0", "5.0", "66.7", "4.8", "12.3"]
    assert lines[start + 1].split()[-1] == "front"
    assert re.findall(r"Δ \S+(?: better| worse)?", lines[start + 2]) == [
        "Δ −2.5 worse",
        "Δ −2.7 worse",
        "Δ −0.5",
        "Δ +5.5 better",
        "Δ −0.5",
    ]
    assert lines[start + 3].count("[") == 5


def test_a_narrow_terminal_keeps_one_number_of_each_family_and_names_the_others() -> None:
    text = TerminalReport().render(compared.comparison(), width=80)
    assert "Not shown at this width: balanced accuracy, shift gap" in text
    line = next(line for line in text.splitlines() if line.startswith("joint-cluster "))
    assert re.split(r"\s{2,}", line) == ["joint-cluster", "79.1", "5.0", "66.7", "12.3"]
    assert "Not shown at this width" not in TerminalReport().render(compared.comparison(), width=100)


def test_words_reasons_guarantees_and_what_was_left_out_are_printed() -> None:
    audit = compared.comparison()
    assert audit.matrix is not None
    for shown in (TerminalReport().render(audit), HtmlReport().render(audit), MarkdownReport().render(audit)):
        text = " ".join(re.sub(r"\\(.)", r"\1", re.sub(r"<.*?>", "", shown)).split())
        for row in audit.matrix.rows:
            for word in row.words:
                assert " ".join(word.split()) in text
        assert text.count(compared.REASON) >= 2
        assert "edge level (flip one pair) · ε = 4.00, δ = 1e-05 · gaussian noise on aggregates" in text
        assert "does NOT protect features, labels" in text
        assert "edges between test nodes are not covered" in text
        assert "k seeds released means k-fold composition" in text
        assert "no formal guarantee" in text
        for line in audit.matrix.left_out:
            assert line in text
    assert text.count("could not be fitted") == 4


def test_one_seed_is_called_underpowered_and_marks_nothing() -> None:
    for shown in (TerminalReport().render(compared.one_seed()), MarkdownReport().render(compared.one_seed())):
        text = " ".join(shown.split())
        assert "Underpowered: 1 seed, so no difference is marked better or worse; at least 5 are needed." in text
        assert not re.search(r"Δ \S+ \**(better|worse)", text)
    drawing = comparison_drawing("c", of(compared.one_seed()))
    assert drawing is not None
    assert " *" not in drawing.svg
    assert "underpowered" in drawing.svg


def test_answers_and_next_steps_are_about_the_undefended_target() -> None:
    audit = compared.comparison()
    defended = tuple(f for f in audit.findings if f.defense == "joint-cluster" or f.status == "pass")
    reading = Reading.of(audit.model_copy(update={"findings": defended}))
    assert {a.row.defense for a in read.answers(reading) if a.row} == {"none"}
    assert {a.status for a in read.answers(reading)} == {"pass", "no answer"}
    assert read.next_steps(reading)[0][1] == ()
    whole = Reading.of(audit.model_copy(update={"findings": defended, "matrix": None}))
    assert read.next_steps(whole)[0][1] != ()


def test_failing_numbers_of_the_arms_are_counted_by_arm() -> None:
    text = " ".join(TerminalReport().render(compared.comparison()).split())
    assert "22 judged numbers of 8 arms, 2 of them failing (on none, joint-cluster): audit.html, audit.json" in text


def test_equal_checks_of_several_arms_or_seeds_are_one_row() -> None:
    rows = [
        ValidityRow(id="gradient", kind="strength", status="warn", evidence=f"arm {k}", touches=("adversarial",))
        for k in range(4)
    ]
    audit = compared.comparison().model_copy(update={"validity": tuple(rows)})
    assert [(row.id, row.evidence) for row in read.validity(audit)] == [("gradient", "arm 0 (and 3 like rows)")]
    assert read.validity(audit.model_copy(update={"matrix": None})) == read.validity(audit)
    other = rows[0].model_copy(update={"touches": ("shift",)})
    assert len(read.validity(audit.model_copy(update={"validity": (*rows, other)}))) == 2


def test_what_is_told_as_not_fitted_is_not_told_again() -> None:
    text = TerminalReport().render(compared.comparison())
    assert "error    features-evasion" in text
    assert "was not fitted" not in text
    assert len(read.gaps(compared.comparison())) == 4


@pytest.mark.parametrize("make", [compared.comparison, compared.one_seed, compared.hostile_comparison])
def test_every_number_of_the_picture_is_in_its_table(make: object) -> None:
    audit: Audit = neutral(make())  # type: ignore[operator]
    drawing = comparison_drawing("c", of(audit))
    assert drawing is not None
    drawn = [t for e in ET.fromstring(drawing.svg).iter("text") if (t := "".join(e.itertext()))]
    numbers = [t.removesuffix(" *") for t in drawn if re.fullmatch(r"[+−]?\d+\.?\d*( \*)?", t)]
    listed = " ".join(item for row in drawing.rows for item in row[1:])
    assert len(numbers) == 5 + 5 * 5 * 2
    for number in numbers:
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.])", listed), number


def test_colours_and_outlines_follow_the_differences() -> None:
    comparison = of(compared.comparison())
    drawing = comparison_drawing("c", comparison)
    assert drawing is not None
    shifts = [s for arm in comparison.arms for found in arm.cells if found and (s := found.to_none)]
    styles = [e.get("style", "") for e in ET.fromstring(drawing.svg).iter("path")]
    for role, sign in (("pass", 1), ("fail", -1)):
        assert sum(f"fill:var(--{role})" in style for style in styles) == sum(sign * s.gained > 0 for s in shifts)
        word = "better" if sign > 0 else "worse"
        assert sum(f"stroke:var(--{role})" in style for style in styles) == sum(s.word == word for s in shifts) > 0
    assert "Difference to no defence in points. joint-cluster: clean accuracy −2.5" in drawing.description


def test_no_arm_with_a_number_means_no_picture() -> None:
    matrix = compared.comparison().matrix
    assert matrix is not None
    rows = tuple(row.model_copy(update={"entries": (), "reason": "crashed"}) for row in matrix.rows)
    audit = compared.comparison().model_copy(update={"matrix": Matrix(rows=rows, seeds=matrix.seeds)})
    assert comparison_drawing("c", of(audit)) is None
    assert "crashed" in HtmlReport().render(audit)
    assert "could not be fitted" in TerminalReport().render(audit)
    assert "could not be fitted" in MarkdownReport().render(audit)


def test_page_has_the_comparison_before_the_answers_and_folds_the_arms() -> None:
    html = HtmlReport().render(compared.comparison())
    assert html.index('id="verdict"') < html.index('id="comparison"') < html.index('class="answers"')
    picture, table = html.index('id="comparison-title"'), html.index('class="stack arms"')
    assert picture < table
    assert "With and without defences" not in html
    assert html.count('class="chart"') == 1 + 3 + 5, "charts of the defences are left to audit.json"
    folded = re.search(r"<summary>(\d+) numbers under the defences and their controls</summary>", html)
    assert folded
    assert html.count('<th scope="row">posterior-similarity on joint-cluster') == 4
    assert "control of joint-cluster" in html
    assert '<h2 id="family-3-title">Defences</h2>' in html


def test_markdown_table_is_rectangular() -> None:
    for audit in (compared.comparison(), compared.hostile_comparison()):
        lines = MarkdownReport().render(audit).splitlines()
        start = next(k for k, line in enumerate(lines) if line.startswith("| defence"))
        table = lines[start : start + 10]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {10}
        assert lines[start + 10] == ""


def test_csv_has_a_row_per_difference_signed_as_worse_for_the_owner() -> None:
    audit = compared.comparison()
    assert audit.matrix is not None
    lines = [row for row in csv.DictReader(io.StringIO(CsvReport().render(audit))) if row["probe"] == "compare"]
    entries = [entry for row in audit.matrix.rows for entry in row.entries]
    assert len(lines) == sum(max(len(entry.differences), 1) for entry in entries)
    by = {(row["defense"], row["measurement"], row["control"]): row for row in lines}
    fallen = by["joint-cluster", "clean_accuracy", "none"]
    assert float(fallen["advantage"]) == pytest.approx(0.0246, abs=2e-3)
    assert float(fallen["advantage_lo"]) < float(fallen["advantage"]) < float(fallen["advantage_hi"])
    assert float(fallen["control_value"]) - float(fallen["value"]) == pytest.approx(float(fallen["advantage"]))
    leak = by["dp-edge:eps=4", "leak", "none"]
    assert float(leak["advantage"]) == pytest.approx(float(leak["value"]) - float(leak["control_value"]))
    assert float(leak["advantage"]) < 0
    header, *_ = csv.reader(io.StringIO(CsvReport().render(samples.realistic())))
    assert len(header) == len(lines[0])
    assert "compare" not in CsvReport().render(samples.realistic())


def test_seeds_that_change_nothing_mark_nothing() -> None:
    audit = compared.comparison()
    assert audit.matrix is not None
    document = audit.matrix.model_dump()
    for row in document["rows"]:
        for entry in row["entries"]:
            for difference in entry["differences"]:
                difference["ci"] = {"lo": difference["value"], "hi": difference["value"]}
    arms = Comparison.of(Matrix.model_validate(document)).arms
    shifts = [s for arm in arms for found in arm.cells if found and (s := found.to_none)]
    assert {s.word for s in shifts} == {""}


def test_arms_that_miss_a_number_for_one_reason_share_a_line() -> None:
    audit = compared.comparison()
    skipped = next(cell for cell in audit.cells if cell.status == "skipped")
    again = tuple(skipped.model_copy(update={"key": name, "defense": name}) for name in ("mlp", "joint-cluster"))
    audit = audit.model_copy(update={"cells": (*audit.cells, *again)})
    line = "skipped membership on none, mlp, joint-cluster: needs REFERENCES: none were given"
    assert line in " ".join(TerminalReport().render(audit).split())
    assert len(read.gaps(audit)) == len(read.listed_gaps(audit)) + 2


def test_a_large_comparison_stays_a_small_page() -> None:
    audit = compared.comparison()
    assert audit.matrix is not None
    row = next(row for row in audit.matrix.rows if row.defense == "joint-cluster")
    more = tuple(row.model_copy(update={"defense": f"joint-cluster:k={k}"}) for k in range(30))
    cells = tuple(
        cell.model_copy(update={"key": f"{cell.key}-{k}", "defense": f"joint-cluster:k={k}"})
        for k in range(30)
        for cell in audit.cells
        if cell.defense == "joint-cluster"
    )
    matrix = Matrix(rows=(*audit.matrix.rows, *more), seeds=audit.matrix.seeds)
    html = HtmlReport().render(audit.model_copy(update={"matrix": matrix, "cells": (*audit.cells, *cells)}))
    assert len(html.encode()) < 300_000
    assert "14 further arms in the table below" in html
    assert "more in audit.json" in html


def test_charts_take_their_font_from_the_page() -> None:
    for svg in re.findall(r"<svg.*?</svg>", HtmlReport().render(compared.comparison()), re.S):
        assert "font-family" not in svg
        assert "font-size:" in svg
        assert "rotate(-0" not in svg
