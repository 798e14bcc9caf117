"""What a finding id means elsewhere: MITRE ATLAS, OWASP ML Top 10, CWE, NIST AI 100-2.

One literal keyed by id prefix; the longest prefix wins. It has a row for what can be raised and for nothing else, and a
blank is a blank: nothing is filled in for looks.

Source: MITRE ATLAS 5.6.0; OWASP Machine Learning Security Top 10, 2023 draft; NIST AI 100-2. CWE numbers are our
reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Taxon:
    """One row of the table.

    Attributes:
        atlas: MITRE ATLAS techniques.
        owasp: OWASP ML Top 10 entries.
        cwe: CWE numbers.
        nist: attack class of NIST AI 100-2.
        mitigations: ATLAS mitigations behind what reports advise.
    """

    atlas: tuple[str, ...] = ()
    owasp: tuple[str, ...] = ()
    cwe: tuple[int, ...] = ()
    nist: str = ""
    mitigations: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Taxonomy ids in the order ATLAS, OWASP ML, CWE."""
        return (*self.atlas, *self.owasp, *(f"CWE-{number}" for number in self.cwe))


_SERVING = ("AML.M0002", "AML.M0003", "AML.M0004")
_EVASION = Taxon(("AML.T0043.000", "AML.T0015"), ("ML01",), (), "evasion", ("AML.M0003",))

TAXONOMY: Final[Mapping[str, Taxon]] = {
    "privacy-link": Taxon(("AML.T0024.001",), ("ML03",), (359,), "data reconstruction", _SERVING),
    "robustness-": _EVASION,
    "joint-": Taxon(("AML.T0024",), ("ML03",), (359,), "data reconstruction", ("AML.M0002", "AML.M0014")),
    "joint-cluster-jump": _EVASION,
    "prototype-membership": Taxon(("AML.T0024.000",), ("ML04",), (359,), "membership inference", _SERVING),
    "prototype-edit": _EVASION,
    "shift-": Taxon(),
    "l2r-": Taxon(),
    "defense-gain": Taxon(),
    "dp-claim": Taxon(),
}

VERB_FINDINGS: Final = ("defense-gain", "dp-claim")
"""Findings that a verb raises by itself (`compare`, `dp-claim`); all others belong to a probe or to a defence's fit."""

# Effect of white-box, black-box and transfer evasion: the technique depends on what the adversary holds.
_EVASION_BY_ACCESS: Final[tuple[tuple[frozenset[str], str], ...]] = (
    (frozenset({"weights"}), "AML.T0043.000"),
    (frozenset({"posteriors"}), "AML.T0043.001"),
    (frozenset({"references"}), "AML.T0043.002"),
)


def taxon(finding_id: str) -> Taxon:
    """The row of the longest prefix of `finding_id`; an empty row when none fits."""
    prefixes = [prefix for prefix in TAXONOMY if finding_id.startswith(prefix)]
    return TAXONOMY[max(prefixes, key=len)] if prefixes else Taxon()


def ids_of(finding_id: str, access: Iterable[str] = ()) -> tuple[str, ...]:
    """Taxonomy ids of a finding; for evasion the ATLAS technique follows the access the adversary had.

    Access that the table does not know (or none) leaves the white-box technique, the strongest adversary.
    """
    row, held = taxon(finding_id), set(access)
    if row is not _EVASION:
        return row.ids
    crafted = next((id_ for words, id_ in _EVASION_BY_ACCESS if words & held), row.atlas[0])
    return (crafted, *row.ids[1:])
