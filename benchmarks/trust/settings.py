"""What the benchmark is made of: fixed in a commit before the method was tuned, and not to be changed to suit it."""

from __future__ import annotations

from typing import Final

PROBES: Final = ("posterior-similarity", "graphmi")
"""The link probes. Membership is left out: the null models are trained on members, so that it may truly leak."""
POLICY: Final = "standard"
SEEDS: Final = {"null": 4_101, "planted": 4_202, "coverage": 4_303, "ordinary": 0, "probes": 4_404}
"""First word of every generator of a part; the others are the place of the kind in its list and the run. An ordinary
model is trained with the sum of its word and its training seed."""

NULL_RUNS: Final = {"quick": 40, "standard": 40, "full": 10}
"""Runs over all kinds of null together. `full` is run less often for its cost; the goal is the same share."""
PLANTED_RUNS: Final = {"quick": 20, "standard": 20, "full": 5}
"""Runs of each kind of planted leak."""
PROBE_RUNS: Final = {"quick": 20, "standard": 20, "full": 5}
"""Runs of each kind of model for influence queries and membership."""
COVERAGE_DRAWS: Final = 600

NODES: Final = 400
"""79,800 pairs: enough non-edges for the rate at .1 % false alarms in every profile."""
FEW_NODES: Final = 240
CLASSES: Final = 4
MANY_CLASSES: Final = 8
DEGREES: Final = (4.0, 8.0, 16.0)
"""Mean degree of a null's graph: that of run i is the (i mod 3)-th."""
PLANTED_DEGREE: Final = 6.0
CODE_CLASSES: Final = 32
CODE_DEGREE: Final = 4.0
CODE_WEIGHT: Final = 4.0
"""A code has as many numbers as there are classes, and is lost among the codes of the other neighbours: these make it
large enough to be a leak of more than half of what is left to know (measured before any audit of these models)."""
TRAIN_SHARE: Final = 0.4
HIDDEN: Final = 16

MEMBER_SHARE: Final = 0.5
MEMBER_FEATURES: Final = 64
"""Of half of the nodes as members, and noise in so many columns for them to be known by."""

RECIPE: Final = {"optimizer": "adam", "lr": 0.01, "weight_decay": 5e-4, "epochs": 100}
OVERFIT: Final = {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.0, "epochs": 300}
OVERFIT_HIDDEN: Final = 64
OVERFIT_SHARE: Final = 0.8
