"""Link stealing: two nodes whose served posteriors are alike are probably joined by an edge."""

from __future__ import annotations

from typing import Literal

import torch

from auditor.outcomes import LinkOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.statistics.pair_scores import (
    PairScore,
    few_log_odds_similarity,
    log_posterior_similarity,
    log_posteriors,
    row_correlation,
    row_cosine,
    tied,
)
from auditor.view import View

NEIGHBOURHOOD = 512


@parameters
class PosteriorSimilarity:
    """Scores a pair by the similarity of the two answers the service gives: correlation of log-posteriors.

    Where the service answers logits, their cosine. With two classes, the distance of log-odds measured in units of
    the local spacing, since there every correlation is ±1. Costs O(C) a pair. Where the answers are coarse, what is
    served as 0 counts as half a unit, and equal scores tie exactly: of classes alone their agreement is left.

    Args:
        metric: `log-posterior` (default), or `lsa0`: plain correlation of posteriors, for comparison with papers.

    Source: He et al., "Stealing Links from Graph Neural Networks", USENIX Security 2021, attack 0. There the best of
    eight metrics is picked on the truth; here one is fixed beforehand.
    """

    metric: Literal["log-posterior", "lsa0"] = "log-posterior"

    def run(self, view: View, attempt: Attempt) -> LinkOutcome:
        """A scorer over the served answers; nothing is trained."""
        score, name = self._score(view, attempt)
        return LinkOutcome(tied(score) if view.is_coarse else score, {"metric": name})

    def _score(self, view: View, attempt: Attempt) -> tuple[PairScore, str]:
        answers = view.posteriors
        if self.metric == "lsa0":
            rows = answers.double().softmax(dim=1) if view.outputs == "logits" else answers
            return row_correlation(rows), "correlation of posteriors"
        if view.outputs == "logits":
            return row_cosine(answers), "cosine of logits"
        count = min(NEIGHBOURHOOD, view.num_nodes)
        nodes = torch.from_numpy(attempt.rng.choice(view.num_nodes, count, replace=False))
        log_p = log_posteriors(answers, digits=view.served_digits)
        if log_p.shape[1] > 2:
            return log_posterior_similarity(log_p, neighbourhood=nodes), "correlation of log-posteriors"
        similarity = few_log_odds_similarity if view.is_coarse else log_posterior_similarity
        return similarity(log_p, neighbourhood=nodes), "log-odds in units of local spacing"
