"""What a sentence about a result needs beyond its own numbers: one typed record for each kind of harness.

A record holds counts and Estimates, never prose.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from auditor.document.facts.claims import Accounted, Bound, ClaimFacts, Named
from auditor.document.facts.defences import Decorrelation, RepairedNode, RepairFacts, RepairRun, Shipped
from auditor.document.facts.privacy import Attribute, Copy, Draws, LinkFacts, LinkList, LowFpr, MemberFacts, Rival, Twin
from auditor.document.facts.robustness import (
    BudgetCurve,
    Certified,
    EditedData,
    NoEdgeFree,
    Poisoned,
    Robust,
    SingleNodes,
)
from auditor.document.facts.severities import SEVERITIES, Severity
from auditor.document.facts.shift import (
    Confidence,
    Damage,
    Detection,
    Domain,
    Group,
    NewClass,
    Prototypical,
    Unlike,
    Worth,
)

__all__ = [
    "SEVERITIES",
    "Accounted",
    "Attribute",
    "Bound",
    "BudgetCurve",
    "Certified",
    "ClaimFacts",
    "Confidence",
    "Copy",
    "Damage",
    "Decorrelation",
    "Detection",
    "Domain",
    "Draws",
    "EditedData",
    "Facts",
    "Group",
    "LinkFacts",
    "LinkList",
    "LowFpr",
    "MemberFacts",
    "Named",
    "NewClass",
    "NoEdgeFree",
    "Poisoned",
    "Prototypical",
    "RepairFacts",
    "RepairRun",
    "RepairedNode",
    "Rival",
    "Robust",
    "Severity",
    "Shipped",
    "SingleNodes",
    "Twin",
    "Unlike",
    "Worth",
]

Facts = Annotated[
    LinkFacts
    | MemberFacts
    | Copy
    | Attribute
    | Robust
    | SingleNodes
    | EditedData
    | BudgetCurve
    | Certified
    | Poisoned
    | Group
    | Confidence
    | Damage
    | Worth
    | Domain
    | Detection
    | Unlike
    | Prototypical
    | NewClass
    | Shipped
    | Decorrelation
    | Named
    | ClaimFacts,
    Field(discriminator="kind"),
]
