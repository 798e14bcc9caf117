"""The harness of what stored prototypes give away: who they were made of, and what else had to be shipped for them."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auditor.audit import Advantage, Control, Interval, Measurement, ValidityRow
from auditor.errors import ConfigError, EvaluationError, SkippedError
from auditor.probe import Attack, Cell, MembershipOutcome, Result, read_settings
from auditor.statistics.grouped_ranking import GroupedRanking
from auditor.statistics.node_bootstrap import Replicates
from auditor.targets.target import Target
from auditor.view import grant_privacy
from defenses.joint_cluster.layout import LEAST_OCCUPANCY, Prototypes
from defenses.joint_cluster.probes.shipped import shipped_rows

DRAWS = {"quick": 5, "standard": 10, "full": 20}
REPLICATES = {"quick": 300, "standard": 1000, "full": 1000}
BY_PROFILE = -1
CONTROL = "prototypes of random non-members"
FEW = 50


@dataclass(frozen=True, slots=True)
class Settings:
    """Parameters of the harness; -1 means: by the profile.

    Attributes:
        draws: sets of non-members that the control's prototypes are made of.
        replicates: of the bootstrap.
    """

    draws: int = BY_PROFILE
    replicates: int = BY_PROFILE

    def __post_init__(self) -> None:
        for name, least in (("draws", 2), ("replicates", 50)):
            number = getattr(self, name)
            if number != BY_PROFILE and number < least:
                raise ConfigError(f"prototypes: {name} is {number}; expected at least {least}.")


def evaluate(cell: Cell) -> Result:
    """Scores training nodes against others of their cluster, by the shipped prototypes and by the control's.

    Raises:
        ConfigError: a parameter that cannot be used.
        EvaluationError: the attack's scores are not one finite number a node.
        SkippedError: the artefact ships no prototypes, or no cluster holds a training node and enough others.
    """
    settings = read_settings(Settings, cell.params, owner=cell.probe.id)
    target = cell.target
    z = target.clean_embeddings()
    shipped = Prototypes.of(target.model, target.split.train, z)
    if shipped is None:
        raise SkippedError(f"{target.name} ships no prototypes")
    attack = cell.attacks[0]
    trial = _Trial.of(target, shipped.place, shipped.sizes)
    draws = DRAWS[cell.profile] if settings.draws == BY_PROFILE else settings.draws
    own = _claim(cell, attack, target)
    beside = []
    for draw in range(draws):
        cell.tick(draw / draws, "prototypes of non-members")
        made, left = trial.made_of_others(shipped, z, cell.rng("draw", str(draw)))
        control = replace(target, model=_with_prototypes(target.model, made), _clean={})
        beside.append((_claim(cell, attack, control).scores, left))
    replicates = REPLICATES[cell.profile] if settings.replicates == BY_PROFILE else settings.replicates
    membership, small, live = cell.probe.findings
    few = trial.of_clusters(torch.nonzero(trial.sizes < LEAST_OCCUPANCY).flatten()) if shipped.sizes_known else None
    rows = []
    for v, variant in enumerate(own.variant):
        mine, theirs = own.scores[v], [(scores[v], left) for scores, left in beside]
        for part, finding, where in ((trial, membership, ""), (few, small, f", occupancy below {LEAST_OCCUPANCY}")):
            if part is not None:
                rng = cell.rng("bootstrap")  # the same resamples for every score
                row = _measure(part, mine, theirs, rng, replicates, finding=finding, variant=variant)
                rows.append(row.model_copy(update={"subset": variant + where, "primary": part is trial}))
    return Result(
        access=tuple(sorted(attack.access)),
        measurements=(*rows, *shipped_rows(target, shipped, small, live)),
        validity=(_power_row(cell, trial, rows[0]),),
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


def _claim(cell: Cell, attack: Attack, target: Target) -> MembershipOutcome:
    """What the attack says on a view of `target`, its scores in float64."""
    claim = attack.run(grant_privacy(target, attack.access, cell.side, cell.rng("view")), cell.task(attack))
    if not isinstance(claim, MembershipOutcome):
        raise EvaluationError(f"{attack.id} returned a {type(claim).__name__}; this harness takes a MembershipOutcome")
    scores, wanted = claim.scores.double(), (len(claim.variant), target.graph.num_nodes)
    if scores.shape != wanted or not bool(torch.isfinite(scores).all()):
        raise EvaluationError(f"{attack.id}: scores {list(scores.shape)}; expected finite ones, {list(wanted)}.")
    return replace(claim, scores=scores)


def _measure(
    trial: _Trial,
    own: Tensor,
    beside: Sequence[tuple[Tensor, Tensor]],
    rng: np.random.Generator,
    replicates: int,
    *,
    finding: str,
    variant: str,
) -> Measurement:
    """AUC by the shipped prototypes beside the control's and beside chance, on the same nodes and resamples of nodes.

    A control may lie below chance, where training nodes are the far ones: the attack has to beat both.
    """
    member, cluster, items = trial.member.numpy(), trial.cluster.numpy(), trial.items
    shipped = GroupedRanking(own[items].numpy(), member, cluster)
    controls = [GroupedRanking(scores[items].numpy(), member, cluster) for scores, _ in beside]
    left = [kept[items].numpy() | member for _, kept in beside]

    def areas(weights: NDArray[np.float64]) -> tuple[float, float, float]:
        theirs = [ranking.auc(weights * kept) for ranking, kept in zip(controls, left, strict=True)]
        return float(np.mean([shipped.auc(weights * kept) for kept in left])), float(np.mean(theirs)), 0.5

    sides = [np.flatnonzero(member), np.flatnonzero(~member)]
    resampled = np.empty((replicates, 1, 3))
    for j in range(replicates):  # members and others apart
        weights = np.zeros(len(member))
        for side in sides:
            weights[side] = rng.multinomial(len(side), np.full(len(side), 1 / len(side)))
        resampled[j, 0] = areas(weights)
    # Units are resampled, not pairs: there is no noise of single pairs to take off.
    found = Replicates(np.array([areas(np.ones(len(member)))]), resampled, np.zeros((10, 1, 3)))
    least = 1 / (len(sides[0]) * len(sides[1]))
    (value, *ci), (control, *control_ci) = (found.interval(0, pick, logit=True, least=least) for pick in np.eye(3)[:2])
    named = (Control(name=CONTROL, value=control, ci=_interval(control_ci)), Control(name="chance", value=0.5))
    gains = [found.difference(0, np.array(contrast)) for contrast in ([1.0, -1.0, 0.0], [1.0, 0.0, -1.0])]
    strongest = min(range(2), key=lambda c: gains[c][0])
    more, _, hi = gains[strongest]
    bounds = (min(gain[1] for gain in gains), hi)
    text = (
        f"the {variant} distance to the prototype" if variant != "distance" else "the distance to the prototype"
    ) + (
        f" tells training nodes from others of their cluster at an AUC of {value:.3f}, {more:+.3f} "
        f"[{bounds[0]:+.3f}, {bounds[1]:+.3f}] beyond {named[strongest].name}"
    )
    return Measurement(
        name="auc",
        finding=finding,
        value=value,
        ci=_interval(ci),
        control=named[strongest],
        controls=named,
        advantage=Advantage(value=more, ci=_interval(bounds)),
        n=len(member),
        direction="higher_is_worse",
        scale="auc",
        text=text.replace("-0", "−0"),
        notes={"members": len(sides[0]), "others": len(sides[1])},
    )


def _interval(bounds: Sequence[float]) -> Interval:
    """Open where too few replicates have a value."""
    lo, hi = bounds
    return Interval() if math.isnan(lo) or math.isnan(hi) else Interval(lo=lo, hi=hi)


def _with_prototypes(model: nn.Module, values: Tensor) -> nn.Module:
    """A copy that stores other prototypes."""
    other = copy.deepcopy(model)
    other.register_buffer("prototypes", values)
    return other


def _power_row(cell: Cell, trial: _Trial, row: Measurement) -> ValidityRow:
    members = int(trial.member.sum())
    ci = row.advantage.ci if row.advantage is not None else Interval()
    half = None if ci.lo is None or ci.hi is None else (ci.hi - ci.lo) / 2
    shown = "no interval" if half is None else f"half-width of the difference {half:.3f}"
    return ValidityRow(
        id="power",
        kind="warning",
        status="pass" if members >= FEW and half is not None and half <= 0.1 else "warn",
        evidence=f"{members} training nodes judged against {trial.items.numel() - members} others, {shown}; "
        f"{trial.left_out} clusters left out",
        touches=(cell.probe.id,),
    )
