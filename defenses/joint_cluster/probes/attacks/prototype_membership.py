"""What a stored prototype says about whom it was made of: each training node pulled it towards itself."""

from __future__ import annotations

import torch
from torch import Tensor

from auditor.errors import SkippedError
from auditor.outcomes import MembershipOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.view import View
from defenses.joint_cluster.probes.attacks.partition_leak import find_table

NAME = "prototypes"


@parameters
class PrototypeMembership:
    """Scores a node by its distance to the stored prototype m_k of its cluster k, in two ways.

    `distance` is -|z_i - m_k|. `centred` is |z_i - c_k| - |z_i - m_k|, with c_k the mean embedding of the whole
    cluster: how much nearer a node is to the mean of its cluster's training nodes than to the mean of all its nodes.
    Training nodes may lie far out, which hides them from the plain distance and not from the difference.
    The cluster is the table's entry; without a table that of the nearest prototype.
    """

    def run(self, view: View, attempt: Attempt) -> MembershipOutcome:
        """Two scores for every node; nothing is trained. A node without a cluster scores least.

        Raises:
            SkippedError: the artefact holds no prototypes as wide as the embeddings.
        """
        prototypes, z = find_prototypes(view), view.embeddings.double()
        if prototypes is None or prototypes.shape[1] != z.shape[1]:
            raise SkippedError("the artefact holds no prototypes: no mean of training embeddings was shipped.")
        prototypes, table = prototypes.double(), find_table(view)
        place = torch.cdist(z, prototypes).argmin(dim=1) if table is None else table
        inside = place >= 0
        own = place.clamp_min(0)
        size = torch.bincount(own[inside], minlength=prototypes.shape[0]).clamp_min(1)
        centres = torch.zeros_like(prototypes).index_add(0, own[inside], z[inside]) / size[:, None]
        near, far = ((z - points[own]).norm(dim=1) for points in (prototypes, centres))
        scores = torch.stack([-near, far - near])
        return MembershipOutcome(
            torch.where(inside, scores, scores.min(dim=1, keepdim=True).values), ("distance", "centred")
        )


def find_prototypes(view: View) -> Tensor | None:
    """The prototypes in the model's buffers, float [K, d]; None when there are none."""
    for name, buffer in view.model.on_cpu.named_buffers():
        if name.rpartition(".")[2] == NAME and buffer.dim() == 2 and buffer.shape[0]:
            return buffer
    return None
