"""Membership by comparison with reference models: is this answer one of models that were trained on the item?"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from auditor.evaluate.membership.queries import margins
from auditor.evaluate.membership.references import REFERENCES, fewest_each_way
from auditor.outcomes import MembershipOutcome
from auditor.parameters import Circumstances, Only, parameters
from auditor.probe import Attempt
from auditor.targets.target import Capability
from auditor.view import View

LEAST_EACH_WAY = 4
"""Reference models with and without an item that the online form wants."""
LEAST_DEVIATION = 1e-6

RMIA = Only(beside="form", being=("rmia",))


def _online_for_sure(here: Circumstances) -> str:
    """Why `auto` is the online form, where every item is in and out of enough models whatever is drawn."""
    target, split = here.target, here.target.split
    count = here.values["references"] or REFERENCES[here.profile]
    if here.values["mode"] != "auto" or Capability.SPLIT not in target.capabilities:
        return ""
    if fewest_each_way(split, target.graph.y, count) < LEAST_EACH_WAY:
        return ""
    return f"with {count} reference models mode=auto is the online form, which has none; mode=offline has it"


OFFLINE = Only(unless=_online_for_sure)


@parameters
class MembershipLira:
    """Scores an item by how likely its phi is under models with it and under models without it.

    Online, log N(phi; m_in, s_in) − log N(phi; m_out, s_out), with means of each item and one deviation s of all items
    a side, since a few models say little of one item's own. Offline, (phi − m_out) / s_out: models that were trained
    on the item are left out.

    With `form=rmia`: the share of candidates z with q(v) ≥ gamma q(z), where q(v) = p_v / pbar_v, p the probability of
    the true class and pbar its mean over models with and without the item; offline the mean over models with it is
    taken to be a · OUT + 1 − a.

    Attributes:
        form: `lira` or `rmia`.
        mode: `online`, `offline`, or `auto`: online where every candidate has at least four models each way.
        gamma: of `rmia`.
        a: of `rmia` offline.

    Source: Carlini et al., S&P 2022, algorithms 1 and 2; Zarifzadeh, Liu and Shokri, "Low-Cost High-Power Membership
    Inference Attacks", ICML 2024.
    """

    form: Literal["lira", "rmia"] = "lira"
    mode: Literal["auto", "online", "offline"] = "auto"
    gamma: Annotated[float, Field(gt=0), RMIA] = 1.0
    a: Annotated[float, Field(ge=0, le=1), RMIA, Only(beside="mode", being=("offline", "auto")), OFFLINE] = 0.3

    def run(self, view: View, attempt: Attempt) -> MembershipOutcome:
        """One row of scores for each query that is granted, [V, items]."""
        references, own = view.references, margins(view)
        inside = references.trained_on
        counts = torch.stack([inside.sum(dim=0), (~inside).sum(dim=0)])[:, references.candidates]
        online = int(counts.min()) >= LEAST_EACH_WAY if self.mode == "auto" else self.mode == "online"
        rows = []
        for query, phi in own.items():
            table = references.margins[query]
            score = self._rmia(phi, table, inside, references.candidates, online=online)
            if self.form == "lira":
                score = (likelihood_ratio if online else distance_from_out)(phi, table, inside)
            rows.append(torch.nan_to_num(score, nan=float(score[references.candidates].nan_to_num().min())))
        notes = {"mode": "online" if online else "offline", "form": self.form, "references": int(inside.shape[0])}
        return MembershipOutcome(torch.stack(rows), tuple(own), notes)

    def _rmia(self, phi: Tensor, table: Tensor, inside: Tensor, candidates: Tensor, *, online: bool) -> Tensor:
        p, probabilities = torch.sigmoid(phi), torch.sigmoid(table)
        out = _mean(probabilities, ~inside)
        with_it = _mean(probabilities, inside) if online else self.a * out + 1 - self.a
        q = p / (0.5 * (out + with_it)).clamp_min(1e-300)
        among = torch.sort(self.gamma * q[candidates]).values
        return torch.searchsorted(among, q, right=True).double() / among.numel()


def likelihood_ratio(phi: Tensor, table: Tensor, inside: Tensor) -> Tensor:
    """Log N(phi; m_in, s_in) − log N(phi; m_out, s_out), float64 [items]; NaN without a model each way.

    Args:
        phi: of the model under attack, float64 [items].
        table: of the reference models, float64 [K, items].
        inside: whether each was trained on an item, bool [K, items].
    """
    sides = []
    for mask in (inside, ~inside):
        mean = _mean(table, mask)
        deviation = _pooled_deviation(table, mask, mean)
        sides.append(-0.5 * ((phi - mean) / deviation) ** 2 - deviation.log())
    return sides[0] - sides[1]


def distance_from_out(phi: Tensor, table: Tensor, inside: Tensor) -> Tensor:
    """(phi − m_out) / s_out, float64 [items]; as `likelihood_ratio`."""
    mean = _mean(table, ~inside)
    return (phi - mean) / _pooled_deviation(table, ~inside, mean)


def _mean(table: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, table, 0.0).sum(dim=0) / mask.sum(dim=0)


def _pooled_deviation(table: Tensor, mask: Tensor, mean: Tensor) -> Tensor:
    """One deviation for all items, from how far models lie from the mean of their item."""
    residual = torch.where(mask, (table - mean) ** 2, 0.0).sum()
    freedom = (mask.sum(dim=0) - 1).clamp_min(0).sum()
    return (residual / freedom.clamp_min(1)).sqrt().clamp_min(LEAST_DEVIATION)
