"""Link stealing: two nodes whose served posteriors are alike are probably joined by an edge."""

from __future__ import annotations

from typing import Literal

import torch

from auditor.outcomes import LinkOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.statistics.pair_scores import log_posterior_similarity, log_posteriors, row_correlation, row_cosine
from auditor.view import View

NEIGHBOURHOOD = 512


@parameters
class PosteriorSimilarity:
    """Scores a pair by the similarity of the two answers the service gives: correlation of log-posteriors.

    Where the service answers logits, their cosine. With two classes, the distance of log-odds measured in units of
    the local spacing, since there every correlation is ±1. Costs O(C) a pair.

    Args:
        metric: `log-posterior` (default), or `lsa0`: plain correlation of posteriors, for comparison with papers.

    Source: He et al., "Stealing Links from Graph Neural Networks", USENIX Security 2021, attack 0. There the best of
    eight metrics is picked on the truth; here one is fixed beforehand.
    """

    metric: Literal["log-posterior", "lsa0"] = "log-posterior"

    def run(self, view: View, attempt: Attempt) -> LinkOutcome:
        """A scorer over the served answers; nothing is trained."""
        answers = view.posteriors
        if self.metric == "lsa0":
            rows = answers.double().softmax(dim=1) if view.outputs == "logits" else answers
            return LinkOutcome(row_correlation(rows), {"metric": "correlation of posteriors"})
        if view.outputs == "logits":
            return LinkOutcome(row_cosine(answers), {"metric": "cosine of logits"})
        count = min(NEIGHBOURHOOD, view.num_nodes)
        nodes = torch.from_numpy(attempt.rng.choice(view.num_nodes, count, replace=False))
        log_p = log_posteriors(answers, digits=view.served_digits)
        name = "correlation of log-posteriors" if log_p.shape[1] > 2 else "log-odds in units of local spacing"
        return LinkOutcome(log_posterior_similarity(log_p, neighbourhood=nodes), {"metric": name})
