"""All that an adversary holds, added up: a pair's scores by each view of it, none weighted and none chosen."""

from __future__ import annotations

from typing import Literal

import torch

from attacks.privacy.graphmi import GraphMI
from attacks.privacy.posterior_similarity import PosteriorSimilarity
from auditor.evaluate.links.controls import label_agreement, standardise
from auditor.outcomes import LinkOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.statistics.pair_scores import PairScore, rank_mean, row_cosine
from auditor.view import Access, View


@parameters
class Ensemble:
    """Scores a pair by the sum of z-scores of its views, each by mean and deviation on the reference pairs.

    Always there are features (cosine) and labels (agreement). Whoever holds the weights adds GraphMI, and the cosine of
    embeddings on no edges; whoever receives the answers adds posterior similarity. Nothing is tuned and nothing is
    chosen, so that more views need not be better: this is no upper bound.

    Args:
        combine: `z` (default), or `rank`: mean of the normal scores of ranks.
    """

    combine: Literal["z", "rank"] = "z"

    def run(self, view: View, attempt: Attempt) -> LinkOutcome:
        """A scorer over all views, and which they are. GraphMI is run once for everybody who asks it of this model."""
        views = self._views(view, attempt)
        notes = {"views": tuple(views)}
        if self.combine == "rank":
            return LinkOutcome(rank_mean(tuple(views.values()), view.reference_pairs), notes)
        scores = [standardise(score, view.reference_pairs) for score in views.values()]
        return LinkOutcome(lambda pairs: torch.stack([score(pairs) for score in scores]).sum(dim=0), notes)

    def _views(self, view: View, attempt: Attempt) -> dict[str, PairScore]:
        views = {"features": row_cosine(view.x), "labels": label_agreement(view.y, view.num_classes)}
        if Access.WEIGHTS in view.access:
            views["graphmi"] = GraphMI().run(view, attempt).score
            with torch.no_grad():
                h = view.model.embeddings(view.x, torch.empty(2, 0, dtype=torch.int64))
            views["embedding on no edges"] = row_cosine(h)
        if Access.POSTERIORS in view.access:
            views["posterior-similarity"] = PosteriorSimilarity().run(view, attempt).score
        return views
