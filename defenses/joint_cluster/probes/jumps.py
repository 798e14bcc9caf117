"""Whether edges at a node move it to another cluster, beyond what an unstable partition does by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from auditor.document import Control, Estimate, Measured, Metric, measured
from auditor.document.facts import Named
from auditor.errors import EvaluationError, SkippedError
from auditor.evaluate.robustness.verification import Verifier
from auditor.outcomes import FlipSet
from auditor.parameters import build, parameters
from auditor.probe import Cell, CellResult
from auditor.statistics.intervals import paired_bootstrap, student_t, wilson
from auditor.targets.target import Target
from defenses.joint_cluster.layout import ClusterLayout, ServesByClusters
from defenses.joint_cluster.matching import match_clusters
from defenses.joint_cluster.probes.clusters import answer, clusters_of, collect

Floats = NDArray[np.float64]
JUMP_RATE = Metric("jump_rate", "share", "higher", "robustness")
FLIPS_GIVEN_JUMP = Metric("flips_given_jump", "share", "higher")
MEDIAN_EDGES = Metric("median_edges", "count", "lower")
ONE_EDGE_MOVES = Metric("one_edge_moves", "share", "higher")
ONE_EDGE_LOSS = Metric("one_edge_loss", "share", "higher")


@parameters
class Settings:
    """Parameters of the harness.

    Attributes:
        edges: most edges added at one target.
        targets: attacked nodes: a quarter of highest margin, a quarter of lowest, the rest random.
        draws: random draws of each control.
        replicates: of the bootstrap.
    """

    edges: Annotated[int, Field(ge=1)] = 10
    targets: Annotated[int, Field(ge=4)] = 40
    draws: Annotated[int, Field(ge=2)] = 5
    replicates: Annotated[int, Field(ge=50)] = 1000


def evaluate(cell: Cell) -> CellResult:
    """Adds edges at targets until the partition, made anew, puts them elsewhere; beside edges that do not touch them.

    Raises:
        ConfigError: a parameter that cannot be used.
        SkippedError: the target stores no clusters, or keeps them; no test node is classified right.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    target, layout = clusters_of(cell.target)
    if layout.model.mode != "recluster":
        raise SkippedError(f"the table of clusters is stored (prototypes={layout.model.mode}): no edge moves a node")
    with torch.random.fork_rng(devices=[]):  # a model that draws numbers in eval mode must not move ours
        jumps = Jumps.of(target, layout, settings.targets, cell.rng("targets"))
        run = collect(cell, target, jumps.targets, (settings.edges,), jumps.add)
        tries = max([int(notes.get("rivals", 1)) for notes in run.notes.values()], default=1)
        jumps.add_placebos(tries, settings.edges, settings.draws, cell.rng("placebo"), cell.tick)
    found = jumps.numbers(cell.probe.findings[0], cell.rng("bootstrap"), settings.replicates)
    return answer(cell, run, found, {"mode": layout.model.mode, "targets": jumps.targets.tolist()})


@dataclass(frozen=True, slots=True)
class Moved:
    """What edges did to one target.

    Attributes:
        jumped: whether its matched cluster is another one.
        wrong: whether its prediction, right before, is wrong.
        edges: how many were added.
    """

    jumped: bool
    wrong: bool
    edges: int


