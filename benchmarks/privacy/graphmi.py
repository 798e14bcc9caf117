"""GraphMI on named graphs: cost of both forms, AUC and AP beside the controls (`python -m benchmarks.privacy.graphmi`).

Targets are GCNs of width 16, trained by the recipe of `auditor train`, one per seed. Every cost is of one attack in a
process of its own: CPU seconds of `run` alone, and the peak memory of the whole process, imports and data included.
Scores are read on all edges against 200,000 non-edges, and on draws of 10 % of the nodes (the protocol of papers).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auditor import registry
from auditor.data.roots import resolve_root
from auditor.data.sources import load_data
from auditor.evaluate.links.controls import no_model_controls
from auditor.evaluate.links.harness import side_knowledge
from auditor.evaluate.links.pairs import Truth, pairs_inside, prior_pairs
from auditor.evaluate.links.paper_protocol import SUBSET, balanced_metrics
from auditor.outcomes import LinkOutcome
from auditor.probe import Attempt, Registered
from auditor.statistics.intervals import student_t
from auditor.statistics.ranking import Ranking, auc
from auditor.targets.target import Target
from auditor.targets.train import train_reference
from auditor.view import SideKnowledge, grant_privacy

MEANS = {"AUC": "auc", "papers' AUC": "paper_auc", "papers' AP": "paper_ap", "CPU s": "cpu_s", "peak MB": "peak_mb"}


def trained(name: str, seed: int, transform: str | None) -> Target:
    """A reference GCN of width 16 on a named graph."""
    data = load_data(name, root=resolve_root(None))
    with tempfile.TemporaryDirectory() as folder:
        return train_reference(data, "gcn", hidden=16, seed=seed, out_dir=Path(folder) / "target", transform=transform)


def registered(id_: str, **settings: Any) -> Registered:
    """A registered attack with these settings."""
    entry = registry.find("attacks", id_)
    return Registered(entry, entry.load()(**settings))


def attacked(attack: Registered, target: Target, nodes: torch.Tensor | None = None) -> tuple[LinkOutcome, float]:
    """The outcome, and the CPU seconds of `run` alone."""
    view = grant_privacy(target, attack.access, SideKnowledge(), np.random.default_rng(0), attacked=nodes)
    start = time.process_time()
    outcome = attack.run(view, Attempt(np.random.default_rng(0), torch.Generator().manual_seed(0)))
    assert isinstance(outcome, LinkOutcome)
    return outcome, time.process_time() - start


def measure(name: str, seed: int, transform: str | None, form: str, draws: int) -> dict[str, Any]:
    """One row: cost and scores of one form (or of posterior similarity) on one target."""
    torch.set_num_threads(1)
    target = trained(name, seed, transform)
    attack = registered(form) if form == "posterior-similarity" else registered("graphmi", form=form)
    outcome, seconds = attacked(attack, target)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    truth = Truth.of(target.graph)
    prior = prior_pairs(truth, 200_000, np.random.default_rng(1))

    def area(values: torch.Tensor) -> float:
        return auc(Ranking(values.numpy(), prior.is_edge).curve(prior.inclusion))

    knowledge = side_knowledge(target, SideKnowledge(), np.random.default_rng(0))
    controls = {c.name: area(c.scores[0](prior.tensor)) for c in no_model_controls(knowledge, seed=0)}
    best = max(controls, key=lambda key: controls[key])
    found = {"auc": area(outcome.score(prior.tensor)), "control": best, "control_auc": controls[best]}
    row = {"data": name, "seed": seed, "form": form, "accuracy": target.accuracy(), "cpu_s": seconds, "peak_mb": peak}
    return row | found | (_paper(target, truth, draws) if form == "dense" and draws else {})


def _paper(target: Target, truth: Truth, draws: int) -> dict[str, float]:
    """Mean AUC and AP of GraphMI's dense form over draws of 10 % of the nodes, by the protocol of papers."""
    attack = registered("graphmi", form="dense", protocol="paper")
    values = []
    for draw in range(draws):
        rng = np.random.default_rng([7, draw])
        nodes = np.sort(rng.choice(truth.num_nodes, truth.num_nodes // 10, replace=False))
        outcome, _ = attacked(attack, target, torch.from_numpy(nodes))
        pairs = pairs_inside(nodes, truth, SUBSET)
        values.append(balanced_metrics(outcome.score(pairs.tensor).numpy(), pairs, rng))
    mean, spread = np.mean(values, axis=0), np.std(values, axis=0, ddof=1)
    return {"paper_auc": mean[0], "paper_ap": mean[1], "paper_auc_sd": spread[0], "paper_ap_sd": spread[1]}


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One row a target in Markdown, then means over targets with Student's interval."""
    lines = [
        "| graph | form | seed | CPU s | peak MB | AUC | best guess without the model | papers' protocol: AUC / AP |",
        "|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["data"], row["form"]), []).append(row)
        lines.append(
            f"| {row['data']} | {row['form']} | {row['seed']} | {row['cpu_s']:.1f} | {row['peak_mb']:.0f} "
            f"| {row['auc']:.3f} | {row['control_auc']:.3f} ({row['control']}) | {_drawn(row)} |"
        )
    lines.append("")
    for (data, form), own in groups.items():
        told = [f"{name} {_mean([row[key] for row in own])}" for name, key in MEANS.items() if key in own[0]]
        lines.append(f"{data}, {form}, mean over targets: {', '.join(told)}.")
    return lines


def _drawn(row: Mapping[str, Any]) -> str:
    if "paper_auc" not in row:
        return "–"
    auc_, ap = (f"{row[f'paper_{name}']:.3f} ± {row[f'paper_{name}_sd']:.3f}" for name in ("auc", "ap"))
    return f"{auc_} / {ap}"


def _mean(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f}"
    lo, hi = student_t(values)
    return f"{np.mean(values):.3f} [{lo:.3f}, {hi:.3f}]"


def main() -> None:
    """Every combination in a child process; a table of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="cora,airports_usa")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--forms", default="knn,dense,posterior-similarity")
    parser.add_argument("--transform", default=None, help='"none" or "row-normalize"; default: that of auditor train')
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--one", action="store_true", help="measure the first combination here and print it")
    options = parser.parse_args()
    names, seeds, forms = (getattr(options, key).split(",") for key in ("data", "seeds", "forms"))
    if options.one:
        row = measure(names[0], int(seeds[0]), options.transform, forms[0], options.draws)
        print(json.dumps(row, default=float))
        return
    rows = []
    for name in names:
        for form in forms:
            for seed in seeds:
                command = [sys.executable, "-m", "benchmarks.privacy.graphmi", "--one", "--data", name, "--seeds", seed]
                command += ["--forms", form, "--draws", str(options.draws)]
                command += ["--transform", options.transform] if options.transform else []
                rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    print(f"± is the standard deviation of one draw of 10 % of the nodes, of {options.draws}.\n")
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
