"""What a finding means elsewhere: MITRE ATLAS, OWASP ML Top 10, CWE, NIST AI 100-2. A probe's line names its own.

A blank is a blank: nothing is filled in for looks.

Source: MITRE ATLAS 5.6.0; OWASP Machine Learning Security Top 10, 2023 draft; NIST AI 100-2. CWE numbers are our
reading.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_WHITE_BOX, _BLACK_BOX = "AML.T0043.000", "AML.T0043.001"


@dataclass(frozen=True, slots=True)
class Taxon:
    """The place of a finding in each list.

    Attributes:
        atlas: MITRE ATLAS techniques.
        owasp: OWASP ML Top 10 entries.
        cwe: CWE numbers.
        nist: attack class of NIST AI 100-2.
    """

    atlas: tuple[str, ...] = ()
    owasp: tuple[str, ...] = ()
    cwe: tuple[int, ...] = ()
    nist: str = ""

    def ids(self, access: Iterable[str] = ()) -> tuple[str, ...]:
        """Taxonomy ids in the order ATLAS, OWASP ML, CWE, for an adversary who held `access`.

        Without the weights, adversarial data is crafted by the black-box technique where answers were held; in every
        other case by the white-box one, the strongest adversary.
        """
        held = set(access)
        crafted = _BLACK_BOX if "posteriors" in held and "weights" not in held else _WHITE_BOX
        atlas = (crafted if id_ == _WHITE_BOX else id_ for id_ in self.atlas)
        return (*atlas, *self.owasp, *(f"CWE-{number}" for number in self.cwe))


NOTHING: Final = Taxon()
LINKS: Final = Taxon(("AML.T0024.001",), ("ML03",), (359,), "data reconstruction")
MEMBERSHIP: Final = Taxon(("AML.T0024.000",), ("ML04",), (359,), "membership inference")
ARTEFACT: Final = Taxon(("AML.T0024",), ("ML03",), (359,), "data reconstruction")
EVASION: Final = Taxon((_WHITE_BOX, "AML.T0015"), ("ML01",), (), "evasion")
