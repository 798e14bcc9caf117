"""The dossier: every claim with its evidence, nothing undecided among them, and terms that were looked up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from auditor import registry
from auditor.document import Audit, Result
from auditor.taxonomy import ACCESS
from reports import views
from reports.dossier import DossierReport
from reports.sentences import dossier as words
from reports.sentences import terms
from reports.sentences.compose import said
from tests.reports import reading, sample_claims, samples
from tests.reports.compared import AUDITS
from tests.reports.reading import rendered

JUDGES_THE_LAW = re.compile(r"\b(non-?)?complian|\bcompl(y|ies|ied)\b|\bconform", re.IGNORECASE)
OWN = tuple(name for name in AUDITS if "hostile" not in name)


def visible(audit: str) -> str:
    return reading.visible("dossier", rendered("dossier", audit))


def parts(text: str) -> tuple[str, str]:
    """The claims, and what is no evidence."""
    before, _, behind = text.partition("\n## Not evidence\n")
    return before.partition("\n## The answer\n")[2], behind.partition("\n## Terms, and")[0]


def decided(audit: Audit) -> list[Result]:
    return [r for r in views.judged(audit) if views.is_settled(r) and not views.is_control(audit, r)]


@pytest.mark.parametrize("audit", OWN)
def test_every_settled_result_is_a_claim_and_no_other(audit: str) -> None:
    document, (claims, others) = AUDITS[audit](), parts(visible(audit))
    headings = re.findall(r"^### Claim (\d+)\b", claims, re.M)
    assert headings == [str(number) for number in range(1, len(decided(document)) + 1)]
    item = views.item(document)
    for result in views.judged(document):
        if views.is_control(document, result):
            continue
        assert result.fingerprint[: words.KEY_SIGNS] in claims or not views.is_settled(result)
        assert said(result, item) in (claims if views.is_settled(result) else others)


@pytest.mark.parametrize("audit", ["realistic", "untrusted", "comparison"])
def test_what_is_open_or_does_not_count_stands_with_what_is_no_evidence(audit: str) -> None:
    document, (claims, others) = AUDITS[audit](), parts(visible(audit))
    open_ = [r for r in views.undefended(document) if not views.is_settled(r)]
    assert open_
    for result in open_:
        assert result.judgement is not None
        assert result.judgement.status == "inconclusive"
        assert said(result, views.item(document)) not in claims
        assert said(result, views.item(document)) in others


def test_an_underpowered_claim_is_no_evidence() -> None:
    audit = sample_claims.claimed(verdict="UNDERPOWERED", reason="ceiling", ceiling=1.5)
    claims, others = parts(reading.visible("dossier", DossierReport().render(audit)))
    assert "UNDERPOWERED" in others
    answer, _, evidence = claims.partition("## Differential privacy")
    assert "UNDERPOWERED. This audit could not have refuted the claim. This is not a pass." in answer
    assert "UNDERPOWERED" not in evidence
    assert "### Claim" not in claims
    text = DossierReport().render(audit)
    assert "claim 1" not in text


@pytest.mark.parametrize("audit", OWN)
def test_nothing_is_said_of_the_law(audit: str) -> None:
    assert not JUDGES_THE_LAW.search(rendered("dossier", audit))
    assert JUDGES_THE_LAW.search("the model complies"), "the pattern finds what it is for"


def test_a_claim_names_cells_seeds_interval_control_checks_access_and_terms() -> None:
    audit = samples.realistic()
    result = next(r for r in decided(audit) if r.finding == "privacy-link-stealing")
    text = visible("realistic")
    block = next(part for part in text.split("\n### ") if result.fingerprint[: words.KEY_SIGNS] in part)
    assert all(key[: words.KEY_SIGNS] in block for key in result.cells)
    for piece in (
        "; seed 0; ",
        "35.2 % (33.2 to 37.2 %), from 10,556 items",
        "control, features and labels: 4.8 % (3.8 to 5.8 %)",
        "difference: 30.4 worse (28.4 to 32.4 worse)",
        "2 of 3 checks passed, 1 not checked; not checked: leaky split",
        "served posteriors, node features and labels (MITRE ATLAS: AML.T0040 AI Model Inference API Access)",
        "EDPB Opinion 28/2024, paragraph 43: likelihood of obtaining personal data from queries",
        "C11.3.2",
        "MITRE ATLAS: AML.T0024.001 Invert AI Model",
    ):
        assert piece in block
    for digest in (audit.digest, audit.target.digest):
        assert digest in text


def test_checks_that_bear_on_another_probe_are_not_named() -> None:
    blocks = visible("realistic").split("\n### ")
    warned = [block for block in blocks if "warns: relaxation gap" in block and not block.startswith("Checks that")]
    assert warned
    assert all("structure-evasion" in block for block in warned)


@pytest.mark.parametrize("finding", registry.findings())
@pytest.mark.parametrize("access", [(), ("weights",), ("posteriors",), ("weights", "posteriors")])
def test_every_term_of_a_finding_has_words(finding: str, access: tuple[str, ...]) -> None:
    taxon = registry.taxon(finding)
    assert set(taxon.techniques(access)) <= set(terms.TECHNIQUES)
    assert set(taxon.requirements(access)) <= set(terms.REQUIREMENTS)
    assert set(terms.terms(finding, access)) <= set(terms.every())
    assert set(ACCESS.values()) <= set(terms.TECHNIQUES)


@pytest.mark.parametrize(
    ("finding", "access", "likelihood"),
    [
        ("privacy-link-stealing", ("posteriors",), "queries"),
        ("privacy-link-inversion", ("weights", "features"), "extraction"),
        ("prototype-membership", ("weights", "embeddings"), "extraction"),
        ("dp-claim", ("mechanism",), "extraction"),
        ("dp-claim", ("posteriors",), "queries"),
        ("robustness-structure", ("weights", "graph"), None),
        ("shift-gap", ("posteriors",), None),
        ("nobody-knows-this", ("weights",), None),
    ],
)
def test_the_likelihood_follows_finding_and_access(
    finding: str, access: tuple[str, ...], likelihood: str | None
) -> None:
    assert registry.taxon(finding).likelihood(access) == likelihood


def test_what_is_asked_of_answers_counts_only_where_answers_are_held() -> None:
    taxon = registry.taxon("privacy-link-stealing")
    assert "C11.3.2" in taxon.requirements(("posteriors",))
    assert "C11.3.2" not in taxon.requirements(("weights", "posteriors"))


def test_claims_about_another_model_stand_apart_and_no_term_counts_them() -> None:
    document, text = AUDITS["comparison"](), visible("comparison")
    own = [r for r in views.undefended(document) if views.is_settled(r)]
    elsewhere = [r for r in decided(document) if r not in own]
    assert elsewhere
    target, _, apart = parts(text)[0].partition("\n## Other models")
    for result in elsewhere:
        assert result.fingerprint[: words.KEY_SIGNS] in apart
    assert " on joint-cluster" not in target
    counted = text.partition("\n## Terms, and")[2].partition("\n## What this")[0]
    told = [listed for row in counted.splitlines() for listed in re.findall(r"claims? ([\d, and]+) \|", row)]
    assert told
    assert {int(number) for listed in told for number in re.findall(r"\d+", listed)} <= set(range(1, len(own) + 1))


def test_terms_without_a_claim_say_so() -> None:
    rows = visible("clean").partition("## Terms, and")[2].splitlines()
    spoken = {row for row in rows if "claim 1" in row}
    assert any("AML.T0024.001" in row for row in spoken)
    assert any("direct (including probabilistic) extraction" in row for row in spoken)
    silent = [row for row in rows if words.ASKED_NOT in row]
    assert any("from queries" in row for row in silent)
    assert any("AML.T0015" in row for row in silent)


def test_what_no_test_speaks_to_is_not_tested() -> None:
    others = parts(visible("clean"))[1]
    assert "Not run: structure-evasion" in others
    assert "Not run: graphmi" not in others
    for technique in ("AML.T0024.002 Extract AI Model", "AML.T0020 Poison Training Data"):
        assert technique not in others  # there is a test of it, which was not asked for


@pytest.mark.parametrize("audit", ["realistic", "hostile", "hostile comparison"])
def test_tables_keep_their_columns_and_nothing_is_markup(audit: str) -> None:
    text = rendered("dossier", audit)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {3, 4}
    assert "<" not in text
    assert not re.search(r"(?<!\\)[`$~]", text)
    heading = re.compile(r"#{1,3} (Audit dossier of |What |The |Claim \d+|Not |Terms|Checks|Only|[\w ]+: )")
    assert all(heading.match(line) for line in text.splitlines() if line.startswith("#"))


def test_the_page_names_every_term() -> None:
    page = (Path(__file__).parents[2] / "docs" / "dossier.md").read_text(encoding="utf-8")
    assert [id_ for id_ in (*terms.TECHNIQUES, *terms.REQUIREMENTS) if id_ not in page] == []
