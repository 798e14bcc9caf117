"""Taxonomy ids against stored lists; a finding's place follows its probe's line, an evasion's the access."""

from __future__ import annotations

import pytest

from auditor import registry
from auditor.taxonomy import EVASION

# The ids in use, as MITRE ATLAS 5.6.0 and the OWASP ML Top 10 (2023 draft) publish them.
ATLAS = {
    "AML.T0015",
    "AML.T0020",
    "AML.T0024",
    "AML.T0024.000",
    "AML.T0024.001",
    "AML.T0024.002",
    "AML.T0043.000",
    "AML.T0043.001",
}
OWASP = {f"ML{number:02}" for number in range(1, 11)}
CWE = {359}
# Of OWASP AISVS 1.0, chapter C11: sections and requirements in use.
AISVS = {"C11.1.3", "C11.2", "C11.2.3", "C11.2.5", "C11.3.2"}


@pytest.mark.parametrize("probe", registry.probes().values(), ids=lambda probe: probe.id)
def test_every_id_on_a_registry_line_is_on_a_stored_list(probe: registry.ProbeEntry) -> None:
    for taxon in (probe.taxon, *probe.taxa.values()):
        assert set(taxon.atlas) <= ATLAS
        assert set(taxon.owasp) <= OWASP
        assert set(taxon.cwe) <= CWE
        assert set(taxon.aisvs) <= AISVS


@pytest.mark.parametrize("probe", registry.probes().values(), ids=lambda probe: probe.id)
def test_every_attack_on_a_secret_or_on_answers_has_a_place(probe: registry.ProbeEntry) -> None:
    for finding in probe.findings:
        assert bool(registry.taxon(finding).ids()) == (probe.family != "shift")


@pytest.mark.parametrize(
    ("finding", "ids"),
    [
        ("privacy-link-inversion", ("AML.T0024.001", "ML03", "CWE-359")),
        ("privacy-link-stealing", ("AML.T0024.001", "ML03", "CWE-359")),
        ("privacy-membership-node", ("AML.T0024.000", "ML04", "CWE-359")),
        ("privacy-membership-graph", ("AML.T0024.000", "ML04", "CWE-359")),
        ("privacy-link-made-up-graphs", ("AML.T0024.001", "ML03", "CWE-359")),
        ("privacy-link-influence", ("AML.T0024.001", "ML03", "CWE-359")),
        ("privacy-attribute", ("AML.T0024.001", "ML03", "CWE-359")),
        ("privacy-extraction", ("AML.T0024.002", "ML05")),
        ("robustness-structure", ("AML.T0043.000", "AML.T0015", "ML01")),
        ("robustness-black-box", ("AML.T0043.000", "AML.T0015", "ML01")),  # whoever asks alone crafts another way
        ("robustness-poisoning", ("AML.T0020", "ML02")),
        ("prototype-edit", ("AML.T0043.000", "AML.T0015", "ML01")),
        ("prototype-membership", ("AML.T0024.000", "ML04", "CWE-359")),
        ("joint-small-prototype", ("AML.T0024", "ML03", "CWE-359")),
        ("joint-table-leaks-edges", ("AML.T0024", "ML03", "CWE-359")),
        ("joint-cluster-jump", ("AML.T0043.000", "AML.T0015", "ML01")),
        ("shift-gap", ()),
        ("l2r-effect", ()),
        ("defense-gain", ()),
        ("dp-claim", ()),
        ("nobody-knows-this", ()),
    ],
)
def test_ids_of_findings(finding: str, ids: tuple[str, ...]) -> None:
    assert registry.taxon(finding).ids() == ids


@pytest.mark.parametrize(
    ("access", "crafted"),
    [
        (("weights", "graph"), "AML.T0043.000"),
        (("posteriors", "graph"), "AML.T0043.001"),
        (("own-queries", "graph", "labels"), "AML.T0043.001"),
        (("weights", "posteriors"), "AML.T0043.000"),
        (("graph",), "AML.T0043.000"),
    ],
)
def test_evasion_technique_follows_the_access(access: tuple[str, ...], crafted: str) -> None:
    assert EVASION.ids(access) == (crafted, "AML.T0015", "ML01")
