"""The harness of what stored prototypes give away: who they were made of, and what else had to be shipped for them."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from auditor.document import Control, Estimate, Measured, Metric, ValidityRow, check, measured
from auditor.document.facts import Named
from auditor.errors import SkippedError
from auditor.evaluate.membership.harness import checked_claim
from auditor.outcomes import MembershipOutcome
from auditor.parameters import build, parameters
from auditor.probe import Cell, CellResult, Registered
from auditor.statistics.grouped_ranking import GroupedRanking
from auditor.statistics.unit_bootstrap import one_by_one, unit_bootstrap
from auditor.targets.target import Target
from auditor.view import grant_privacy
from defenses.joint_cluster.layout import LEAST_OCCUPANCY, Prototypes
from defenses.joint_cluster.probes.shipped import shipped_rows

AUC = Metric("auc", "auc", "higher", "ranking")
HEADROOM = Metric("headroom", "errors", "higher", "ranking")
"""(a − c) / (1 − c) of the AUC a of the attack and that c of a control: the share of errors that the prototypes avoid.
Nobody holds the control's prototypes as side knowledge, so that nothing is added up."""
DRAWS = {"quick": 5, "standard": 10, "full": 20}
REPLICATES = {"quick": 300, "standard": 1000, "full": 1000}
CONTROL = "prototypes of random non-members"
FEW = 50


@parameters
class Settings:
    """Parameters of the harness; None means: by the profile.

    Attributes:
        draws: sets of non-members that the control's prototypes are made of.
        replicates: of the bootstrap.
    """

    draws: Annotated[int, Field(ge=2)] | None = None
    replicates: Annotated[int, Field(ge=50)] | None = None


def evaluate(cell: Cell) -> CellResult:
    """Scores training nodes against others of their cluster, by the shipped prototypes and by the control's.

    Raises:
        ConfigError: a parameter that cannot be used.
        EvaluationError: the attack's scores are not one finite number a node.
        SkippedError: the artefact ships no prototypes, or no cluster holds a training node and enough others.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    target = cell.target
    z = target.clean_embeddings()
    shipped = Prototypes.of(target.model, target.split.train, z)
    if shipped is None:
        raise SkippedError(f"{target.name} ships no prototypes")
    attack = cell.attacks[0]
    trial = _Trial.of(target, shipped.place, shipped.sizes)
    draws = settings.draws or DRAWS[cell.profile]
    own = _claim(cell, attack, target)
    beside = []
    for draw in range(draws):
        cell.tick(draw / draws, "prototypes of non-members")
        made, left = trial.made_of_others(shipped, z, cell.rng("draw", str(draw)))
        control = replace(target, model=_with_prototypes(target.model, made))
        beside.append((_claim(cell, attack, control).scores, left))
    replicates = settings.replicates or REPLICATES[cell.profile]
    membership, small, live = cell.probe.findings
    few = trial.of_clusters(torch.nonzero(trial.sizes < LEAST_OCCUPANCY).flatten()) if shipped.sizes_known else None
    rows = []
    for v, variant in enumerate(own.variant):
        mine, theirs = own.scores[v], [(scores[v], left) for scores, left in beside]
        for part, finding, where in ((trial, membership, ""), (few, small, f", occupancy below {LEAST_OCCUPANCY}")):
            if part is not None:
                rng = cell.rng("bootstrap")  # the same resamples for every score
                judged, subset = part is trial, variant + where
                rows += _measure(part, mine, theirs, rng, replicates, finding=finding, subset=subset, judged=judged)
    return CellResult(
        access=tuple(sorted(attack.access)),
        measured=(*rows, *shipped_rows(target, shipped, small, live)),
        validity=(_power_row(trial, rows[1]),),
        params={"draws": draws, "clusters": shipped.values.shape[0], "clusters_left_out": trial.left_out},
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """Whom the scores are judged on.

    Attributes:
        items: training nodes and others (neither training nor validation) of the clusters that are judged, int64 [n].
        member: which of them are training nodes, bool [n].
        cluster: of each, int64 [n].
        sizes: nodes behind each prototype, int64 [K].
        left_out: clusters without a training node, or without more others than the prototype has nodes.
    """

    items: Tensor
    member: Tensor
    cluster: Tensor
    sizes: Tensor
    left_out: int

    @classmethod
    def of(cls, target: Target, place: Tensor, sizes: Tensor) -> _Trial:
        """Every cluster in which the control can be made and somebody is left to judge."""
        split, count = target.split, sizes.shape[0]
        inside = place >= 0
        masks = (split.train & inside, ~(split.train | split.val) & inside)
        train, others = (torch.bincount(place[mask], minlength=count) for mask in masks)
        judged = (train > 0) & (others > sizes)
        if not bool(judged.any()):
            raise SkippedError("no cluster holds a training node and more other nodes than its prototype has")
        items = torch.nonzero(inside & ~split.val & judged[place.clamp_min(0)]).flatten()
        return cls(items, split.train[items], place[items], sizes, int((~judged).sum()))

    def of_clusters(self, clusters: Tensor) -> _Trial | None:
        """Some clusters of it; None when none of them is judged."""
        kept = torch.isin(self.cluster, clusters)
        if not bool(kept.any()):
            return None
        return replace(self, items=self.items[kept], member=self.member[kept], cluster=self.cluster[kept])

    def made_of_others(self, shipped: Prototypes, z: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Prototypes of as many random non-members of the same cluster, [K, d]; and who was not drawn, bool [N].

        What the shipped ones hold beside their means stays in them: noise hides nobody from a control without it.
        """
        made, left = shipped.values.clone(), torch.ones(z.shape[0], dtype=torch.bool)
        for k in torch.unique(self.cluster).tolist():
            pool = self.items[(self.cluster == k) & ~self.member].numpy()
            drawn = torch.from_numpy(rng.choice(pool, size=max(int(self.sizes[k]), 1), replace=False))
            made[k], left[drawn] = shipped.rest[k] + z[drawn].mean(dim=0), False
        return made, left


