"""Which canaries belong to which level and access."""

from __future__ import annotations

import numpy as np

from auditor.defense import TrainedModels
from auditor.errors import ConfigError
from auditor.evaluate.dp_claim.claim import Claim
from auditor.evaluate.dp_claim.edge_canaries import EdgeCanaries
from auditor.evaluate.dp_claim.graph_canaries import GraphCanaries
from auditor.evaluate.dp_claim.node_canaries import NodeCanaries
from auditor.evaluate.dp_claim.plan import SHARES
from auditor.evaluate.dp_claim.subject import (
    NO_NOISE,
    SUM_SHARES,
    Canaries,
    Fit,
    Mechanism,
    Posteriors,
    Released,
    Subject,
    Work,
    released_shares,
)
from auditor.guarantee import Guarantee
from auditor.mechanism import PrivateDefense
from auditor.statistics.draws import generator
from auditor.targets.target import Target

MAX_COORDINATES = 1_000_000
DEFAULT_HOPS = 2
_PER_RECORD, _FORWARD = 4.0, 0.4  # passes that one with a gradient for each record costs, and one without any: roughly


def of_defense(
    target: Target,
    defense: PrivateDefense,
    planned: Guarantee,
    claim: Claim,
    *,
    m: int,
    seed: int,
    models: TrainedModels,
    fit: Fit,
) -> Subject:
    """The mechanism of a registered defence, with the canaries of the claim's level and access.

    Raises:
        ConfigError: more canaries than there is room for, or a relation that this access cannot test.
    """
    _check_count(m)
    if claim.access == "posteriors":
        hops = planned.mechanism.get("r", DEFAULT_HOPS)
        canaries = _canaries(target, claim, m, seed, hops if isinstance(hops, int) else DEFAULT_HOPS)
        return Posteriors(canaries, fit, SHARES, work=_work(target, planned, canaries))
    if claim.access == "mechanism":
        if claim.relation == "replace":
            raise ConfigError(
                "--access mechanism tells whether a record is there; a replace claim needs two twins, which it has "
                "not: it would be under-tested. Use --access posteriors, or --relation add-remove."
            )
        if m > MAX_COORDINATES:
            raise ConfigError(f"--canaries is {m}; the block of coordinates holds at most {MAX_COORDINATES}.")
        steps = planned.mechanism.get("steps")
        return Mechanism(target, defense, models, m, SUM_SHARES, steps=steps if isinstance(steps, int) else None)
    shares = released_shares(planned)
    disjoint = shares == SUM_SHARES  # sums over neighbours: canaries must not share one
    pairs = EdgeCanaries.make(target, m, arcs=claim.relation == "flip-arc", disjoint=disjoint, rng=_rng(seed))
    work = _epochs(target) if disjoint else Work(1.0, _released_edges(target, planned))  # sums are of a trained encoder
    return Released(pairs, defense, models, shares, work=work)


def of_function(target: Target, claim: Claim, *, m: int, seed: int, fit: Fit, takes_noise: bool) -> Subject:
    """A training function of the user's own, by the posteriors of what it trains.

    Raises:
        ConfigError: more canaries than there is room for.
    """
    _check_count(m)
    canaries = _canaries(target, claim, m, seed, DEFAULT_HOPS)
    return Posteriors(canaries, fit, SHARES, NO_NOISE if takes_noise else None)


def _canaries(target: Target, claim: Claim, m: int, seed: int, hops: int) -> Canaries:
    rng = _rng(seed)
    if claim.level == "graph":
        return GraphCanaries.make(target, m, replace=claim.relation == "replace", rng=rng)
    if claim.level == "edge":
        return EdgeCanaries.make(target, m, arcs=claim.relation == "flip-arc", disjoint=True, rng=rng)
    return NodeCanaries.make(target, m, hops=hops, swaps=claim.relation == "replace", rng=rng)


def _work(target: Target, planned: Guarantee, canaries: Canaries) -> Work | None:
    """Of the mechanism's steps, or of the target's own recipe on the graph that is released."""
    own = {key: value for key, value in planned.mechanism.items() if isinstance(value, int | float)}
    if {"q", "steps"} <= own.keys():
        return Work(_PER_RECORD * own["q"] * own["steps"])
    if {"N", "b", "steps"} <= own.keys():
        return Work(_PER_RECORD * own["b"] / own["N"] * own["steps"])
    recipe = _epochs(target)
    if recipe is None or not isinstance(canaries, EdgeCanaries):
        return recipe
    influence = _FORWARD * canaries.m  # one answer a pair
    return Work(recipe.passes + influence, _released_edges(target, planned))


def _epochs(target: Target) -> Work | None:
    """One training of the target's own recipe, where it says how long that is."""
    epochs = None if target.recipe is None else target.recipe.describe().get("epochs")
    return Work(float(epochs)) if isinstance(epochs, int) else None


def _released_edges(target: Target, planned: Guarantee) -> int:
    """Undirected edges that a release has, on average."""
    flip, n = planned.mechanism.get("flip_probability", 0.0), target.private_graph.num_nodes
    return planned.units + round(float(flip) * n * (n - 1) / 2)


def _check_count(m: int) -> None:
    if m < 1:
        raise ConfigError(f"--canaries is {m}; expected at least 2.")


def _rng(seed: int) -> np.random.Generator:
    return generator(seed, "dp-claim", "canaries")
