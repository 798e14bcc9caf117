"""What else an artefact holds because it serves by prototypes: means of very few nodes, ids of training nodes."""

from __future__ import annotations

from auditor.document import Control, Estimate, Measured, Metric, measured
from auditor.document.facts import Severity, Shipped
from auditor.targets.target import Target
from defenses.joint_cluster.layout import LEAST_OCCUPANCY, Prototypes, ServesByClusters, kept_ids

SMALL_PROTOTYPES = Metric("small_prototypes", "count", "higher", "artifact")
TRAINING_IDS = Metric("training_ids", "count", "higher", "artifact")


def shipped_rows(target: Target, shipped: Prototypes, small: str, live: str) -> tuple[Measured, ...]:
    """Prototypes of fewer than five nodes, where the artefact tells who they are of, and training ids in the file.

    Args:
        target: under audit.
        shipped: its prototypes.
        small: finding id of small prototypes.
        live: finding id of shipped training ids.
    """
    rows = [_small(shipped, small)] if shipped.sizes_known else []
    return (*rows, _ids(target, shipped, live))


def _small(shipped: Prototypes, finding: str) -> Measured:
    sizes = shipped.sizes[shipped.sizes > 0]  # a prototype of nobody here says nothing about anybody
    least, few, count = int(sizes.min()), int((sizes < LEAST_OCCUPANCY).sum()), int(sizes.numel())
    severity: Severity = "none" if not few else "high" if least == 1 else "medium"
    return measured(
        SMALL_PROTOTYPES,
        Estimate(value=float(few), n=count),
        finding=finding,
        controls=(Control(name=f"at least {LEAST_OCCUPANCY} nodes each", estimate=Estimate(value=0.0, n=count)),),
        judged=True,
        facts=Shipped(severity=severity, count=few, of=count, smallest=least, alone=int((sizes == 1).sum())),
    )


def _ids(target: Target, shipped: Prototypes, finding: str) -> Measured:
    assert isinstance(target.model, ServesByClusters)  # or it would have no prototypes
    train = target.split.train
    given, stored = (int(train[ids].sum()) for ids in (shipped.ids, kept_ids(target.model.in_mode("frozen"))))
    count = int(train.sum())
    beside = Control(name="the same fit with stored prototypes", estimate=Estimate(value=float(stored), n=count))
    return measured(
        TRAINING_IDS,
        Estimate(value=float(given), n=count),
        finding=finding,
        controls=(beside,),
        judged=True,
        facts=Shipped(severity="medium" if given else "none", count=given, of=count, mode=shipped.mode),
    )
