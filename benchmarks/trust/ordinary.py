"""Ordinary trained models: what the policy says of each, and whether it says the same at other seeds."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from torch_geometric.data import Data

import auditor
from auditor.api.report import Report
from auditor.document import Result
from benchmarks.trust.models import Edgeless, trained
from benchmarks.trust.running import each
from benchmarks.trust.settings import HIDDEN, POLICY, RECIPE, SEEDS
from reports.sentences.compose import said, word

PROFILE: Final = "quick"
MLP: Final = "mlp"


@dataclass(frozen=True, slots=True)
class Ordinary:
    """A model that `auditor train` makes, or an edge-free one on its data and split."""

    arch: str
    data: str

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.arch} on {self.data}"


MODELS: Final = (
    Ordinary("gcn", "cora"),
    Ordinary("gat", "cora"),
    Ordinary("sage", "cora"),
    Ordinary(MLP, "cora"),
    Ordinary("gcn", "citeseer"),
    Ordinary("gcn", "airports_usa"),
    Ordinary("sage", "airports_usa"),
    Ordinary("gin", "tu_proteins"),
)
REPEATED: Final = tuple(MODELS[i] for i in (0, 3, 5, 6, 7))
"""The five whose judgements are repeated at other seeds."""
ATTACK_SEEDS: Final = (0, 1, 2, 3, 4)
TRAINING_SEEDS: Final = (0, 1, 2)


def audited(model: Ordinary, training_seed: int, attack_seeds: tuple[int, ...]) -> list[Report]:
    """Audits of one trained model, one for each attack seed."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "target"
        arch = "gcn" if model.arch == MLP else model.arch
        seed = str(SEEDS["ordinary"] + training_seed)
        command = ["train", "--data", model.data, "--arch", arch, "--seed", seed, "-o", str(target)]
        subprocess.run([sys.executable, "-m", "auditor", *command], check=True, capture_output=True)
        run = partial(_audit_mlp, seed=int(seed)) if model.arch == MLP else _audit
        return [run(target, attack_seed) for attack_seed in attack_seeds]


def _audit(target: Path, attack_seed: int) -> Report:
    return auditor.audit(target, seeds=[attack_seed], profile=PROFILE, policy=POLICY, threads=1)


def _audit_mlp(other: Path, attack_seed: int, *, seed: int) -> Report:
    """An edge-free model on the data and the split of a target."""
    loaded = auditor.load_target(other)
    graph, split = loaded.graph, loaded.split

    def build() -> Edgeless:
        return Edgeless(graph.num_features, HIDDEN, loaded.num_classes)

    data = Data(x=graph.x, edge_index=graph.edge_index, y=graph.y)
    return auditor.audit(
        trained(build, data, split.train, RECIPE, seed),
        data,
        split={"train": split.train, "test": split.test, "val": split.val},
        build=build,
        recipe=RECIPE,
        name=MLP,
        seeds=[attack_seed],
        profile=PROFILE,
        policy=POLICY,
        threads=1,
    )


def sense(model: Ordinary) -> tuple[str, list[tuple[str, str, str]]]:
    """The verdict, and of each judged number what it is, the word and the sentence."""
    (report,) = audited(model, TRAINING_SEEDS[0], ATTACK_SEEDS[:1])
    item = report.document.target.task.level
    return report.verdict.status, [(_name(r), word(r), said(r, item)) for r in report.findings]


def statuses(model: Ordinary, training_seed: int, attack_seeds: tuple[int, ...]) -> list[dict[str, str]]:
    """Status of every judged number, by name, for each attack seed."""
    return [
        {_name(r): r.judgement.status for r in report.findings if r.judgement is not None}
        for report in audited(model, training_seed, attack_seeds)
    ]


def _name(result: Result) -> str:
    return " ".join(filter(None, (result.probe, result.finding, result.metric, result.subset)))


def print_sense(jobs: int) -> None:
    """What is said of every judged number of every model."""
    print(f"\n## Policy sense: ordinary models, {PROFILE}, policy `{POLICY}`\n")
    for model, (verdict, rows) in zip(MODELS, each(sense, [(model,) for model in MODELS], jobs), strict=True):
        print(f"\n### {model.name}: {verdict}\n")
        print("| number | verdict | why |")
        print("|---|---|---|")
        for name, verdict_word, why in rows:
            print(f"| {name} | {verdict_word} | {why} |", flush=True)


def print_stability(jobs: int) -> None:
    """Judgements that change between seeds; pass and fail of one number are a flip."""
    runs: list[tuple[Ordinary, int, tuple[int, ...]]] = [(model, 0, ATTACK_SEEDS) for model in REPEATED]
    runs += [(model, seed, ATTACK_SEEDS[:1]) for model in REPEATED for seed in TRAINING_SEEDS[1:]]
    found = dict(zip([(model, seed) for model, seed, _ in runs], each(statuses, runs, jobs), strict=True))
    attacked = {model: found[model, 0] for model in REPEATED}
    retrained = {model: [found[model, seed][0] for seed in TRAINING_SEEDS] for model in REPEATED}
    _print_changes(f"attack seeds {_listed(ATTACK_SEEDS)}, one training", attacked)
    _print_changes(f"training seeds {_listed(TRAINING_SEEDS)}, one attack seed", retrained)


def _print_changes(title: str, tables: dict[Ordinary, list[dict[str, str]]]) -> None:
    print(f"\n## Stability: {title}, {PROFILE}, policy `{POLICY}`\n")
    print("| model | numbers judged | same at every seed | settled at some seeds only | pass and fail |")
    print("|---|---|---|---|---|")
    told = []
    for model, table in tables.items():
        names = dict.fromkeys(name for one in table for name in one)
        words = {name: [one.get(name, "absent") for one in table] for name in names}
        changed = {name: own for name, own in words.items() if len(set(own)) > 1}
        flips = {name for name, own in changed.items() if {"pass", "fail"} <= set(own)}
        counts = (len(words), len(words) - len(changed), len(changed) - len(flips), len(flips))
        print(f"| {model.name} | {' | '.join(map(str, counts))} |")
        for name, own in changed.items():
            told.append(f"- {'FLIP, ' if name in flips else ''}{model.name}, {name}: {', '.join(own)}")
    print()
    print("\n".join(told) or "No judgement changes.")


def _listed(seeds: Sequence[int]) -> str:
    return f"{seeds[0]} to {seeds[-1]}"
