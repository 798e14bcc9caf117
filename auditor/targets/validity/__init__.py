"""The pre-flight: would an audit of this target mean anything? One row per question.

Kinds: `integrity` spoils everything it touches, `strength` only a pass, `warning` only warns. Thresholds are read on
the scale s = max(1, max |logits|). See docs/methods/target-checks.md.
"""

from auditor.targets.validity.rows import validity_rows

__all__ = ["validity_rows"]
