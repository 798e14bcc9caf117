"""What a finding means elsewhere: MITRE ATLAS, OWASP ML Top 10, OWASP AISVS, CWE, NIST AI 100-2, EDPB Opinion 28/2024.

A probe's line names its own. A blank is a blank: nothing is filled in for looks.

Source: MITRE ATLAS 5.6.0; OWASP Machine Learning Security Top 10, 2023 draft; OWASP AISVS 1.0; NIST AI 100-2; EDPB
Opinion 28/2024, paragraph 43. CWE numbers are our reading, and so is which requirement of AISVS a finding speaks to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Likelihood = Literal["extraction", "queries"]
"""The two likelihoods of EDPB Opinion 28/2024 for personal data: direct extraction from the model, and queries."""

_WHITE_BOX, _BLACK_BOX = "AML.T0043.000", "AML.T0043.001"
_OUTPUTS = "C11.3.2"
_ANSWERS = frozenset({"posteriors", "embeddings", "explanations", "queries", "own-queries"})
ACCESS: Final[Mapping[str, str]] = {
    "weights": "AML.T0044",
    "posteriors": "AML.T0040",
    "embeddings": "AML.T0040",
    "queries": "AML.T0040",
    "own-queries": "AML.T0040",
    "explanations": "AML.T0040",
}
"""MITRE ATLAS techniques of AI model access, by the word of the access that they give."""


@dataclass(frozen=True, slots=True)
class Taxon:
    """The place of a finding in each list.

    Attributes:
        atlas: MITRE ATLAS techniques.
        owasp: OWASP ML Top 10 entries.
        cwe: CWE numbers.
        nist: attack class of NIST AI 100-2.
        aisvs: requirements or sections of OWASP AISVS 1.0 that it speaks to.
        tells_of_data: whether it is about what can be learned of the data that a model was trained on.
    """

    atlas: tuple[str, ...] = ()
    owasp: tuple[str, ...] = ()
    cwe: tuple[int, ...] = ()
    nist: str = ""
    aisvs: tuple[str, ...] = ()
    tells_of_data: bool = False

    def ids(self, access: Iterable[str] = ()) -> tuple[str, ...]:
        """Taxonomy ids in the order ATLAS, OWASP ML, CWE, for an adversary who held `access`."""
        return (*self.techniques(access), *self.owasp, *(f"CWE-{number}" for number in self.cwe))

    def techniques(self, access: Iterable[str] = ()) -> tuple[str, ...]:
        """MITRE ATLAS techniques of an adversary who held `access`.

        Without the weights, adversarial data is crafted by the black-box technique where answers were held; in every
        other case by the white-box one, the strongest adversary.
        """
        crafted = _BLACK_BOX if _asks(access) else _WHITE_BOX
        return tuple(crafted if id_ == _WHITE_BOX else id_ for id_ in self.atlas)

    def requirements(self, access: Iterable[str] = ()) -> tuple[str, ...]:
        """What of OWASP AISVS 1.0 it speaks to; what is asked of answers only where answers were what was held."""
        return tuple(id_ for id_ in self.aisvs if id_ != _OUTPUTS or _asks(access))

    def likelihood(self, access: Iterable[str] = ()) -> Likelihood | None:
        """Which likelihood of EDPB Opinion 28/2024 it speaks to, for an adversary who held `access`.

        Whoever has answers and no file asks; anybody else takes from what was handed out. None where it is not about
        the training data.
        """
        if not self.tells_of_data:
            return None
        return "queries" if _asks(access) else "extraction"


def _asks(access: Iterable[str]) -> bool:
    """Whether answers are all of the model that an adversary holds."""
    held = set(access)
    return "weights" not in held and not _ANSWERS.isdisjoint(held)


NOTHING: Final = Taxon()
LINKS: Final = Taxon(
    ("AML.T0024.001",), ("ML03",), (359,), "data reconstruction", aisvs=("C11.2", _OUTPUTS), tells_of_data=True
)
MEMBERSHIP: Final = Taxon(
    ("AML.T0024.000",), ("ML04",), (359,), "membership inference", aisvs=("C11.2.5", _OUTPUTS), tells_of_data=True
)
ARTEFACT: Final = Taxon(("AML.T0024",), ("ML03",), (359,), "data reconstruction", aisvs=("C11.2",), tells_of_data=True)
ATTRIBUTE: Final = LINKS
EXTRACTION: Final = Taxon(("AML.T0024.002",), ("ML05",), (), "model extraction", aisvs=(_OUTPUTS,))
EVASION: Final = Taxon((_WHITE_BOX, "AML.T0015"), ("ML01",), (), "evasion", aisvs=("C11.1.3",))
POISONING: Final = Taxon(("AML.T0020",), ("ML02",), (), "poisoning", aisvs=("C11.1.3",))
CALIBRATION: Final = Taxon(aisvs=("C11.2.3",))
GUARANTEE: Final = Taxon(aisvs=("C11.2.4",), tells_of_data=True)
