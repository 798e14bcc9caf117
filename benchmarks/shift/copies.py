"""How often copied graphs are found, and correct splits are called leaks (`python -m benchmarks.shift.copies`).

Copies of some test graphs, their nodes in another order, are put into train, 80/10/10, ten seeds, and ten more that
nobody looked at while the check was made. Each copy must be named; whether they are a leak is told by random splits of
the same graphs. Correct splits of the same sets must raise at most one alarm in twenty.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch

from auditor.data.graph import Graph, Split
from auditor.data.hygiene.items import item_rows
from auditor.data.roots import resolve_root
from auditor.data.sources import load_data
from auditor.data.splits import make_split
from auditor.split_report import SplitRow

NAMES = ("tu_proteins", "tu_aids", "tu_imdb_binary")
LEAK = 0.01
FRESH = 100
SPLIT = "random:0.8/0.1/0.1"


def with_copies(graph: Graph, split: Split, count: int, rng: np.random.Generator) -> tuple[Graph, Split]:
    """The same graphs and copies of some that test, which are trained on."""
    assert graph.batch is not None
    chosen = torch.from_numpy(rng.choice(torch.nonzero(split.test).flatten().numpy(), count, replace=False))
    copies = graph.induced(torch.nonzero(torch.isin(graph.batch, chosen)).flatten())
    assert copies.batch is not None
    order = torch.from_numpy(np.lexsort((rng.random(copies.num_nodes), copies.batch.numpy())))
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    both = replace(
        graph,
        x=torch.cat([graph.x, copies.x[order]]),
        edge_index=torch.cat([graph.edge_index, place[copies.edge_index] + graph.num_nodes], dim=1),
        y=torch.cat([graph.y, copies.y]),
        batch=torch.cat([graph.batch, copies.batch + graph.num_items]),
    )
    more, none = torch.ones(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
    return both, Split(*(torch.cat([a, b]) for a, b in ((split.train, more), (split.val, none), (split.test, none))))


def row_of(graph: Graph, split: Split) -> SplitRow:
    """What is said of graphs on both sides."""
    return item_rows(graph, split)[1]


def main() -> None:
    """One table: leaks found of the planted, copies named, alarms of the correct ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=list(NAMES))
    parser.add_argument("--copies", nargs="+", type=int, default=[5, 20])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--correct", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    kinds = [(count, first) for count in given.copies for first in (0, FRESH)]
    heads = [f"{count} copies{', fresh seeds' if first else ''}" for count, first in kinds]
    print(f"Leaks (p at most {LEAK}) of {given.seeds} seeds, every copy named unless said; twins without any copy\n")
    print(f"| set | {' | '.join(heads)} | correct splits called leaks | twins there |\n|{'---|' * (len(heads) + 3)}")
    for name in given.data:
        data = load_data(name, root=resolve_root(None))
        graph = data.graph
        cells = []
        for count, first in kinds:
            rows = []
            for seed in range(first, first + given.seeds):
                split = make_split(SPLIT, data, seed=seed)
                rows.append(row_of(*with_copies(graph, split, count, np.random.default_rng([seed, count]))))
            missed = sum(row.found < count for row in rows)
            found = sum(row.p is not None and row.p <= LEAK for row in rows)
            cells.append(f"{found} of {len(rows)}" + (f", {missed} not all named" if missed else ""))
        correct = [row_of(graph, make_split(SPLIT, data, seed=1000 + seed)) for seed in range(given.correct)]
        alarms = sum(row.p is not None and row.p <= LEAK for row in correct)
        usual = float(np.median([row.found for row in correct]))
        cells += [f"{alarms} of {len(correct)}", f"{usual:.0f} of {correct[0].of}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
