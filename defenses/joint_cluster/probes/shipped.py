"""What else an artefact holds because it serves by prototypes: means of very few nodes, ids of training nodes."""

from __future__ import annotations

from auditor.audit import Control, Measurement
from auditor.targets.target import Target
from defenses.joint_cluster.layout import LEAST_OCCUPANCY, Prototypes, ServesByClusters, kept_ids


def shipped_rows(target: Target, shipped: Prototypes, small: str, live: str) -> tuple[Measurement, ...]:
    """Prototypes of fewer than five nodes, where the artefact tells who they are of, and training ids in the file.

    Args:
        target: under audit.
        shipped: its prototypes.
        small: finding id of small prototypes.
        live: finding id of shipped training ids.
    """
    rows = [_small(shipped, small)] if shipped.sizes_known else []
    return (*rows, _ids(target, shipped, live))


def _small(shipped: Prototypes, finding: str) -> Measurement:
    sizes = shipped.sizes[shipped.sizes > 0]  # a prototype of nobody here says nothing about anybody
    least, few = int(sizes.min()), int((sizes < LEAST_OCCUPANCY).sum())
    what = f"the smallest of {sizes.numel()} prototypes is the mean of {least} nodes"
    if least == 1:
        what = f"{int((sizes == 1).sum())} of {sizes.numel()} prototypes are the embedding of one node"
    return Measurement(
        name="small_prototypes",
        finding=finding,
        value=float(few),
        ci=None,
        control=Control(name=f"at least {LEAST_OCCUPANCY} nodes each", value=0.0),
        advantage=None,
        n=int(sizes.numel()),
        direction="higher_is_worse",
        scale="artifact",
        primary=True,
        text=f"{what}; {few} stand for fewer than {LEAST_OCCUPANCY}",
        notes={"severity": "none" if not few else "high" if least == 1 else "medium", "smallest_occupancy": least},
    )


def _ids(target: Target, shipped: Prototypes, finding: str) -> Measurement:
    assert isinstance(target.model, ServesByClusters)  # or it would have no prototypes
    train = target.split.train
    given, stored = (int(train[ids].sum()) for ids in (shipped.ids, kept_ids(target.model.in_mode("frozen"))))
    what = f"the file holds the ids of {given} of {int(train.sum())} training nodes"
    if given:
        what += f": {shipped.mode} prototypes are means over them at every answer, on a graph that contains them"
    return Measurement(
        name="training_ids",
        finding=finding,
        value=float(given),
        ci=None,
        control=Control(name="the same fit with stored prototypes", value=float(stored)),
        advantage=None,
        n=int(train.sum()),
        direction="higher_is_worse",
        scale="artifact",
        primary=True,
        text=what,
        notes={"severity": "medium" if given else "none", "mode": shipped.mode},
    )
