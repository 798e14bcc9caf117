"""Graphs side by side, and rows of a report on a split, as several tests want them."""

from __future__ import annotations

import networkx as nx
import torch
from torch_geometric.data import Batch, Data

from auditor.data.fields import Fields
from auditor.data.graph import Graph
from auditor.data.hygiene.same_graph import Many
from auditor.split_report import SplitReport, SplitRow


def row_of(report: SplitReport, id_: str, about: str = "") -> SplitRow | None:
    return next((row for row in report.rows if row.id == id_ and row.about == about), None)


def many(*graphs: Data) -> Many:
    batch = Batch.from_data_list([Data(x=g.x, edge_index=g.edge_index, edge_attr=g.edge_attr) for g in graphs])
    y = torch.zeros(len(graphs), dtype=torch.int64)
    fields = Fields() if batch.edge_attr is None else Fields(edge={"edge_attr": batch.edge_attr})
    return Many.of(Graph(batch.x, batch.edge_index, y, batch=batch.batch, fields=fields))


def regular(seed: int, n: int = 10, degree: int = 3) -> Data:
    edge = torch.tensor(list(nx.random_regular_graph(degree, n, seed=seed).edges())).T
    return Data(x=torch.ones(n, 1), edge_index=torch.cat([edge, edge.flip(0)], 1))
