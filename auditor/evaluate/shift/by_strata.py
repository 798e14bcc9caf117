"""The harness of strata: that of `harness`, without its parameters, which are about corrupted features."""

from __future__ import annotations

from auditor.evaluate.shift.harness import evaluate as evaluate
from auditor.parameters import parameters


@parameters
class Settings:
    """It has none: how items are cut is the attack's."""
