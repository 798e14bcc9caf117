"""Every built-in probe and attack of the three families. Imports nothing heavy."""

from attacks.privacy.table import TABLE as PRIVACY
from attacks.robustness.table import TABLE as ROBUSTNESS
from attacks.shift.table import TABLE as SHIFT
from auditor.registry import Table

_FAMILIES = (PRIVACY, ROBUSTNESS, SHIFT)
TABLE = Table(
    probes=tuple(probe for family in _FAMILIES for probe in family.probes),
    entries=tuple(entry for family in _FAMILIES for entry in family.entries),
)
