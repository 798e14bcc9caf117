"""Stored prototypes with Gaussian noise in place of plain means."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from auditor.data.graph import Graph
from defenses.dp.prototypes import NO_GUARANTEE, noisy_prototypes
from defenses.joint_cluster.model import ClusterModel


def add_noise(
    model: ClusterModel, live: ClusterModel, graph: Graph, noise: float, rng: np.random.Generator
) -> dict[str, Any]:
    """Draws the stored prototypes of `model` again with noise, in place; the fallback is their mean by noisy counts.

    Args:
        model: serves by stored prototypes.
        live: the same fit, which knows its prototype nodes.
        graph: of the fit.
        noise: std on the sums and scaled counts, in units of the clip: the median length of the embeddings in them.
        rng: of the noise.

    Returns:
        What the report says: the clip, the std, and that there is no guarantee; empty for an arm without prototypes.
    """
    members, clusters, prototypes = live.members, live.member_cluster, model.prototypes
    if members is None or clusters is None or prototypes is None:
        return {}
    with torch.no_grad():
        z = live.embed(graph.x, graph.edge_index, graph.edge_weight)[members]
    clip = float(z.norm(dim=1).median().clamp_min(1e-6))
    means, counts = noisy_prototypes(z, clusters, prototypes.shape[0], clip, noise * clip, rng)
    stored = model.with_fallback(means, counts)
    model.prototypes, model.fallback = stored[:-1].clone(), stored[-1].clone()
    return {"prototype_clip": clip, "prototype_std": noise * clip, "prototype_noise": NO_GUARANTEE}
