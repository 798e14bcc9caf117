"""What a shipped table of clusters says about edges: two nodes of one cluster are probably joined."""

from __future__ import annotations

import torch
from torch import Tensor

from auditor.errors import SkippedError
from auditor.outcomes import LinkOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.statistics.pair_scores import row_cosine
from auditor.view import View

NAME = "table"


@parameters
class PartitionLeak:
    """Scores a pair 1 where the artefact's table puts both nodes into one cluster, ties by the cosine of features.

    The table is part of the weights: an int64 buffer called `table` with one entry a node. Where it was made from the
    private edges, nodes of one cluster are near each other. Nodes without a cluster (negative entries) share none.
    """

    def run(self, view: View, attempt: Attempt) -> LinkOutcome:
        """A scorer over the table; nothing is trained.

        Raises:
            SkippedError: the artefact holds no table of clusters for these nodes.
        """
        x, table = view.x, find_table(view)
        if table is None:
            raise SkippedError("the artefact holds no table of clusters: none was made from the edges and shipped.")
        cosine = row_cosine(x)

        def score(pairs: Tensor) -> Tensor:
            first, second = table[pairs[0]], table[pairs[1]]
            # Cosines lie in [-1, 1]: a quarter of them never outweighs the table.
            return ((first == second) & (first >= 0)).double() + cosine(pairs).double() / 4

        used = int(torch.unique(table[table >= 0]).numel())
        return LinkOutcome(score, {"clusters": used, "without a cluster": int((table < 0).sum())})


def find_table(view: View) -> Tensor | None:
    """The table in the model's buffers, int64 [N]; None when there is none for these nodes."""
    for name, buffer in view.model.on_cpu.named_buffers():
        fits = buffer.dtype == torch.int64 and buffer.shape == (view.num_nodes,)
        if name.rpartition(".")[2] == NAME and fits:
            return buffer
    return None
