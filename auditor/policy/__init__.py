"""The only judge: bands, limits, seeds and multiplicity turn numbers into statuses and codes. Imports no torch."""

from auditor.policy.gate import gate
from auditor.policy.judge import gates, judge
from auditor.policy.rules import Policy, Suppress
from auditor.policy.verdict import coverage_of, verdict_of

__all__ = ["Policy", "Suppress", "coverage_of", "gate", "gates", "judge", "verdict_of"]
