"""Taxonomy ids against stored lists, and a row for every finding a probe can raise."""

from __future__ import annotations

import pytest

from auditor import registry
from auditor.taxonomy import TAXONOMY, VERB_FINDINGS, ids_of, taxon

# The ids in use, as MITRE ATLAS 5.6.0 and the OWASP ML Top 10 (2023 draft) publish them.
ATLAS = {
    "AML.T0015",
    "AML.T0024",
    "AML.T0024.000",
    "AML.T0024.001",
    "AML.T0043.000",
    "AML.T0043.001",
    "AML.T0043.002",
}
MITIGATIONS = {"AML.M0002", "AML.M0003", "AML.M0004", "AML.M0014"}
OWASP = {f"ML{number:02}" for number in range(1, 11)}
CWE = {359}


@pytest.mark.parametrize("prefix", TAXONOMY)
def test_every_id_is_on_a_stored_list(prefix: str) -> None:
    entry = TAXONOMY[prefix]
    assert set(entry.atlas) <= set(ATLAS)
    assert set(entry.mitigations) <= MITIGATIONS
    assert set(entry.owasp) <= OWASP
    assert set(entry.cwe) <= CWE


def test_every_finding_that_can_be_raised_has_a_row() -> None:
    probes = {id_ for probe in registry.probes().values() for id_ in probe.findings}
    assert set(registry.finding_ids()) == probes | set(registry.defense_findings()) | set(VERB_FINDINGS)
    for id_ in registry.finding_ids():
        assert any(id_.startswith(prefix) for prefix in TAXONOMY), id_


@pytest.mark.parametrize("prefix", TAXONOMY)
def test_no_row_is_for_what_nothing_raises(prefix: str) -> None:
    assert any(taxon(id_) is TAXONOMY[prefix] for id_ in registry.finding_ids() if id_.startswith(prefix))


@pytest.mark.parametrize(
    ("finding", "ids"),
    [
        ("privacy-link-inversion", ("AML.T0024.001", "ML03", "CWE-359")),
        ("prototype-edit", ("AML.T0043.000", "AML.T0015", "ML01")),
        ("prototype-membership", ("AML.T0024.000", "ML04", "CWE-359")),
        ("joint-small-prototype", ("AML.T0024", "ML03", "CWE-359")),
        ("joint-cluster-jump", ("AML.T0043.000", "AML.T0015", "ML01")),  # the longer prefix wins
        ("shift-gap", ()),
        ("l2r-effect", ()),
        ("defense-gain", ()),
        ("dp-claim", ()),
        ("nobody-knows-this", ()),
    ],
)
def test_ids_of_findings(finding: str, ids: tuple[str, ...]) -> None:
    assert ids_of(finding) == ids


@pytest.mark.parametrize(
    ("access", "crafted"),
    [
        (("weights", "graph"), "AML.T0043.000"),
        (("posteriors", "graph"), "AML.T0043.001"),
        (("references", "graph"), "AML.T0043.002"),
        (("weights", "posteriors"), "AML.T0043.000"),
        (("graph",), "AML.T0043.000"),
    ],
)
def test_evasion_technique_follows_the_access(access: tuple[str, ...], crafted: str) -> None:
    assert ids_of("robustness-structure", access) == (crafted, "AML.T0015", "ML01")
