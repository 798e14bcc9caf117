"""Link stealing from embeddings: two nodes whose embeddings are alike are probably joined by an edge."""

from __future__ import annotations

from typing import Literal

from auditor.outcomes import LinkOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.statistics.pair_scores import row_cosine, whitened
from auditor.view import View


@parameters
class EmbeddingSimilarity:
    """Scores a pair by the cosine of the two nodes' embeddings, after whitening.

    A few directions, above all those that tell classes, make up most of an embedding's length; whitened, all of them
    count alike, which tells single links better than whole regions. Costs O(N d²) once and O(d) a pair.

    Args:
        metric: `whitened` (default), or `cosine` of the embeddings as they are, for comparison with papers.

    Source: He et al., "Stealing Links from Graph Neural Networks", USENIX Security 2021, compare posteriors; embeddings
    in their place are Duddu et al., "Quantifying Privacy Leakage in Graph Embedding", MobiQuitous 2020. Whitening is
    ours.
    """

    metric: Literal["whitened", "cosine"] = "whitened"

    def run(self, view: View, attempt: Attempt) -> LinkOutcome:
        """A scorer over the embeddings; nothing is trained."""
        h = whitened(view.embeddings) if self.metric == "whitened" else view.embeddings
        return LinkOutcome(row_cosine(h), {"width": int(view.embeddings.shape[1]), "compared": int(h.shape[1])})