@dataclass(slots=True, eq=False)
class Jumps:
    """Verifies added edges at targets on a private copy of the model, and runs the placebos.

    Attributes:
        target: under audit, on its canonical graph.
        model: a private copy of its model.
        targets: attacked nodes, int64 [n], all classified right.
    """

    target: Target
    model: ServesByClusters
    targets: Tensor
    old: Tensor
    verifier: Verifier
    found: dict[int, Moved] = field(default_factory=dict)
    placebo: dict[int, list[Moved]] = field(default_factory=dict)
    searched: dict[int, Moved] = field(default_factory=dict)
    shares: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, target: Target, layout: ClusterLayout, count: int, rng: np.random.Generator) -> Jumps:
        """For about `count` targets.

        Raises:
            SkippedError: no test node is classified right.
        """
        targets = choose_targets(target, count, rng)
        if not targets.numel():
            raise SkippedError("no test node is classified right")
        model = target.handle().on_cpu
        assert isinstance(model, ServesByClusters)  # a copy of what `layout` was read from
        old = model.clusters_on(target.graph.x, target.graph.edge_index)
        return cls(target, model, targets, old, Verifier(target, targets))

    def add(self, claim: FlipSet, variant: str) -> None:
        """Verifies a claim named `target=i`; of several the one that jumps with fewest edges stays.

        Raises:
            EvaluationError: it breaks a rule of flips: not only new edges, all at the target, no more than its degree.
        """
        name, _, number = variant.partition("=")
        place = torch.nonzero(self.targets == int(number)).flatten() if number.isdecimal() else torch.empty(0)
        if name != "target" or not place.numel():
            raise EvaluationError(f'"{variant}" names no target; expected target=i')
        node, space = int(number), self.verifier.space
        u, v = space.ends(claim.keys)
        if not bool(((u == node) | (v == node)).all()) or bool(space.exists(claim.keys).any()):
            raise EvaluationError(f"an edge of target {node}'s claim is not a new edge at it")
        if claim.keys.numel() > self._degree(node):
            raise EvaluationError(f"{claim.keys.numel()} edges at target {node} of degree {self._degree(node)}")
        moved = self._moved(node, claim.keys)
        before = self.found.get(node)
        if before is None or (moved.jumped, -moved.edges) > (before.jumped, -before.edges):
            self.found[node] = moved

    def add_placebos(
        self,
        tries: int,
        most: int,
        draws: int,
        rng: np.random.Generator,
        tick: Callable[[float | None, str], None],
    ) -> None:
        """Controls on random new edges that do not touch the target, and one random edge anywhere on the clean graph.

        Args:
            tries: paths that the attack may take; the searching placebo takes as many.
            most: edges of a path.
            draws: of as many edges as the claim, and of the one random edge.
            rng: the only source of randomness.
            tick: progress observer.
        """
        for done, (node, moved) in enumerate(self.found.items()):
            tick(done / len(self.found), f"placebo {done + 1} of {len(self.found)}")
            away = [self._moved(node, self._random(moved.edges, node, rng)) for _ in range(draws)]
            self.placebo[node] = away
            self.searched[node] = self._search(node, tries, min(most, self._degree(node)), rng)
        graph, test = self.target.graph, self.target.split.test
        clean = float(self.target.task.correct(self.target.clean_logits(), graph.y)[test].double().mean())
        for _ in range(draws):
            edited = self.verifier.space.toggled(self._random(1, None, rng))
            self.shares.append(float((self._clusters(edited.edge_index) != self.old).double().mean()))
            with torch.no_grad():
                logits = self.target.logits(edited.x, edited.edge_index, edited.edge_weight, None, edited.fields)
            self.losses.append(clean - float(self.target.task.correct(logits, graph.y)[test].double().mean()))

    def numbers(self, finding: str, rng: np.random.Generator, replicates: int) -> list[Measured]:
        """Jump rate beyond the placebos (judged), flips given a jump, median edges, and the price of one edge."""
        if not self.found:
            return []
        return [
            self._rate(finding, rng, replicates),
            self._flips(finding),
            self._edges(finding, rng, replicates),
            _over_draws(ONE_EDGE_MOVES, self.shares, finding),
            _over_draws(ONE_EDGE_LOSS, self.losses, finding),
        ]

    def _rate(self, finding: str, rng: np.random.Generator, replicates: int) -> Measured:
        nodes = list(self.found)
        values = np.array([float(self.found[node].jumped) for node in nodes])
        beside = {
            "random edges elsewhere, same search": np.array([float(self.searched[node].jumped) for node in nodes]),
            "as many random edges elsewhere": np.array(
                [float(np.mean([m.jumped for m in self.placebo[node]])) for node in nodes]
            ),
        }
        controls = {
            name: Control(name=name, estimate=_bootstrap(each, rng, replicates)) for name, each in beside.items()
        }
        strongest = max(beside, key=lambda name: float(beside[name].mean()))
        more = _bootstrap(values - beside[strongest], rng, replicates)
        controls[strongest] = controls[strongest].model_copy(update={"contrast": more})
        return measured(
            JUMP_RATE,
            _rate_of(int(values.sum()), len(nodes)),
            finding=finding,
            controls=tuple(controls.values()),
            judged=True,
            facts=Named(numbers={"moved": float(values.sum()), "one_random_edge_moves": float(np.mean(self.shares))}),
        )

    def _flips(self, finding: str) -> Measured:
        jumped = [moved for moved in self.found.values() if moved.jumped]
        away = [moved for moved in self.searched.values() if moved.jumped]
        wrong, beside = (sum(moved.wrong for moved in some) for some in (jumped, away))
        control = Estimate(value=beside / len(away) if away else None, n=len(away))
        return measured(
            FLIPS_GIVEN_JUMP,
            _rate_of(wrong, len(jumped)),
            finding=finding,
            controls=(Control(name="nodes that edges elsewhere moved", estimate=control),),
        )

    def _edges(self, finding: str, rng: np.random.Generator, replicates: int) -> Measured:
        edges = np.array([float(moved.edges) for moved in self.found.values() if moved.jumped])
        estimate = Estimate(value=None)
        if edges.size:
            drawn = np.median(edges[rng.integers(0, edges.size, (replicates, edges.size))], axis=1)
            lo, hi = np.quantile(drawn, (0.025, 0.975))
            estimate = Estimate(value=float(np.median(edges)), lo=float(lo), hi=float(hi), n=edges.size)
        return measured(MEDIAN_EDGES, estimate, finding=finding)

    def _degree(self, node: int) -> int:
        return int(sum((end == node).sum() for end in self.verifier.space.ends(self.verifier.space.existing)))

    def _clusters(self, edge_index: Tensor) -> Tensor:
        """Clusters of an edited graph, by the names of the old ones, int64 [N]."""
        return match_clusters(self.old, self.model.clusters_on(self.target.graph.x, edge_index))

    def _moved(self, node: int, keys: Tensor) -> Moved:
        """What the model says on the edited graph."""
        verified = self.verifier.check(FlipSet(keys.numel(), keys))
        clusters = self._clusters(self.verifier.space.toggled(torch.sort(keys).values).edge_index)
        right = bool(verified.correct[int(torch.nonzero(self.targets == node)[0])])
        return Moved(int(clusters[node]) != int(self.old[node]), not right, keys.numel())

    def _search(self, node: int, tries: int, most: int, rng: np.random.Generator) -> Moved:
        """The attack's search with edges elsewhere: paths of random edges, each stopped where the node jumps."""
        best = Moved(jumped=False, wrong=False, edges=most)
        for _ in range(tries):
            path = self._random(most, node, rng)
            for steps in range(1, path.numel() + 1):
                new = self._clusters(self.verifier.space.toggled(torch.sort(path[:steps]).values).edge_index)
                if int(new[node]) != int(self.old[node]):
                    best, most = self._moved(node, path[:steps]), steps - 1
                    break
        return best

    def _random(self, count: int, node: int | None, rng: np.random.Generator) -> Tensor:
        """`count` new edges that do not touch `node`, in random order, int64 [<= count]."""
        space, kept = self.verifier.space, torch.empty(0, dtype=torch.int64)
        for _ in range(20):  # a graph with next to no absent pair has fewer
            keys = space.sample(2 * count + 16, rng)
            u, v = space.ends(keys)
            free = ~space.exists(keys) & (u != (-1 if node is None else node)) & (v != (-1 if node is None else node))
            kept = torch.unique(torch.cat([kept, keys[free]]))
            if kept.numel() >= count:
                break
        return kept[torch.from_numpy(rng.permutation(kept.numel())[:count])]


