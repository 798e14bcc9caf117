"""Membership by confidence alone: a model is surer of the true class where it was trained on it."""

from __future__ import annotations

import torch

from auditor.evaluate.membership.queries import margins
from auditor.outcomes import MembershipOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.view import View


@parameters
class MembershipThreshold:
    """Scores an item by phi, the log-odds of its true class: one threshold for all items, nothing is trained.

    An item may be easy without ever having been seen, which is what the controls and `MembershipLira` account for.

    Source: Yeom et al., "Privacy Risk in Machine Learning", CSF 2018 (a threshold on the loss).
    """

    def run(self, view: View, attempt: Attempt) -> MembershipOutcome:
        """One row of scores for each query that is granted, [V, items]."""
        found = margins(view)
        return MembershipOutcome(torch.stack(list(found.values())), tuple(found))
