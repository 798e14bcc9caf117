"""Cells of the links harness on toy targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from attacks.privacy.graphmi import GraphMI
from auditor import registry
from auditor.data.graph import Graph
from auditor.document import Measured
from auditor.outcomes import LinkOutcome
from auditor.probe import Attack, Attempt, Cell, CellResult, Registered
from auditor.shared import Shared
from auditor.statistics.pair_scores import PairScore
from auditor.targets.target import Target
from auditor.view import SideKnowledge, View


class Twins:
    """Trains every twin anew and remembers which graphs were asked for."""

    def __init__(self) -> None:
        self.graphs: list[Graph] = []
        self.replicates: dict[bytes, Any] = {}
        self.shared = Shared()

    def twin(self, target: Target, graph: Graph, seed: int) -> Target:
        self.graphs.append(graph)
        return target.retrained(graph, seed=seed)


@dataclass(frozen=True)
class Fixed:
    """An attack that scores pairs by a given function."""

    score: PairScore

    def run(self, view: View, attempt: Attempt) -> LinkOutcome:
        return LinkOutcome(self.score)


@dataclass(frozen=True)
class ByAnswers:
    """Scores pairs by the inner product of given rows where the service answers `real`, else by `otherwise`."""

    rows: Tensor
    real: Tensor
    otherwise: Attack

    def run(self, view: View, attempt: Attempt) -> Any:
        if view.posteriors.equal(self.real):
            return LinkOutcome(lambda p: (self.rows[p[0]] * self.rows[p[1]]).sum(dim=1))
        return self.otherwise.run(view, attempt)


def make_cell(
    target: Target,
    attack: Attack,
    *,
    profile: registry.Profile = "quick",
    side: SideKnowledge | None = None,
    models: Twins | None = None,
    seed: int = 0,
    probe: str = "",
    **params: object,
) -> Cell:
    """A cell of the probe named by `probe`, else of `graphmi` for GraphMI and `posterior-similarity` for the others."""
    probe = probe or ("graphmi" if isinstance(attack, GraphMI) else "posterior-similarity")
    words: Mapping[str, str] = {key: str(value) for key, value in params.items()}
    return Cell(
        target,
        registry.find_probe(probe),
        (Registered(registry.find("attacks", probe), attack),),
        words,
        profile,
        seed,
        side or SideKnowledge(),
        models or Twins(),  # type: ignore[arg-type]
    )


def row(result: CellResult, metric: str = "headroom", subset: str = "prior") -> Measured:
    (found,) = [m for m in result.measured if (m.metric, m.subset) == (metric, subset)]
    return found
