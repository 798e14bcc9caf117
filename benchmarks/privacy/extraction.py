"""How far a copy of a Cora GCN agrees with it (`python -m benchmarks.privacy.extraction`).

Targets are GCNs of width 16 by the recipe of `auditor train`, public split, row-normalised features, training seeds 0,
1 and 2; each is one cell of the probe as it ships, its seed that of the training. Fidelity is on the half of the nodes
outside training and validation that nobody asked about. The loss of the copy was chosen on Citeseer.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from auditor import registry
from auditor.data.roots import resolve_root
from auditor.data.sources import load_data
from auditor.document import Estimate, Measured
from auditor.probe import Cell
from auditor.runner.execute import TrainedCache
from auditor.runner.plan import build_attacks
from auditor.statistics.seeds import joined
from auditor.targets.target import Target
from auditor.targets.train import train_reference
from auditor.view import SideKnowledge


def measure(target: Target, seed: int, params: dict[str, str]) -> tuple[tuple[Measured, ...], float]:
    """Every number of one cell, and the CPU seconds it took."""
    probe = registry.find_probe("extraction")
    attacks, own = build_attacks(probe, params)
    start = time.process_time()
    cell = Cell(target, probe, attacks, own, "full", seed, SideKnowledge(), TrainedCache())
    found = registry.load_location(probe.evaluation)(cell).measured
    return found, time.process_time() - start


def main() -> None:
    """One table: answers asked for, fidelity, its controls, the difference, over training seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cora")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--param", nargs="*", default=[], metavar="KEY=VALUE", help="parameters of the probe")
    parser.add_argument("--json", type=Path, help="where every number is kept")
    given = parser.parse_args()
    torch.set_num_threads(1)
    params = dict(word.split("=", 1) for word in given.param)
    data = load_data(given.data, root=resolve_root(None))
    rows: dict[str, list[Measured]] = {}
    seconds = []
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            target = train_reference(data, "gcn", hidden=16, seed=seed, out_dir=Path(folder) / "target")
        found, cost = measure(target, seed, params)
        seconds.append(cost)
        for row in found:
            rows.setdefault(row.subset, []).append(row)
        judged = next(row for row in found if row.judged)
        print(f"seed {seed}: {judged.subset}, fidelity {_shown(judged.estimate)}, {cost:.1f} CPU s", flush=True)
    print(f"\n{given.data}, GCN of 16 hidden units, training seeds {given.seeds}, {given.param or 'as shipped'}\n")
    print("| answers | copy | trained on true labels | commonest class | copy − strongest control |")
    print("|---|---|---|---|---|")
    for subset, own in rows.items():
        labels, constant = (joined([row.controls[k].estimate for row in own]) for k in (0, 1))
        excess = joined([row.contrast for row in own if row.contrast is not None])
        fidelity = joined([row.estimate for row in own])
        cells = (_shown(fidelity), _shown(labels), _shown(constant), _shown(excess))
        print(f"| {subset.partition('=')[2]} | {' | '.join(cells)} |")
    print(f"\nCPU seconds a cell, four budgets with their controls: {', '.join(f'{each:.0f}' for each in seconds)}")
    if given.json is not None:
        kept = {subset: [row.model_dump(mode="json") for row in own] for subset, own in rows.items()}
        given.json.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def _shown(estimate: Estimate) -> str:
    ends = "" if estimate.lo is None else f" [{estimate.lo:.3f}, {estimate.hi:.3f}]"
    return f"{estimate.value:.3f}{ends}"


if __name__ == "__main__":
    main()
