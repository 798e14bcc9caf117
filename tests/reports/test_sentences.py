"""Every sentence as it was read once, and what no sentence may hold: forbidden words, ids, signs, unknown numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from auditor import registry
from auditor.document import Estimate, Metric
from auditor.document.codes import ResultUntrusted
from auditor.document.results import Unit
from auditor.parameters import build
from reports.sentences import claim, comparison, names, repair
from reports.sentences.compose import brief, said, word
from reports.sentences.numbers import closed
from reports.sentences.steps import steps
from reports.sentences.templates import OTHER, TEMPLATES, first, remedies, template, who
from reports.views import deciding, nearest, undefended
from tests.policy.samples import audit_of, cell, measurement
from tests.reports import compared, reading, sample_claims, samples, voices


def spoken() -> Iterator[tuple[str, str, BaseModel]]:
    """Label, sentence and what it is about."""
    for label, result in (*voices.findings(), *voices.variants()):
        yield label, said(result), result
        yield f"briefly {label}", brief(result), result
    for label, facts in voices.claims():
        yield label, closed(claim.verdict(facts)), facts
    for label, decision in voices.decisions():
        yield label, comparison.decided(decision), decision
    for label, repaired in voices.repairs():
        for number, line in enumerate(repair.lines(repaired)):
            yield f"repair {label} {number}", line, repaired


SPOKEN = list(spoken())
BROUGHT = {"plug-in-finding": dataclasses.replace(OTHER, first="Ask its author.")}


def test_sentences_are_those_that_were_read() -> None:
    assert "\n".join(voices.lines()) + "\n" == voices.GOLDEN.read_text(encoding="utf-8")


def test_every_finding_that_can_be_raised_has_a_template() -> None:
    assert [id_ for id_ in registry.findings() if template(id_) is OTHER] == ["dp-claim"]  # which has its own words
    assert set(TEMPLATES) <= set(registry.findings())
    assert set(TEMPLATES) <= set(voices.CASES)
    assert template("plug-in-finding") is OTHER


def test_the_table_of_a_plug_in_brings_the_words_of_its_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {"attacks": (registry.Table(templates=f"{__name__}:BROUGHT"), registry.Table(templates="nowhere:WORDS"))}
    monkeypatch.setattr(registry, "_tables", lambda group: tables.get(group, ()))
    registry.templates.cache_clear()
    try:
        with pytest.warns(UserWarning, match="templates nowhere:WORDS could not be imported"):
            assert template("plug-in-finding") is BROUGHT["plug-in-finding"]
        assert template("shift-gap") is TEMPLATES["shift-gap"]
        assert template("nobody-knows-this") is OTHER
    finally:
        registry.templates.cache_clear()
    for finding, own in TEMPLATES.items():
        assert closed(own.first) == own.first, finding


@pytest.mark.parametrize(("label", "text", "about"), SPOKEN, ids=[label for label, _, _ in SPOKEN])
def test_a_sentence_has_no_forbidden_word_id_sign_or_unknown_number(label: str, text: str, about: BaseModel) -> None:
    assert text[0] == text[0].upper()
    assert text.endswith(".")
    assert not reading.FORBIDDEN.search(text)
    assert not reading.SIGN.search(text)
    assert not [id_ for id_ in reading.IDS if id_ in text]
    assert not reading.plurals(text)
    assert "  " not in text
    assert ".." not in text
    assert reading.unknown(text, about) == []


def test_items_are_those_of_the_task() -> None:
    evasion = voices.result("robustness-structure", voices.CASES["robustness-structure"][0], "not settled")
    assert "815 of 1,000 graphs are right" in said(evasion, "graph")
    assert "(0.3 per graph)" in said(evasion, "graph")
    assert "about 38 more test graphs" in said(evasion, "graph")
    assert [names.items(level) for level in ("node", "edge", "graph", "molecule")] == ["node", "edge", "graph", "item"]


def test_an_unknown_number_is_noticed() -> None:
    result = voices.result("shift-gap", voices.CASES["shift-gap"][0], "over")
    assert reading.unknown("It is 77.7 points, 613 in 1,000 and 4.", result) == ["77.7", "613", "4"]
    assert reading.SIGN.search("by −0.1 points")
    assert reading.plurals("1 nodes, 1 node, 1 is, 31 nodes") == ["1 nodes"]


@pytest.mark.parametrize("stem", voices.STEMS)
def test_the_word_follows_the_stem(stem: str) -> None:
    words = {
        "over": "over the limit",
        "accepted": "accepted",
        "within": "seen",
        "not found": "not found",
        "not settled": "not settled",
        "cannot tell": "not settled",
        "does not count": "does not count",
        "not measured": "not settled",
    }
    for finding, cases in voices.CASES.items():
        assert word(voices.result(finding, cases[0], stem)) == words[stem]


def test_steps_answer_what_is_over_or_open_worst_first() -> None:
    audit = samples.realistic()
    found = steps(audit, undefended(audit))
    open_ = ("shift-worst-group",)
    wanted = [("privacy-link-stealing",), (), open_, ("shift-miscalibrated",)]
    assert [step.findings for step in found] == wanted
    assert found[0].text == "Serve labels or fewer digits and audit again; edge-level differential privacy does more."
    assert steps(samples.clean(), undefended(samples.clean())) == []
    failed = steps(samples.untrusted(), undefended(samples.untrusted()))
    assert any("Mend the failed checks" in step.text for step in failed)


def test_equal_advice_is_one_step_that_names_all_that_it_serves() -> None:
    findings = ("robustness-structure", "robustness-node", "robustness-below-edge-free", "robustness-injection")
    results = [voices.result(finding, voices.CASES[finding][0], "over") for finding in findings]
    changed = {"config_file": "t/target.toml", "results": tuple(results), "cells": (), "validity": ()}
    audit = samples.realistic().model_copy(update=changed)
    edges, nodes = steps(audit, results)
    assert edges.text.count("Limit and log who creates edges") == 1
    assert edges.text.count("harden the model") == 1
    assert "let a person judge nodes that one edge decides" in edges.text
    assert edges.findings == findings[:3]
    assert nodes.findings == findings[3:]
    labels = [
        f"“{TEMPLATES[finding].brief.label(result, 'node')}”" for finding, result in zip(findings, results, strict=True)
    ]
    assert [label in edges.serves for label in labels] == [True, True, True, False]
    assert not nodes.serves
    (command,) = edges.commands
    assert f"--only {','.join(dict.fromkeys(result.probe for result in results[:3]))} " in command
    shown = steps(audit, nearest(deciding(audit)))[0].serves
    assert [label in shown for label in labels] == [True, True, True, False]
    for report in ("terminal", "html"):
        assert shown in " ".join(reading.visible(report, reading.fresh(report, audit)).split())


@pytest.mark.parametrize(
    ("facts", "first"),
    [
        ({"verdict": "VIOLATED", "reason": "audit"}, "Do not publish this claim."),
        ({"verdict": "UNDERPOWERED", "reason": "not-run"}, "Audit a run as well"),
        ({"verdict": "UNDERPOWERED", "reason": "reach"}, "Settle what is open: more canaries or runs."),
        ({"verdict": "CONSISTENT"}, ""),
    ],
)
def test_steps_of_a_claim(facts: dict[str, str], first: str) -> None:
    audit = sample_claims.claimed(**facts)
    found = steps(audit, undefended(audit))
    assert [step.text.startswith(first) for step in found] == ([True] if first else [])


def test_names_of_controls_that_differ_by_seed_are_all_named() -> None:
    assert names.control("features / labels") == "features alone or labels alone"
    assert names.control("features / features-standardised") == "features alone"
    assert names.control("a control of a plug-in") == "a control of a plug-in"


@pytest.mark.parametrize(("shown", "unit", "number"), [("value", "share", "80.8"), ("excess", "auc", "2.5 below 0")])
def test_numbers_of_the_matrix_are_in_percent_and_points(shown: Any, unit: Unit, number: str) -> None:
    headline = compared.comparison_of((0,)).arms[0].headlines[0]
    value = Estimate(value=0.808 if shown == "value" else -0.0251)
    changed = headline.model_copy(update={"estimate": value, "unit": unit, "shown": shown})
    assert comparison.number(changed) == (number, "")


def test_over_seeds_a_damage_sentence_says_the_joined_numbers() -> None:
    """Accuracies of .79 and .73 are .76 together, whichever of the seeds lies nearer."""
    cells = [
        samples.cell(
            "corruption",
            "shift",
            [
                samples.number(
                    samples.ACCURACY,
                    "shift-gap",
                    left,
                    ("clean data, same items", 0.815),
                    half=0.01,
                    n=1000,
                    subset="edge-drop=0.1",
                    facts=samples.damage("edge-drop", "0.1"),
                )
            ],
            seed=seed,
        )
        for seed, left in enumerate((0.79, 0.73, 0.76))
    ]
    text = said(samples.assembled(cells).results[0])
    assert "760 of 1,000 nodes are right with 1 in 10 edges gone, 815 before" in text


def test_without_a_twin_it_is_said_why_a_large_leak_is_not_settled_and_what_to_give() -> None:
    ranking = Metric("headroom", "errors", "higher", "ranking")
    audit = audit_of([cell(measurement(0.45, 0.4, 0.55, metric=ranking, at_most="medium"))])
    (result,) = undefended(audit)
    assert "without the model's training recipe" in said(result)
    *_, step = steps(audit, [result])
    assert step.text.startswith("Give the model's training recipe")


def test_every_remedy_is_a_defence_that_can_be_asked_for() -> None:
    for finding, own in TEMPLATES.items():
        for remedy in own.brief.remedies:
            id_, parameters = registry.parse_spec(remedy.defense)
            entry = registry.entries("defenses")[id_]
            assert build(entry.load(), parameters, owner=id_), finding


def test_what_lowers_answers_is_no_advice_for_embeddings() -> None:
    case = voices.CASES["privacy-link-stealing"][0]
    answers = voices.result("privacy-link-stealing", case, "over").model_copy(update={"access": ("posteriors",)})
    embeddings = answers.model_copy(update={"access": ("embeddings",)})
    assert [remedy.defense for remedy in remedies(answers)] == ["coarse-outputs:digits=1"]
    assert remedies(embeddings) == ()
    assert first(embeddings).startswith("Serve answers in place of embeddings")
    assert who(embeddings) == "anyone who receives the embeddings"
    assert "its embeddings" in brief(embeddings, "node")
    assert "its answers" in brief(answers, "node")
    file = answers.model_copy(update={"finding": "privacy-link-inversion", "access": ("weights", "posteriors")})
    assert who(file) == "whoever holds the model file, its answers, features and labels"


def test_probes_of_one_finding_have_labels_of_their_own() -> None:
    """GraphMI alone, all that the file shows, and the answers besides; posteriors alone, and all besides."""
    labels = []
    for finding, held in (("privacy-link-inversion", "weights"), ("privacy-link-stealing", "posteriors")):
        alone = voices.result(finding, voices.CASES[finding][0], "over").model_copy(update={"access": (held,)})
        many = alone.facts.model_copy(update={"views": ("features", "labels")})
        added = alone.model_copy(update={"facts": many})
        both = added.model_copy(update={"access": (held, "posteriors")})
        labels += [template(each.finding).brief.label(each, "node") for each in (alone, added, both)]
    assert labels[:3] == [
        "Links rebuilt from the file",
        "Links rebuilt from the file (all views added up)",
        "Links rebuilt from the file and its answers (all views added up)",
    ]
    assert labels[3:5] == ["Links read from the answers", "Links read from the answers (all views added up)"]


def test_results_that_the_same_checks_spoil_are_one_line_and_each_stays_to_be_found() -> None:
    findings = ("shift-gap", "shift-worst-group", "shift-ood-unnoticed", "shift-miscalibrated")
    void = [
        voices.result(finding, voices.CASES[finding][0], "does not count").model_copy(update={"family": "shift"})
        for finding in findings
    ]
    over = voices.result("shift-gap", voices.CASES["shift-gap"][0], "over").model_copy(update={"family": "shift"})
    codes = tuple(ResultUntrusted(fingerprint=result.fingerprint) for result in void)
    base = samples.realistic()
    counts = {"fail": 1, "inconclusive": 4, "untrusted": 4}
    verdict = base.verdict.model_copy(update={"codes": codes, "counts": counts})
    audit = base.model_copy(update={"results": (over, *void), "verdict": verdict})
    why = "since the checks “edge dependence” and “gradient” failed"
    told = {name: " ".join(reading.visible(name, reading.fresh(name, audit)).split()) for name in ("terminal", "html")}
    for text in told.values():
        assert text.count(f"4 results do not count, {why}: “1 in 10 edges gone”") == 1
        assert "4 results of a-probe do not count." in text
    assert told["terminal"].count(why) == 1
    assert said(over)[:60] in told["html"], "what decides keeps a sentence of its own"
    page = reading.fresh("html", audit)
    counted, _, folded = page[page.index('<p class="said">4 results do not count') :].partition("<details>")
    assert counted.endswith("and 1 more.</p>"), "what is folded is not printed, and its count is"
    assert folded.partition("</details>")[0].count('<p class="said">') == 4
    verbose = " ".join(registry.find("reports", "terminal").load()().render(audit, verbose=True).split())
    assert verbose.count("does not count") >= 4
    alone = audit.model_copy(update={"results": (over, void[0])})
    assert "This result does not count" in " ".join(reading.fresh("terminal", alone).split())
