"""Heads that score pairs (class of the node, class of its cluster), their marginal and their loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCK_BYTES = 64 << 20
LOW_RANK_ABOVE, LOW_RANK = 32, 16


class JointHead(nn.Module):
    """Full head: one linear layer from [u, w] to C x C scores; (2 d + 1) C^2 parameters.

    Rows are the classes of the first input, columns those of the second.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.lin = nn.Linear(2 * width, classes * classes)

    def first(self, u: Tensor) -> Tensor:
        """What the first input adds, [n, C, C]."""
        return functional.linear(u, self.lin.weight[:, : u.shape[1]]).view(-1, self.classes, self.classes)

    def second(self, w: Tensor) -> Tensor:
        """What the second adds, bias included, [n, C, C]."""
        part = functional.linear(w, self.lin.weight[:, w.shape[1] :], self.lin.bias)
        return part.view(-1, self.classes, self.classes)

    def forward(self, u: Tensor, w: Tensor) -> Tensor:
        """Inputs u [n, d] and w [n, d] -> scores [n, C, C]."""
        return self.first(u) + self.second(w)


class LowRankHead(nn.Module):
    """J[c, c'](u, w) = alpha_c(u) + beta_c'(w) + <U_c u, V_c' w> / sqrt(r); 2 d C (1 + r) + 2 C parameters.

    Without the product the head is additive, the joint factorises and the marginal ignores the cluster.
    """

    def __init__(self, width: int, classes: int, rank: int) -> None:
        super().__init__()
        self.classes, self.rank = classes, rank
        self.alpha, self.beta = nn.Linear(width, classes), nn.Linear(width, classes)
        self.left, self.right = (nn.Linear(width, classes * rank, bias=False) for _ in range(2))

    def forward(self, u: Tensor, w: Tensor) -> Tensor:
        """Inputs u [n, d] and w [n, d] -> scores [n, C, C]."""
        left = self.left(u).view(-1, self.classes, self.rank)
        right = self.right(w).view(-1, self.classes, self.rank)
        product = torch.einsum("ncr,nkr->nck", left, right) / math.sqrt(self.rank)
        scores: Tensor = self.alpha(u)[:, :, None] + self.beta(w)[:, None, :] + product
        return scores


def make_joint_head(width: int, classes: int, rank: int | None) -> JointHead | LowRankHead:
    """The head of rank `rank`, full for None."""
    return JointHead(width, classes) if rank is None else LowRankHead(width, classes, rank)


def marginal(head: nn.Module, z: Tensor, prototypes: Tensor, place: Tensor, tau: float) -> Tensor:
    """Log-probabilities of the node's class, the cluster's summed out: float [n, C], rows normalised.

    Args:
        head: scores [n, C, C] of two inputs [n, d].
        z: embeddings [n, d].
        prototypes: [K, d].
        place: row of `prototypes` of each node, int64 [n].
        tau: temperature, the one used in training.
    """
    classes = int(getattr(head, "classes"))  # noqa: B009 - a plain attribute of nn.Module is typed as a tensor
    rows = max(1, BLOCK_BYTES // (4 * classes * classes))
    parts = []
    for i in range(0, z.shape[0], rows):
        part = slice(i, i + rows)
        parts.append(marginal_of(head(z[part], prototypes[place[part]]), tau))
    return torch.cat(parts) if parts else z.new_zeros(0, classes)


def marginal_of(scores: Tensor, tau: float) -> Tensor:
    """Sums over columns: logsumexp of log_softmax(scores / tau) over all C x C entries, [n, C]."""
    rows = torch.logsumexp(scores / tau, dim=2)
    return functional.log_softmax(rows, dim=1)


def joint_loss(first: Tensor, second: Tensor, y: Tensor, q: Tensor, tau: float) -> Tensor:
    """Cross-entropy of both orders of the pair against e_y (x) q, mean over the 2 n rows.

    Args:
        first: head(z, m) [n, C, C], target e_y (x) q.
        second: head(m, z) [n, C, C], target q (x) e_y.
        y: classes, int64 [n].
        q: label mixture of each node's cluster, [n, C].
        tau: temperature.

    Source: Miao et al., "Rethinking Independent Cross-Entropy Loss For Graph-Structured Data", ICML 2024.
    """
    own = functional.one_hot(y, q.shape[1]).to(q.dtype)
    target = own[:, :, None] * q[:, None, :]
    losses = [_against(first, target, tau), _against(second, target.transpose(1, 2), tau)]
    return torch.cat(losses).mean()


def _against(scores: Tensor, target: Tensor, tau: float) -> Tensor:
    """-<target, log_softmax of all C x C entries>, [n]."""
    log_p = functional.log_softmax((scores / tau).flatten(1), dim=1)
    return -(target.flatten(1) * log_p).sum(dim=1)
