"""Links from explanations: two nodes whose answers are explained alike are probably joined by an edge."""

from __future__ import annotations

from auditor.outcomes import LinkOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.statistics.pair_scores import compact, row_cosine
from auditor.view import View


@parameters
class ExplanationSimilarity:
    """Scores a pair by the cosine of the explanations of the two nodes' answers.

    What is published, gradients of one kind or another or a file, is for `[access] explanations` to say. Costs O(r) a
    pair, r the number of features or, of gradients, what the first layers leave of it.

    Source: Olatunji et al., "Private Graph Extraction via Feature Explanations", PETS 2023 (the attack on explanations
    alone).
    """

    def run(self, view: View, attempt: Attempt) -> LinkOutcome:
        """A scorer over the explanations; nothing is trained."""
        rows = compact(view.explanations, attempt.torch_rng)
        return LinkOutcome(row_cosine(rows), {"width": int(view.explanations.shape[1]), "compared": int(rows.shape[1])})
