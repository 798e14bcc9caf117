"""Who a GCN on Cora was trained on: LiRA, RMIA and a threshold beside their controls (`python -m ….membership`).

A GCN of width 64 is trained for 100 epochs on the graph of a random half of the nodes, its members, and nothing else
(inductive); it is asked about every node on the whole graph (`full`) and without edges (`0-hop`). References are
trained alike on other halves. Everything else is the recipe of `auditor train`; features are row-normalised.

Seeds, data and training were fixed before any number was seen. Each number is a mean over targets, its interval
Student's over them. CPU seconds are of training the references of one target, all together and one by one.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from attacks.privacy.membership_lira import MembershipLira
from auditor import registry
from auditor.data.graph import UNKNOWN, Graph, Split
from auditor.data.roots import resolve_root
from auditor.data.sources import apply_transform, load_data
from auditor.evaluate.membership.controls import blind, difficulty
from auditor.evaluate.membership.queries import ALONE, FULL, margins
from auditor.evaluate.membership.references import made_references
from auditor.evaluate.membership.trial import Trial
from auditor.probe import Attempt, Cell
from auditor.runner.execute import TrainedCache
from auditor.shared import Shared
from auditor.statistics import ranking
from auditor.statistics.intervals import student_t
from auditor.statistics.pair_scores import normal_scores
from auditor.targets.models import build_model
from auditor.targets.recipe import TrainRecipe
from auditor.targets.target import Capability, Fitted, Target
from auditor.targets.together import Job, fit_together
from auditor.view import Access, References, SideKnowledge, grant_privacy

MODEL = {"class": "GCN", "hidden_channels": 64, "num_layers": 2, "dropout": 0.5}
EPOCHS, REFERENCES, FEWER = 100, 32, 16
SEEDS = "0,1,2,3,4"
ACCESS = frozenset({Access.POSTERIORS, Access.LABELS, Access.OWN_QUERIES, Access.REFERENCES})


@dataclass(frozen=True)
class Inductive:
    """Training on the graph of the members alone."""

    inner: TrainRecipe

    def job(self, graph: Graph, split: Split, seed: int) -> Job:
        """What is trained: the members' graph, of which nothing is left to validate or test."""
        inside = graph.induced(torch.nonzero(split.train).flatten())
        every = torch.ones(inside.num_nodes, dtype=torch.bool)
        return Job(inside, Split(every, ~every, ~every, spec=UNKNOWN), seed)

    def fit(self, graph: Graph, split: Split, seed: int) -> Fitted:
        """One model."""
        job = self.job(graph, split, seed)
        return self.inner.fit(job.graph, job.split, seed)

    def fit_many(self, graph: Graph, splits: list[Split], seeds: list[int]) -> list[Fitted]:
        """A model for each split, side by side."""
        jobs = [self.job(graph, split, seed) for split, seed in zip(splits, seeds, strict=True)]
        models = fit_together(jobs, self.inner.build, partial(self.inner.optimizer_of, fused=True), self.inner.epochs)
        assert models is not None
        return [Fitted(model) for model in models]

    def describe(self) -> dict[str, object]:
        """Of the document."""
        return {**self.inner.describe(), "inductive": True}


