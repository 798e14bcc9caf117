"""What the document says of a loaded target and of the machine: rows, never the model."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch_geometric

from auditor import registry
from auditor.document import NONE, Estimate, TargetRow, TaskRow, ValidityRow
from auditor.statistics.intervals import wilson
from auditor.targets.device import CPU, described
from auditor.targets.target import Target
from auditor.targets.validity import validity_rows


def check_validity(target: Target, probes: Iterable[str]) -> tuple[ValidityRow, ...]:
    """The pre-flight rows, made once per target with a fixed seed: a rerun gives the same bytes.

    Each says which of `probes` (ids) it touches: those whose registry line lists it; all, where no line lists it.
    """
    known, asked = registry.probes(), list(dict.fromkeys(probes))
    listed = {id_ for entry in known.values() for id_ in entry.touches}

    def touched(row: ValidityRow) -> tuple[str, ...] | None:
        return tuple(probe for probe in asked if row.id in known[probe].touches) if row.id in listed else None

    rows = validity_rows(target, np.random.default_rng(0))
    return tuple(row.model_copy(update={"touches": touched(row)}) for row in rows)


def target_row(target: Target) -> TargetRow:
    """The target as the document shows it: sizes, capabilities, clean accuracy with interval and constant predictor."""
    graph, split = target.graph, target.split
    correct = target.task.correct(target.clean_logits(), graph.y)[split.test]
    n, right = int(correct.numel()), int(correct.sum())
    clean = None
    if split.is_known:
        lo, hi = wilson(right, n)
        clean = Estimate(value=right / n, lo=lo, hi=hi, n=n)
    train, val, test = split.sizes
    return TargetRow(
        name=target.name,
        task=TaskRow(level=target.task.level, mode=target.task.mode),
        kind=target.kind,
        digest=target.digest,
        capabilities=tuple(sorted(target.capabilities)),
        nodes=graph.num_nodes,
        edges=graph.num_edges,
        graphs=1 if graph.batch is None else graph.num_items,
        features=graph.num_features,
        classes=target.num_classes,
        defense=NONE if target.defense is None else target.defense.spec,
        guarantee=None if target.defense is None else target.defense.guarantee,
        split={"spec": split.spec, "seed": split.seed, "train": train, "val": val, "test": test},
        verified=target.verified,
        fixed_nodes=target.fixed_nodes,
        clean=clean,
        # the best constant guess on the very test items
        constant_predictor=target.task.constant_quality(graph.y[split.test]) if split.is_known else None,
        provenance=dict(target.provenance),
    )


def environment(device: str = CPU) -> dict[str, Any]:
    """Versions, threads and device: what a rerun must share to give the same bytes."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_geometric": torch_geometric.__version__,
        "platform": f"{sys.platform}-{platform.machine()}",
        "threads": torch.get_num_threads(),
        "device": described(device),
    }
