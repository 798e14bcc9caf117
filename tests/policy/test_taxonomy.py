"""Taxonomy ids against stored lists, and a row for every finding a probe can raise."""

from __future__ import annotations

import pytest

from auditor import registry
from auditor.policy.rules import known_findings
from auditor.taxonomy import FINDING_IDS, TAXONOMY, access_ids, advice_of, ids_of, taxon

# The ids in use, as MITRE ATLAS 5.6.0 and the OWASP ML Top 10 (2023 draft) publish them.
ATLAS = {
    "AML.T0010.003",
    "AML.T0011.000",
    "AML.T0015",
    "AML.T0018.002",
    "AML.T0020",
    "AML.T0024",
    "AML.T0024.000",
    "AML.T0024.001",
    "AML.T0024.002",
    "AML.T0031",
    "AML.T0040",
    "AML.T0043.000",
    "AML.T0043.001",
    "AML.T0043.002",
    "AML.T0044",
}
MITIGATIONS = {"AML.M0002", "AML.M0003", "AML.M0004", "AML.M0014", "AML.M0016"}
OWASP = {f"ML{number:02}" for number in range(1, 11)}
CWE = {200, 359, 502}


@pytest.mark.parametrize("prefix", TAXONOMY)
def test_every_id_is_on_a_stored_list(prefix: str) -> None:
    entry = TAXONOMY[prefix]
    assert set(entry.atlas) <= set(ATLAS)
    assert set(entry.mitigations) <= MITIGATIONS
    assert set(entry.owasp) <= OWASP
    assert set(entry.cwe) <= CWE
    assert entry.advice


def test_every_finding_of_a_probe_and_every_known_id_has_a_row() -> None:
    raised = {id_ for probe in registry.probes().values() for id_ in probe.findings}
    assert raised <= set(FINDING_IDS)
    for id_ in known_findings():
        assert any(id_.startswith(prefix) for prefix in TAXONOMY), id_


@pytest.mark.parametrize(
    ("finding", "ids"),
    [
        ("privacy-link-inversion", ("AML.T0024.001", "ML03", "CWE-359")),
        ("privacy-link-influence", ("AML.T0024.001", "ML03", "CWE-359")),
        ("privacy-membership-graph", ("AML.T0024.000", "ML04", "CWE-359")),
        ("privacy-extraction", ("AML.T0024.002", "ML05")),
        ("privacy-explanation", ("AML.T0024", "ML03", "CWE-359")),
        ("robustness-poisoning", ("AML.T0020", "AML.T0031", "ML02")),  # the longer prefix wins
        ("robustness-injection", ("AML.T0043.000", "AML.T0015", "ML01")),
        ("prototype-inversion", ("AML.T0024", "ML03", "CWE-359")),
        ("prototype-shift", ("AML.T0043.000", "AML.T0015", "ML01")),  # the longer prefix wins
        ("joint-cluster-jump", ("AML.T0043.000", "AML.T0015", "ML01")),
        ("shift-gap", ()),
        ("l2r-effect", ()),
        ("defense-gain", ()),
        ("dp-claim", ()),
        ("artifact-unsafe-pickle", ("AML.T0011.000", "AML.T0018.002", "AML.T0010.003", "ML06", "CWE-502")),
        ("artifact-graph-tensor", ("AML.T0024", "ML03", "CWE-200")),
        ("nobody-knows-this", ()),
    ],
)
def test_ids_of_findings(finding: str, ids: tuple[str, ...]) -> None:
    assert ids_of(finding) == ids


@pytest.mark.parametrize(
    ("access", "crafted"),
    [
        (("weights", "graph"), "AML.T0043.000"),
        (("queries", "graph"), "AML.T0043.001"),
        (("references", "graph"), "AML.T0043.002"),
        (("weights", "queries"), "AML.T0043.000"),
        (("graph",), "AML.T0043.000"),
    ],
)
def test_evasion_technique_follows_the_access(access: tuple[str, ...], crafted: str) -> None:
    assert ids_of("robustness-structure", access) == (crafted, "AML.T0015", "ML01")


def test_access_has_ids_of_its_own() -> None:
    assert access_ids(("posteriors", "queries", "features")) == ("AML.T0040",)
    assert access_ids(("weights",)) == ("AML.T0044",)


def test_artefact_severities_are_those_of_the_scan() -> None:
    expected = {
        "unsafe-pickle": "critical",
        "pt2-code": "critical",
        "example-inputs": "high",
        "cached-adjacency": "high",
        "graph-tensor": "high",
        "training-state": "low",
        "author-paths": "low",
        "odd-archive": "medium",
        "known-holes": "medium",
    }
    assert {name: taxon(f"artifact-{name}").severity for name in expected} == expected
    assert advice_of("nobody-knows-this") == ""