def choose_targets(target: Target, count: int, rng: np.random.Generator) -> Tensor:
    """Test nodes that are right: a quarter of `count` of highest margin, a quarter of lowest, the rest random.

    Source: Zügner et al., "Adversarial attacks on neural networks for graph data", KDD 2018 (40 targets).
    """
    logits, y = target.clean_logits(), target.graph.y
    right = torch.nonzero(target.split.test & target.task.correct(logits, y)).flatten()
    order = right[torch.argsort(target.task.margin(logits, y)[right], stable=True)]
    if order.numel() <= count:
        return torch.sort(order).values
    quarter = count // 4
    middle = order[quarter : order.numel() - quarter]
    drawn = middle[torch.from_numpy(rng.permutation(middle.numel())[: count - 2 * quarter])]
    return torch.sort(torch.cat([order[:quarter], drawn, order[order.numel() - quarter :]])).values


def _rate_of(count: int, n: int) -> Estimate:
    """A share with Wilson's interval; no number where there is nobody."""
    if not n:
        return Estimate(value=None)
    lo, hi = wilson(count, n)
    return Estimate(value=count / n, lo=min(lo, count / n), hi=max(hi, count / n), n=n)


def _bootstrap(each: Floats, rng: np.random.Generator, replicates: int) -> Estimate:
    """A mean over targets with its percentile interval."""
    lo, hi = paired_bootstrap(lambda w: float(w @ each / w.sum()), each.size, rng=rng, replicates=replicates)
    mean = float(each.mean())
    return Estimate(value=mean, lo=min(lo, mean), hi=max(hi, mean), n=each.size)


def _over_draws(metric: Metric, values: list[float], finding: str) -> Measured:
    """What one random edge anywhere does to a partition that is made anew: the price of the mode, no attack."""
    lo, hi = student_t(values)
    return measured(metric, Estimate(value=float(np.mean(values)), lo=lo, hi=hi, n=len(values)), finding=finding)
