"""Every probe on a tiny target, on the CPU and elsewhere: what the tests of devices compare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import torch

from auditor.compare.arms import make_defense
from auditor.data.fields import Fields
from auditor.defense import DefenseTask
from auditor.document import Measured
from auditor.runner.bench import Bench
from auditor.runner.execute import TrainedCache
from auditor.runner.job import Job
from auditor.runner.plan import PlannedCell
from auditor.runner.record import Record
from auditor.runner.undisturbed import undisturbed
from auditor.targets.target import Target
from tests.toys import Silent, sbm_graph, toy_target

CASES = {
    "strata": ("gcn", ""),
    "corruption": ("gcn", ""),
    "graph-benefit": ("gcn", ""),
    "structural-split:properties=density,ratios=0.2/0.1/0.3/0.1/0.3": ("marked-gcn", ""),
    "ood-detection:draws=1": ("gcn", ""),
    "ood-detection:draws=1 of graphs": ("graph-gin", ""),
    "prototype-ood:pool=6,prototypes=2,graphs=30": ("graph-gin", ""),
    "left-out-class": ("marked-gcn", ""),
    "heldout-domain:column=source": ("marked-gcn", ""),
    "posterior-similarity": ("gcn", ""),
    "embedding-similarity": ("gcn", ""),
    "explanation-similarity": ("gcn", ""),
    "ensemble-white-box": ("gcn", ""),
    "ensemble-outputs": ("gcn", ""),
    "ensemble-all": ("gcn", ""),
    "influence": ("gcn", ""),
    "blackbox-graphmi:queries=81": ("gcn", ""),
    "extraction": ("gcn", ""),
    "attribute-inference": ("gcn", ""),
    "graphmi": ("gcn", ""),
    "graphmi:form=dense": ("gcn", ""),
    "structure-evasion": ("gcn", ""),
    "local-evasion": ("gcn", ""),
    "feature-evasion": ("gcn", ""),
    "black-box:max_queries=60": ("gcn", ""),
    "poisoning:cycles=1,losses=tanh,trainings=2": ("gcn", ""),
    "certificate:samples=300,choosing=100,draws=1": ("gcn", ""),
    "injection": ("gcn", ""),
    "membership-threshold": ("gcn", ""),
    "membership-lira:references=3": ("gcn", ""),
    "graph-membership": ("graph-gin", ""),
    "partition-leak": ("gcn", "joint-cluster"),
    "prototype-membership": ("gcn", "joint-cluster"),
    "prototype-edit": ("gcn", "joint-cluster"),
    "cluster-jump": ("gcn", "joint-cluster:prototypes=recluster"),
    "strata of gap": ("gcn", "gap"),
    "strata of temperature": ("gcn", "temperature"),
    "graphmi of gat": ("gat", ""),
    "structure-evasion of sage": ("sage", ""),
    "structure-evasion of graphs": ("graph-gin", ""),
    "black-box:max_queries=20,graphs=10 of graphs": ("graph-gin", ""),
    "certificate:parts=5 of graphs": ("graph-gin", ""),
    "feature-evasion:graphs=20 of graphs": ("graph-gin", ""),
    "injection:graphs=20 of graphs": ("graph-gin", ""),
    "corruption of graphs": ("graph-gin", ""),
}
"""What is run -> the model, and what defends it."""


@cache
def target_of(arch: str) -> Target:
    """A trained target, small enough for every probe; a marked one says where its items come from."""
    if arch.startswith("marked-"):
        target = toy_target(arch.removeprefix("marked-"), graph=sbm_graph(200, degree=4.0), epochs=30)
        test = target.split.test
        source = {"source": (test & (torch.cumsum(test.long(), 0) % 2 == 0)).float()}
        return replace(target, graph=replace(target.graph, fields=Fields(node=source)))
    graph = None if arch == "graph-gin" else sbm_graph(60, degree=4.0)
    return toy_target(arch, graph=graph, epochs=30)


def measured(case: str, device: str) -> tuple[Measured, ...]:
    """Every number of one case; defences are fitted anew on that device."""
    arch, defense = CASES[case]
    with undisturbed(1, device):
        target = target_of(arch).on(device)
        if defense:
            target = make_defense(defense).fit(target, DefenseTask(0, TrainedCache()))
        side = {"sensitive": 0} if target.task.level == "node" else {}
        job = Job(path="", only=case.partition(" of ")[0], profile="quick", side=side)
        bench = Bench.of(target, job)
        found = list(bench.run(bench.cells, Silent(), _Loud()))
    assert found
    for cell in found:
        assert cell.row.status == "ok", cell.row.reason
    return tuple(each for cell in found for each in cell.measured)


def pairs(one: tuple[Measured, ...], other: tuple[Measured, ...]) -> Iterator[tuple[str, float, float]]:
    """Name and both values of every number that two devices found."""
    assert [(m.finding, m.metric, m.subset) for m in one] == [(m.finding, m.metric, m.subset) for m in other]
    for a, b in zip(one, other, strict=True):
        name, value, other_value = f"{a.finding} {a.metric} {a.subset}", a.estimate.value, b.estimate.value
        assert (value is None) == (other_value is None), name  # too few to tell
        if value is not None and other_value is not None:
            yield name, value, other_value


class _Loud(Record):
    """A cell that breaks off shows where."""

    def trace(self, _planned: PlannedCell, text: str) -> None:
        raise AssertionError(text)
