"""Breaks one node at a time: the pairs that promise most towards any other class, tried on real edges, flip by flip."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from attacks.robustness.near import Near
from attacks.robustness.node_pairs import Mode, labelled, modes_of, pairs_for, room
from attacks.robustness.soft_flips import Victim
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.parameters import Circumstances, Only, parameters
from auditor.probe import Attempt
from auditor.view import View


def _one_rival(here: Circumstances) -> str:
    name, classes = here.target.name, here.target.num_classes
    return f"{name} tells two classes, and the other one is followed anyway" if classes == 2 else ""


@parameters
class LocalEvasion:
    """Flips edges for one node until its answer is wrong, the best of a few exactly evaluated ones each time.

    Each step ranks every pair that it may toggle by what is left of the margin to each other class once the pair's
    gradient is followed to its end: the least over the classes counts. The best `shortlist` are evaluated on really
    edited edges, in one call on the node's surroundings, and the one that leaves the least margin is kept.

    The gradient of the margin itself follows the class that comes second as nothing is edited, and ranks a pair last
    that pushes another class past both.

    Attributes:
        modes: `direct` toggles pairs at the node, `influencer` pairs of others near it, `additions` and `deletions`
            only new or only old edges at it; empty for the profile's.
        shortlist: pairs evaluated in each step.
        rivals: other classes that have a gradient of their own, those of the largest outputs.

    Source: the one-node setting of Zügner et al., "Adversarial Attacks on Neural Networks for Graph Data" (Nettack),
    KDD 2018; candidates from the gradient of the model itself. A linear step towards each class, the least of which
    decides: Moosavi-Dezfooli et al., "DeepFool", CVPR 2016, section 3.
    """

    modes: tuple[Mode, ...] = ()
    shortlist: Annotated[int, Field(ge=1)] = 6
    rivals: Annotated[int, Field(ge=1), Only(unless=_one_rival)] = 8

    def run(self, view: View, attempt: Attempt) -> FlipOutcome:
        """For each mode, node and budget the first flips of one path; `variant` says whose.

        Raises:
            SkippedError: the model has no edge gradient, or classifies graphs.
        """
        rooms = room(view, attempt)
        victim = Victim.of(view)
        near, handle = Near(victim), victim.relaxation.handle
        calls_before = handle.calls
        points, variants = [], []
        most = torch.stack(rooms).max(dim=0).values.tolist() if rooms else []
        modes = modes_of(self.modes, attempt.profile)
        nodes = view.items.tolist()
        for m, mode in enumerate(modes):
            for place, node in enumerate(nodes):
                attempt.tick((m + place / len(nodes)) / len(modes), f"local-evasion: {mode}, node {node}")
                pairs = pairs_for(victim.space, node, mode, near.hops, attempt.rng)
                path = self._path(victim, near, place, pairs, int(most[place]))
                for budget, own in zip(attempt.budgets, rooms, strict=True):
                    points.append(FlipSet(budget, path[: int(own[place])]))
                    variants.append(labelled(mode, node))
        notes: dict[str, Any] = {
            "relaxation": victim.relaxation.kind,
            "gap": victim.relaxation.gap,
            "gaps": victim.relaxation.gaps,
            "calls": handle.calls - calls_before,
            "output_scale": victim.outputs.scale,
            "surroundings": near.agrees,
        }
        if near.follows:
            notes["surroundings_of_gradients"] = all(near.follows.values())
        return FlipOutcome(tuple(points), tuple(variants), notes)

    def _path(self, victim: Victim, near: Near, place: int, pairs: Tensor, most: int) -> Tensor:
        """Flips against the node at `place`, the first one first, int64 [<= most]; ends where it is wrong."""
        node, y = int(victim.items[place]), victim.y[place : place + 1]
        one = replace(victim, items=victim.items[place : place + 1], y=y)
        path = torch.empty(0, dtype=torch.int64)
        left = float(near.margins(node, y, [path])[0])
        while left > 0 and path.numel() < min(most, pairs.numel()):
            rest = pairs[~torch.isin(pairs, path)]
            promised = near.promised(one, path, rest, self.rivals)
            best = torch.topk(promised, min(self.shortlist, rest.numel())).indices
            tried = [torch.cat([path, rest[i : i + 1]]) for i in best.tolist()]
            after = near.margins(node, y, tried)
            chosen = int(after.argmin())
            path, left = tried[chosen], float(after[chosen])
        return path
