"""The certificate of graphs on MUTAG: sound against every single edit of every graph, and a thousand larger ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from auditor.data.edits import EdgeSpace, select_graphs
from auditor.data.sources import load_data
from auditor.evaluate.certificate.division import Division, radius, winners
from auditor.evaluate.certificate.graphs import votes_after_each_flip
from auditor.targets.train import train_reference

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("parts", [5, 11])
def test_no_edit_changes_a_certified_answer(parts: int, data_root: Path, tmp_path: Path) -> None:
    target = train_reference(load_data("tu_mutag", root=data_root), "gin", hidden=16, out_dir=tmp_path)
    handle, classes, graph = target.handle(), target.num_classes, target.graph
    division = Division(parts, directed=False)
    votes = division.votes(handle, graph, classes)
    own, safe = winners(votes), radius(votes)
    assert (safe >= 1).sum() > 20, "a test that certifies nothing cannot fail"
    for item in np.flatnonzero(safe >= 1):
        alone, _nodes = select_graphs(graph, torch.tensor([item]))
        after = votes_after_each_flip(division, handle, alone, classes)
        assert len(after) == alone.num_nodes * (alone.num_nodes - 1) // 2
        assert (winners(after) == own[item]).all()

    rng = np.random.default_rng(0)
    tried = 0
    while tried < 1000:
        keys = []
        for item in np.flatnonzero(safe >= 1):
            alone, nodes = select_graphs(graph, torch.tensor([item]))
            space = EdgeSpace.of(alone)
            u, v = space.ends(space.draw(int(safe[item]), rng))
            keys.append(nodes[u] * graph.num_nodes + nodes[v])
        edited = division.votes(handle, EdgeSpace.of(graph).toggled(torch.cat(keys)), classes)
        assert (winners(edited) == own)[safe >= 1].all()
        tried += len(keys)