def _claim(cell: Cell, attack: Registered, target: Target) -> MembershipOutcome:
    """What the attack says on a view of `target`, its scores in float64."""
    claim = attack.run(grant_privacy(target, attack.access, cell.side, cell.rng("view")), cell.attempt(attack))
    return checked_claim(claim, attack.id, target.graph.num_nodes)


def _measure(
    trial: _Trial,
    own: Tensor,
    beside: Sequence[tuple[Tensor, Tensor]],
    rng: np.random.Generator,
    replicates: int,
    *,
    finding: str,
    subset: str,
    judged: bool,
) -> list[Measured]:
    """Headroom and AUC by the shipped prototypes beside the control's and chance, on the same nodes and resamples.

    A control may lie below chance, where training nodes are the far ones: the attack has to beat both.
    """
    member, cluster, items = trial.member.numpy(), trial.cluster.numpy(), trial.items
    shipped = GroupedRanking(own[items].numpy(), member, cluster)
    made = [GroupedRanking(scores[items].numpy(), member, cluster) for scores, _ in beside]
    left = [kept[items].numpy() | member for _, kept in beside]

    def areas(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        theirs = [ranking.auc(weights * kept) for ranking, kept in zip(made, left, strict=True)]
        return np.array([[np.mean([shipped.auc(weights * kept) for kept in left]), np.mean(theirs), 0.5]])

    members, others = int(member.sum()), int((~member).sum())
    found = unit_bootstrap(member, one_by_one(areas), rng=rng, replicates=replicates)
    least = 1 / (members * others)
    n, picks = len(member), np.eye(3)
    value, control = (_estimate(found.interval(0, pick, logit=True, least=least), n) for pick in picks[:2])
    named = ((CONTROL, control), ("chance", Estimate(value=0.5)))
    controls = [
        Control(name=name, estimate=each, contrast=_estimate(found.difference(0, picks[0] - picks[c]), n))
        for c, (name, each) in enumerate(named, 1)
    ]
    avoided = [_estimate(found.errors_avoided(0, picks[0], picks[c], least=least), n) for c in (1, 2)]
    room = [
        Control(name=name, estimate=Estimate(value=0.0), contrast=h, own=h)
        for (name, _), h in zip(named, avoided, strict=True)
    ]
    strongest = min(avoided, key=lambda h: h.value or 0.0)
    reached = {"with_prototypes": value.value, "without": max(control.value or 0.5, 0.5)}
    facts = Named(numbers={"members": members, "others": others, **reached})
    row = partial(measured, finding=finding, subset=subset, facts=facts)
    return [row(HEADROOM, strongest, controls=room, judged=judged), row(AUC, value, controls=controls)]


def _estimate(found: tuple[float, float, float], n: int) -> Estimate:
    """Without an interval where too few replicates have a value."""
    value, lo, hi = found
    return Estimate(value=value, n=n) if math.isnan(lo) or math.isnan(hi) else Estimate(value=value, lo=lo, hi=hi, n=n)


def _with_prototypes(model: nn.Module, values: Tensor) -> nn.Module:
    """A copy that stores other prototypes."""
    other = copy.deepcopy(model)
    other.register_buffer("prototypes", values)
    return other


def _power_row(trial: _Trial, row: Measured) -> ValidityRow:
    members = int(trial.member.sum())
    half = None if row.contrast is None else row.contrast.half_width
    shown = "no interval" if half is None else f"half-width of the difference {half:.3f}"
    return check(
        "power",
        "warning",
        members >= FEW and half is not None and half <= 0.1,
        f"{members} training nodes judged against {trial.items.numel() - members} others, {shown}; "
        f"{trial.left_out} clusters left out",
    )
