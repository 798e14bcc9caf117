"""Parameters of the certificate."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from auditor.parameters import Only, parameters

Edits = Annotated[int, Field(ge=1)]


@parameters
class Settings:
    """Parameters of the harness.

    Attributes:
        flips: edits of any kind that answers are to stand: of each graph, or anywhere in the one graph.
        draws: random sets of as many edits that are tried beside each.
        parts: parts that the edges of a graph are divided into (task `graph`).
        graphs: attacked graphs, drawn from the test graphs; 0 for the profile's (task `graph`).
        deletions: removed edges that answers are to stand (task `node`).
        plus: probability that noise adds an edge; 0 for .001, or the density of the graph where that is less.
        minus: probability that noise removes an edge.
        choosing: noisy copies that choose the class of each node.
        samples: fresh copies that are counted for it; 0 for the profile's.
        alpha: probability that any of the node certificates is wrong.

    Source: of `plus`, `minus`, `choosing` and `samples` at full, the defaults of Bojchevski et al., ICML 2020, for
    edges. `parts` is our choice: odd, so that two classes are never level.
    """

    flips: Annotated[tuple[Edits, ...], Field(min_length=1)] = (1, 2, 3)
    draws: Annotated[int, Field(ge=1)] = 5
    parts: Annotated[int, Field(ge=3), Only(level="graph")] = 11
    graphs: Annotated[int, Field(ge=0), Only(level="graph")] = 0
    deletions: Annotated[tuple[Edits, ...], Only(level="node")] = (1, 3, 5)
    plus: Annotated[float, Field(ge=0, lt=0.5), Only(level="node")] = 0.0
    minus: Annotated[float, Field(gt=0, lt=0.5), Only(level="node")] = 0.4
    choosing: Annotated[int, Field(ge=100), Only(level="node")] = 1000
    samples: Annotated[int, Field(ge=0), Only(level="node")] = 0
    alpha: Annotated[float, Field(gt=0, lt=0.5), Only(level="node")] = 0.05
