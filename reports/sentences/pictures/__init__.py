"""The picture of each finding, P: what was measured, in full, beside what it is compared with.

Each is a function of a result, its typed facts and the word for one item; a clause has no capital and no full stop.
"""

from __future__ import annotations

from reports.sentences.pictures.defences import costs_answers, effect, gain, live, member, small
from reports.sentences.pictures.general import nothing, other, plain, points, sides
from reports.sentences.pictures.privacy import attribute, copied, links, members, tells, times
from reports.sentences.pictures.robustness import (
    INSIDER,
    below_edge_free,
    budget_curve,
    certified,
    edited,
    jump,
    poisoned,
    prototype_edit,
    robust,
    single_nodes,
    worse_without,
)
from reports.sentences.pictures.shift import (
    below_constant,
    class_mix,
    class_mix_claim,
    detection,
    gap,
    heldout,
    hidden_edges,
    miscalibrated,
    more_or_less_sure,
    new_class,
    non_finite,
    prototypical,
    structural,
    unlike,
    worst_group,
    worth,
)

__all__ = [
    "INSIDER",
    "attribute",
    "below_constant",
    "below_edge_free",
    "budget_curve",
    "certified",
    "class_mix",
    "class_mix_claim",
    "copied",
    "costs_answers",
    "detection",
    "edited",
    "effect",
    "gain",
    "gap",
    "heldout",
    "hidden_edges",
    "jump",
    "links",
    "live",
    "member",
    "members",
    "miscalibrated",
    "more_or_less_sure",
    "new_class",
    "non_finite",
    "nothing",
    "other",
    "plain",
    "points",
    "poisoned",
    "prototype_edit",
    "prototypical",
    "robust",
    "sides",
    "single_nodes",
    "small",
    "structural",
    "tells",
    "times",
    "unlike",
    "worse_without",
    "worst_group",
    "worth",
]
