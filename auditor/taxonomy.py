"""What a finding id means elsewhere (MITRE ATLAS, OWASP ML Top 10, CWE, NIST AI 100-2) and what to do about it.

One literal keyed by id prefix; the longest prefix wins. A blank is a blank: nothing is filled in for looks.

Source: MITRE ATLAS 5.6.0; OWASP Machine Learning Security Top 10, 2023 draft; NIST AI 100-2. CWE numbers other than 502
are our reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from auditor.audit import Severity

ATLAS_RELEASE: Final = "5.6.0"


@dataclass(frozen=True, slots=True)
class Taxon:
    """One row of the table.

    Attributes:
        atlas: MITRE ATLAS techniques.
        owasp: OWASP ML Top 10 entries.
        cwe: CWE numbers.
        nist: attack class of NIST AI 100-2.
        mitigations: ATLAS mitigations behind the advice.
        advice: one line that tells the owner of the model what helps.
        severity: fixed severity where the id alone decides it (artefacts); None where the measurement does.
    """

    atlas: tuple[str, ...] = ()
    owasp: tuple[str, ...] = ()
    cwe: tuple[int, ...] = ()
    nist: str = ""
    mitigations: tuple[str, ...] = ()
    advice: str = ""
    severity: Severity | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """Taxonomy ids in the order ATLAS, OWASP ML, CWE."""
        return (*self.atlas, *self.owasp, *(f"CWE-{number}" for number in self.cwe))


_LINK_ADVICE = "Serve labels or few digits instead of full posteriors, limit queries, or train with edge-level DP."
_EVASION_ADVICE = (
    "Check who may edit edges and features, harden the model (adversarial training, pruning), audit again."
)
_ARTIFACT_ADVICE = "Ship weights as safetensors, export again from a dummy graph, and scan files before loading them."

_LINK = Taxon(
    ("AML.T0024.001",), ("ML03",), (359,), "data reconstruction", ("AML.M0002", "AML.M0003", "AML.M0004"), _LINK_ADVICE
)
_MEMBER = Taxon(
    ("AML.T0024.000",),
    ("ML04",),
    (359,),
    "membership inference",
    ("AML.M0002", "AML.M0003", "AML.M0004"),
    "Regularise or stop earlier so that train and test confidence agree, or train with node-level DP.",
)
_PROPERTY = Taxon(
    ("AML.T0024",),
    ("ML03",),
    (359,),
    "property inference",
    ("AML.M0002", "AML.M0004"),
    "Serve less: no explanations or embeddings where labels do, and limit queries.",
)
_EVASION = Taxon(("AML.T0043.000", "AML.T0015"), ("ML01",), (), "evasion", ("AML.M0003",), _EVASION_ADVICE)
_DEFENCE_ARTIFACT = Taxon(
    ("AML.T0024",),
    ("ML03",),
    (359,),
    "data reconstruction",
    ("AML.M0002", "AML.M0014"),
    "Keep the defence's tables and prototypes out of what is shipped, or release them with noise.",
)
_FILE_CODE = ("AML.T0011.000", "AML.T0018.002", "AML.T0010.003")
_SHIFT_ADVICE = (
    "Watch this property in production, collect labels where accuracy falls, and retrain or recalibrate on them."
)


def _code(severity: Severity) -> Taxon:
    return Taxon(_FILE_CODE, ("ML06",), (502,), "", ("AML.M0014", "AML.M0016"), _ARTIFACT_ADVICE, severity)


def _leak(severity: Severity) -> Taxon:
    return Taxon(
        ("AML.T0024",),
        ("ML03",),
        (200,),
        "data reconstruction",
        ("AML.M0014", "AML.M0016"),
        _ARTIFACT_ADVICE,
        severity,
    )


TAXONOMY: Final[Mapping[str, Taxon]] = {
    "privacy-link": _LINK,
    "privacy-membership": _MEMBER,
    "privacy-extraction": Taxon(
        ("AML.T0024.002",),
        ("ML05",),
        (),
        "model extraction",
        ("AML.M0002", "AML.M0004"),
        "Limit and watch queries, and serve labels or few digits.",
    ),
    "privacy-attribute": _PROPERTY,
    "privacy-explanation": _PROPERTY,
    "robustness-": _EVASION,
    "robustness-poisoning": Taxon(
        ("AML.T0020", "AML.T0031"),
        ("ML02",),
        (),
        "poisoning",
        ("AML.M0003",),
        "Check where training edges come from, prune unlikely ones before training, and audit again.",
    ),
    "joint-": _DEFENCE_ARTIFACT,
    "joint-cluster-jump": _EVASION,
    "prototype-": _DEFENCE_ARTIFACT,
    "prototype-membership": replace(_MEMBER, advice=_DEFENCE_ARTIFACT.advice),
    "prototype-shift": _EVASION,
    "shift-": Taxon(advice=_SHIFT_ADVICE),
    "l2r-": Taxon(advice="Compare with the uniform refit; keep the defence only where its gain is proven."),
    "defense-": Taxon(advice="Keep a defence only where its gain over its own control is proven and worth its cost."),
    "dp-claim": Taxon(
        advice="Recompute the guarantee from the mechanism's parameters; do not publish the claim as it is."
    ),
    "artifact-unsafe-pickle": _code("critical"),
    "artifact-pt2-code": _code("critical"),
    "artifact-odd-archive": _code("medium"),
    "artifact-known-holes": _code("medium"),
    "artifact-example-inputs": _leak("high"),
    "artifact-cached-adjacency": _leak("high"),
    "artifact-graph-tensor": _leak("high"),
    "artifact-author-paths": _leak("low"),
    "artifact-training-state": _leak("low"),
}

FINDING_IDS: Final = (
    "privacy-link-inversion",
    "privacy-link-stealing",
    "privacy-link-influence",
    "privacy-membership-node",
    "privacy-membership-graph",
    "privacy-extraction",
    "privacy-attribute",
    "privacy-explanation",
    "robustness-structure",
    "robustness-features",
    "robustness-injection",
    "robustness-poisoning",
    "joint-cluster-jump",
    "joint-live-needs-training-graph",
    "joint-small-prototype",
    "joint-table-leaks-edges",
    "prototype-inversion",
    "prototype-is-training-data",
    "prototype-membership",
    "prototype-shift",
    "prototype-source",
    "shift-gap",
    "shift-worst-group",
    "shift-below-constant",
    "shift-miscalibrated",
    "shift-silent-failure",
    "shift-inverted-confidence",
    "shift-class-mix",
    "shift-non-finite",
    "l2r-effect",
    "l2r-nothing-to-decorrelate",
    "defense-gain",
    "dp-claim",
    "artifact-unsafe-pickle",
    "artifact-pt2-code",
    "artifact-odd-archive",
    "artifact-known-holes",
    "artifact-example-inputs",
    "artifact-cached-adjacency",
    "artifact-graph-tensor",
    "artifact-author-paths",
    "artifact-training-state",
)
"""Every finding id that has a meaning here, whether or not its probe is built yet; plug-ins may bring others."""

# Effect of white-box, black-box and transfer evasion: the technique depends on what the adversary holds.
_EVASION_BY_ACCESS: Final[tuple[tuple[frozenset[str], str], ...]] = (
    (frozenset({"weights"}), "AML.T0043.000"),
    (frozenset({"queries", "posteriors"}), "AML.T0043.001"),
    (frozenset({"references"}), "AML.T0043.002"),
)
_ACCESS: Final[Mapping[str, str]] = {"queries": "AML.T0040", "posteriors": "AML.T0040", "weights": "AML.T0044"}


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


def access_ids(access: Iterable[str]) -> tuple[str, ...]:
    """ATLAS techniques of the access itself (AML.T0040 inference API, AML.T0044 full model), without repetition."""
    return tuple(dict.fromkeys(_ACCESS[word] for word in access if word in _ACCESS))


def advice_of(finding_id: str) -> str:
    """One line that says what helps; empty when the table knows nothing."""
    return taxon(finding_id).advice
