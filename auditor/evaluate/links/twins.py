"""Controls of a link attack that need another model: untrained networks, and twins on rewired graphs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.data.graph import Graph
from auditor.document.facts import Twin
from auditor.errors import CapabilityError, EvaluationError
from auditor.evaluate.links.controls import Scorer
from auditor.evaluate.links.pairs import PairSet, Truth, contains
from auditor.evaluate.links.rewiring import rewire
from auditor.outcomes import LinkOutcome, Outcome
from auditor.probe import Asks, Cell, Registered
from auditor.shared import content
from auditor.statistics import draws
from auditor.statistics.pair_scores import PairScore
from auditor.targets.rng import forked_rng
from auditor.targets.target import Capability, Target
from auditor.view import Access, grant_privacy

HARNESS = "links"
"""Name of the random streams that all link probes share; fixed for ever."""
UNTRAINED, UNTRAINED_DRAWS = "untrained", 3
LARGE = 50_000
"""Nodes above which one untrained network is attacked: each costs as much as the attack itself."""
MAX_OVERLAP = 0.5
SERVED = frozenset({Access.POSTERIORS, Access.EMBEDDINGS, Access.EXPLANATIONS, Access.QUERIES})
SCHEMES = ("degree+class", "degree")
"""Rewirings, the closest to the graph first: it keeps the class mixing as well as the degrees."""


@dataclass(frozen=True, slots=True, eq=False)
class Counterfactual:
    """Twins on rewired graphs, one scheme.

    Attributes:
        facts: the scheme, and how close they are to the target.
        scorer: their scores; None where there are none.
        rewired_keys: E' of every twin, sorted keys; those pairs are judged on neither side.
        reason: why there are none.
    """

    facts: Twin
    scorer: Scorer | None = None
    rewired_keys: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    reason: str = ""

    def pairs(self, prior: PairSet, num_nodes: int) -> PairSet:
        """Positives E without E', negatives outside E and E': what target and twins are both judged on."""
        inside = contains(self.rewired_keys, prior.pairs[0] * num_nodes + prior.pairs[1])
        return prior.keep(~inside, f"prior/counterfactual/{self.facts.scheme}")

    def describe(self) -> dict[str, Any]:
        """What is recorded of it, as plain values."""
        known = self.facts.model_dump(exclude={"scheme"}, exclude_none=True)
        return known if self.scorer is not None else {**known, "reason": self.reason}


def shared_rng(cell: Cell, *draw: str) -> np.random.Generator:
    """The generator of a draw that all link probes of one seed share, so that controls and twins are made once."""
    return draws.generator(cell.seed, HARNESS, *draw)


def run_rng(*draw: str) -> np.random.Generator:
    """The generator of a draw that is one for all link probes and seeds of a run: pairs and their replicates.

    What the seeds vary is what an adversary or a training draws. Which pairs stand for all of them is no part of that,
    and what is read off them alone, controls and their replicates, is then made once.
    """
    return draws.generator(0, HARNESS, *draw)


def shared_seed(cell: Cell, *draw: str) -> int:
    """`shared_rng` for code that takes a seed."""
    return draws.integer(cell.seed, HARNESS, *draw)


def run_attack(
    cell: Cell, attack: Registered, target: Target, *draw: str, attacked: Tensor | None = None
) -> LinkOutcome:
    """One attack on a View of `target`; the same reference pairs and the same randomness for every target.

    What a deterministic attack finds on the target itself is found once for all seeds.
    """

    def run() -> Outcome:
        view = grant_privacy(target, attack.access, cell.side, run_rng("view"), attacked=attacked)
        found = attack.run(view, cell.attempt(attack, *draw))
        if not isinstance(found, LinkOutcome):
            return found
        asked: dict[str, Any] = {}
        if Access.QUERIES in attack.access:
            asked = {"queries": view.query.count, **asdict(view.query.checked)}
        elif Access.OWN_QUERIES in attack.access:
            asked = {"queries": view.own_queries.asked}
        return replace(found, notes={**found.notes, **asked})

    if attack.entry.deterministic and target is cell.target:
        asked = (attack.id, attack.attack, cell.side, cell.profile, attacked)
        weights = target.model.state_dict().values()
        outcome = cell.models.shared.once(("attack", target.digest, content(*asked, *weights)), run)
    else:
        outcome = run()
    if not isinstance(outcome, LinkOutcome):
        raise EvaluationError(
            f"{attack.id} returned {type(outcome).__name__}; the links harness expected a LinkOutcome with a scorer."
        )
    return outcome


def _sees_private_output(attack: Registered) -> bool:
    """Whether the attack reads anything that was computed on the private graph."""
    return bool(attack.access & SERVED)


def _is_of_one_model(cell: Cell, attack: Registered) -> bool:
    """Whether what the attack reads is known of the target alone, so that no other model can be attacked alike."""
    return Access.EXPLANATIONS in attack.access and bool(cell.side.explanations_file)


def untrained_control(cell: Cell, attack: Registered) -> Scorer | None:
    """The same architecture freshly initialised and attacked in the same way; None where it cannot or must not run.

    Only for attacks that see no output of the private graph: an untrained model *served* on that graph gives edges
    away by propagation alone, and subtracting it would hide a leak.
    """
    if _sees_private_output(attack) or cell.target.build is None:
        return None
    draws = UNTRAINED_DRAWS if cell.target.graph.num_nodes <= LARGE else 1
    outcomes = [run_attack(cell, attack, target) for target in _untrained(cell, draws)]
    return Scorer(UNTRAINED, tuple(outcome.score for outcome in outcomes))


def unasked_control(cell: Cell, attack: Registered, attacked: Tensor | None = None) -> Scorer | None:
    """The same attack without a query; None for one that asks nothing."""
    if not isinstance(attack.attack, Asks):
        return None
    silent = replace(attack, attack=attack.attack.unasked())
    return Scorer("no-queries", (run_attack(cell, silent, cell.target, attacked=attacked).score,))


def architecture_reference(cell: Cell, attack: Registered, attacked: Tensor | None = None) -> PairScore | None:
    """What any model of this shape would give away on this graph: an untrained one, served. Never a control."""
    if not _sees_private_output(attack) or cell.target.build is None or _is_of_one_model(cell, attack):
        return None
    return run_attack(cell, attack, _untrained(cell, 1)[0], attacked=attacked).score


def _untrained(cell: Cell, count: int) -> list[Target]:
    target, models = cell.target, []
    assert target.build is not None
    for draw in range(count):
        with forked_rng(shared_seed(cell, "untrained", str(draw))):
            models.append(target.build())
    return [replace(target, model=model) for model in models]


def counterfactuals(
    cell: Cell,
    attack: Registered,
    truth: Truth,
    graphs: int,
    *,
    first_only: bool = False,
    attacked: Tensor | None = None,
) -> list[Counterfactual]:
    """Twins trained and served on rewired graphs, attacked for the edges of the real one; one entry per scheme tried.

    `attacked`: the nodes that the attack on the target concentrated on.

    With `first_only` a scheme is tried only where none before it gave a twin: few edges in many classes leave too
    little to swap inside pairs of classes.
    """
    if graphs == 0:
        return []
    if _is_of_one_model(cell, attack):
        reason = "explanations come from a file, and nobody knows how those of another model are made"
        return [Counterfactual(Twin(scheme=scheme), reason=reason) for scheme in SCHEMES]
    if Capability.RETRAIN not in cell.target.capabilities or cell.target.recipe is None:
        reason = "the target cannot be retrained (no [target.train])"
        return [Counterfactual(Twin(scheme=scheme), reason=reason) for scheme in SCHEMES]
    made: list[Counterfactual] = []
    for scheme in SCHEMES:
        if not made or not first_only or all(twin.scorer is None for twin in made):
            made.append(_counterfactual(cell, attack, truth, scheme, graphs, attacked))
    return made


def _counterfactual(
    cell: Cell, attack: Registered, truth: Truth, scheme: str, graphs: int, attacked: Tensor | None
) -> Counterfactual:
    target, n = cell.target, truth.num_nodes
    classes = target.graph.y.numpy() if scheme == "degree+class" else None
    scores, keys, overlaps, homophily, accuracies = list[PairScore](), [], [], [], []
    for index in range(graphs):
        rng = shared_rng(cell, "rewiring", scheme, str(index))
        rewired = rewire(truth.pairs, n, rng=rng, classes=classes)
        overlaps.append(rewired.overlap)
        if rewired.overlap > MAX_OVERLAP:
            reason = f"not separable, {rewired.overlap:.0%} of the edges survive rewiring"
            return Counterfactual(Twin(scheme=scheme, overlap=rewired.overlap), reason=reason)
        cell.tick(None, f"twin on a {scheme} rewired graph")
        try:
            twin = cell.models.twin(target, _graph(target.private_graph, rewired.pairs), cell.seed)
        except CapabilityError as error:
            return Counterfactual(Twin(scheme=scheme), reason=str(error))
        scores.append(run_attack(cell, attack, twin, attacked=attacked).score)
        keys.append(rewired.pairs[0] * n + rewired.pairs[1])
        homophily.append(_homophily(rewired.pairs, target.graph.y))
        accuracies.append(twin.accuracy())
    facts = Twin(
        scheme=scheme,
        overlap=float(np.mean(overlaps)),
        homophily=float(np.mean(homophily)),
        homophily_real=_homophily(truth.pairs, target.graph.y),
        accuracy=float(np.mean(accuracies)),
    )
    scorer = Scorer(f"counterfactual/{scheme}", tuple(scores), twin=True)
    return Counterfactual(facts, scorer, np.unique(np.concatenate(keys)))


def _graph(graph: Graph, pairs: NDArray[np.int64]) -> Graph:
    """The same nodes with the undirected edges `pairs`; weights and self-loops are left out."""
    arcs = torch.from_numpy(np.concatenate([pairs, pairs[::-1]], axis=1))
    return replace(graph.with_edges(arcs), name=f"{graph.name}, rewired")


def _homophily(pairs: NDArray[np.int64], y: Tensor) -> float:
    labels = y.numpy()
    return float((labels[pairs[0]] == labels[pairs[1]]).mean())