def target_of(graph: Graph, seed: int) -> Target:
    """A target of that seed: who its members are, and its weights."""
    n, classes = graph.num_nodes, int(graph.y.max()) + 1
    train = torch.zeros(n, dtype=torch.bool)
    train[torch.from_numpy(np.random.default_rng(seed).permutation(n)[: n // 2])] = True
    split = Split(train, torch.zeros_like(train), ~train, spec="half", seed=seed)
    table = {**MODEL, "in_channels": graph.num_features, "out_channels": classes}
    recipe = Inductive(TrainRecipe(partial(build_model, table), epochs=EPOCHS))
    return Target(
        name="cora-half",
        graph=graph,
        split=split,
        num_classes=classes,
        capabilities=frozenset(Capability),
        kind="factory",
        digest=f"half-{seed}",
        provenance={},
        model=recipe.fit(graph, split, seed).model,
        recipe=recipe,  # type: ignore[arg-type]  # lists where sequences are asked for
    )


def measure(graph: Graph, seed: int) -> tuple[dict[str, tuple[float, float]], dict[str, float]]:
    """AUC and TPR at 1 in 100 of every attack and control on one target; and CPU seconds and accuracies."""
    target, side = target_of(graph, seed), SideKnowledge()
    trial, probe = Trial.of(target), registry.find_probe("membership-lira")
    cell = Cell(target, probe, (), {}, "full", seed, side, TrainedCache())
    start = time.process_time()
    made = made_references(cell, ACCESS, REFERENCES)
    costs = {"together": time.process_time() - start, "accuracy": target.accuracy()}
    start = time.process_time()
    for one in range(FEWER // 4):
        assert target.recipe is not None
        target.recipe.fit(graph, target.split, one)
    costs["one by one"] = (time.process_time() - start) * REFERENCES / (FEWER // 4)

    def scores(attack: MembershipLira, references: References, query: str) -> np.ndarray:
        view = grant_privacy(target, ACCESS, side, np.random.default_rng(0), references=references)
        claim = attack.run(view, Attempt(np.random.default_rng(0), torch.Generator()))
        return claim.scores[claim.variant.index(query)][trial.items].numpy()

    def area(column: np.ndarray) -> tuple[float, float]:
        curve = ranking.Ranking(column, trial.member).curve()
        return float(ranking.auc(curve)), float(ranking.tpr_at(curve, 0.01))

    every = made.references
    few = replace(every, trained_on=every.trained_on[:FEWER], margins={k: v[:FEWER] for k, v in every.margins.items()})
    online, offline, rmia = (MembershipLira(mode="online"), MembershipLira(mode="offline"), MembershipLira(form="rmia"))
    own = margins(grant_privacy(target, ACCESS - {Access.REFERENCES}, side, np.random.default_rng(0)))
    guess = blind(target, trial, features=True, seed=0, shared=Shared())
    assert guess is not None
    rows = {
        f"LiRA online, {REFERENCES} references, 0-hop": scores(online, every, ALONE),
        f"LiRA offline, {FEWER} references, 0-hop": scores(offline, few, ALONE),
        f"LiRA online, {FEWER} references, 0-hop": scores(online, few, ALONE),
        f"LiRA online, {REFERENCES} references, full": scores(online, every, FULL),
        f"RMIA online, {REFERENCES} references, 0-hop": scores(rmia, every, ALONE),
        "threshold, 0-hop": own[ALONE][trial.items].numpy(),
        "threshold, full": own[FULL][trial.items].numpy(),
        "control: difficulty, 0-hop": difficulty(every, ALONE, trial),
        "control: blind": guess,
    }
    lira = next(iter(rows.values()))
    for name in ("control: difficulty, 0-hop", "control: blind"):
        rows[f"first row and {name}, added up"] = _added(lira, rows[name])
    return {name: area(column) for name, column in rows.items()}, costs


def _added(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Normal scores of both ranks added up, as attack and control are in an audit where the control beats chance."""
    return normal_scores(first, np.sort(first)) + normal_scores(second, np.sort(second))


def main() -> None:
    """One line a row, mean over targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default=SEEDS)
    seeds = [int(seed) for seed in parser.parse_args().seeds.split(",")]
    torch.set_num_threads(1)
    graph = replace(apply_transform(load_data("cora", root=resolve_root(None)).graph, "row-normalize"), whole_x=False)
    found, costs = zip(*(measure(graph, seed) for seed in seeds), strict=True)
    print(f"cora, half of the nodes members, GCN-64, {EPOCHS} epochs, inductive; targets of seeds {seeds}")
    print(f"{'':54} {'AUC':>22} {'TPR at 1 in 100':>24}")
    for name in found[0]:
        cells = []
        for place in (0, 1):
            values = [row[name][place] for row in found]
            lo, hi = student_t(values)
            cells.append(f"{np.mean(values):.3f} [{lo:.3f}, {hi:.3f}]")
        print(f"{name:54} {cells[0]:>22} {cells[1]:>24}")
    for name in costs[0]:
        values = [row[name] for row in costs]
        what = "test accuracy" if name == "accuracy" else f"{REFERENCES} references {name}, CPU s"
        print(f"{what}: {', '.join(f'{value:.3g}' for value in values)}")
    print("one by one is measured on 4 trainings and scaled")


if __name__ == "__main__":
    main()
