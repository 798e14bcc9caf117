"""Harness of left-out-class: would the recipe notice items of a class that it never saw?

The recipe is trained anew without the labels of a class, and that class's answers are taken away. Items of the class,
whether or not the model in the file was trained on them, are then what comes as news; test items of the other classes
stand beside them. No number is about the model in the file: all are about its recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from auditor.data.graph import Split
from auditor.document import Control, Estimate, Measured, Metric, measured
from auditor.document.facts import NewClass
from auditor.errors import AuditorError, ConfigError, SkippedError
from auditor.evaluate.shift.detection import Halves, chance
from auditor.evaluate.shift.detectors import of_others
from auditor.evaluate.shift.embedded import embedded
from auditor.evaluate.shift.inputs import best_statistic, statistics
from auditor.evaluate.shift.noticing import SAME_DATA, told_apart
from auditor.evaluate.shift.reference import MIN_ITEMS, all_blocks, within
from auditor.evaluate.shift.unlike_scores import scores_of
from auditor.parameters import Only, build, parameters
from auditor.probe import Cell, CellResult
from auditor.registry import lack_of
from auditor.statistics.clustered import Resamples
from auditor.statistics.detection import aupr, auroc, fpr95
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.target import Capability, Target

JUDGED = Metric("new_class_auroc", "auc", "lower", "silent-failure")
FINDING = "shift-new-class-unnoticed"
REPLICATES = 1000
LEAST = 2
"""Classes that must be left, so that there is something to be sure of."""


@parameters
class Settings:
    """Parameters of the harness.

    Attributes:
        classes: left out together; none for each class in its turn.
        isolated: what propagation does to a node without neighbours: `keep` its score, or `decay` it as was published.
    """

    classes: tuple[Annotated[int, Field(ge=0)], ...] = ()
    isolated: Annotated[Literal["keep", "decay"], Only(level="node")] = "keep"


@dataclass(frozen=True, slots=True, eq=False)
class _LeftOut:
    """What is left out, what trains then, and which items are compared.

    Attributes:
        classes: left out.
        split: without them in training and validation.
        inside: test items of the other classes, int64 [n].
        outside: items of the classes left out, int64 [m].
    """

    classes: tuple[int, ...]
    split: Split
    inside: Tensor
    outside: Tensor

    @classmethod
    def of(cls, target: Target, classes: tuple[int, ...]) -> _LeftOut:
        """Without these classes.

        Raises:
            SkippedError: too few items on a side, or fewer than two classes to train on.
        """
        graph, split = target.private_graph, target.split
        gone = torch.isin(graph.y, torch.tensor(classes)) & graph.labelled
        made = _LeftOut(
            classes,
            Split(split.train & ~gone, split.val & ~gone, split.test),
            torch.nonzero(split.test & graph.labelled & ~gone).flatten(),
            torch.nonzero(gone).flatten(),
        )
        for what, count in (("test items of other classes", len(made.inside)), ("items of it", len(made.outside))):
            if count < MIN_ITEMS:
                raise SkippedError(f"{count} {what}; at least {MIN_ITEMS} are needed")
        if len(torch.unique(graph.y[made.split.train & graph.labelled])) < LEAST:
            raise SkippedError("fewer than two classes are left to train on")
        return made


def check_classes(target: Target, params: Mapping[str, str], owner: str) -> None:
    """Whether the classes that the user named are there and leave others, before anything runs.

    Raises:
        ConfigError: one is not there, or fewer than two others are.
    """
    _sets(target, build(Settings, params, owner=owner))


def _sets(target: Target, settings: Settings) -> list[tuple[int, ...]]:
    classes, named = target.num_classes, tuple(sorted(set(settings.classes)))
    if not named:
        return [(c,) for c in range(classes)]
    said = "/".join(map(str, named))
    if named[-1] >= classes:
        raise ConfigError(
            f"classes={said}: {target.name} tells {classes} classes, 0 to {classes - 1}. Name some of those."
        )
    if classes - len(named) < LEAST:
        raise ConfigError(
            f"classes={said} leaves {classes - len(named)} of {classes} classes; expected at least two. Name fewer."
        )
    return [named]


def evaluate(cell: Cell) -> CellResult:
    """Trains the recipe without each class, and measures how well each score tells its items from the others.

    Raises:
        SkippedError: there is no recipe, the target serves classes alone, or no class can be left out.
        ConfigError: see `check_classes`.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    target = cell.target
    for needed in (Capability.SPLIT, Capability.PROBS, Capability.RETRAIN):
        if needed not in target.capabilities:
            raise SkippedError(f"needs {lack_of(needed)}", lacks=(str(needed),))
    sets = _sets(target, settings)
    if target.num_classes <= LEAST:
        raise SkippedError(f"{target.num_classes} classes; without one of them nothing is left to tell apart")
    missing: dict[str, str] = {}
    rows: list[Measured] = []
    for number, classes in enumerate(sets):
        name = "/".join(map(str, classes))
        cell.tick(number / len(sets), f"the recipe without class {name}")
        try:
            left_out = _LeftOut.of(target, classes)
            twin = target.retrained(split=left_out.split, seed=cell.seed)
            rows += _rows(cell, settings, left_out, twin, missing)
        except SkippedError as error:
            missing[name] = str(error)
        except (*TRIAL_ERRORS, AuditorError) as error:
            missing[name] = f"{type(error).__name__}: {error}"
    if not rows:
        raise SkippedError("; ".join(f"class {name}: {reason}" for name, reason in missing.items()))
    blocks = all_blocks(cell, target.private_graph)
    return CellResult(
        access=("features", "graph", "labels", "posteriors"),
        measured=tuple(rows),
        validity=(blocks.row(1.0),),
        params={
            "training_seed": cell.seed,
            "missing": missing,
            "isolated": settings.isolated,
            "replicates": REPLICATES,
        },
    )


def _rows(cell: Cell, settings: Settings, left_out: _LeftOut, twin: Target, missing: dict[str, str]) -> list[Measured]:
    """AUROC of every score; that of the largest posterior is judged.

    Raises:
        SkippedError: no answer is a number.
    """
    graph, name = twin.graph, "/".join(map(str, left_out.classes))
    known, lacking = embedded(twin)
    if lacking:
        missing[f"embeddings without {name}"] = lacking
    scores = {
        key: score.numpy()
        for key, score in scores_of(
            twin.handle(),
            graph,
            known,
            has_logits=Capability.LOGITS in twin.capabilities,
            isolated=settings.isolated,
            without=left_out.classes,
        ).items()
    }
    own, other = (ids.numpy() for ids in (left_out.inside, left_out.outside))
    if not np.isfinite(scores["msp"][own]).any():
        raise SkippedError("every answer about the test items is no number")
    accuracy = _accuracy(twin, left_out)
    both = Resamples.draw(all_blocks(cell, graph).ids, rng=cell.rng("resamples"), replicates=REPLICATES)
    inside, outside = (Resamples(both.weights, both.blocks[ids]) for ids in (own, other))
    halves = Halves.of_scores(scores["msp"][own], rng=cell.rng("halves", name))
    same_data = Control(name=SAME_DATA, estimate=within(halves.value, halves.bounds, len(own)))
    inputs = statistics(graph)
    statistic, visible = best_statistic(
        {key: value[own] for key, value in inputs.items()}, [{key: value[other] for key, value in inputs.items()}]
    )
    points = {key: auroc(score[own], score[other]) for key, score in scores.items()}
    rows = []
    for key, score in scores.items():
        told = told_apart(score[own], score[other], inside, outside)
        metric = JUDGED if key == "msp" else Metric(f"{key.replace('-', '_')}_auroc", "auc", "lower")
        facts = NewClass(
            classes=left_out.classes,
            detector=key,
            isolated=settings.isolated,
            accuracy=accuracy,
            inputs=visible,
            statistic=statistic,
            aupr=aupr(score[own], score[other]),
            aupr_chance=len(own) / (len(own) + len(other)),
            fpr95=fpr95(score[own], score[other]),
            auroc=points,
        )
        without = Control(name="input-statistics", estimate=Estimate(value=visible, n=len(other)))
        rows.append(
            measured(
                metric,
                told,
                finding=FINDING,
                subset=f"class={name}",
                controls=(chance(told), same_data, without),
                judged=metric is JUDGED,
                facts=facts,
            )
        )
    return rows


def _accuracy(twin: Target, left_out: _LeftOut) -> float:
    """Of the recipe without these classes, on test items of the others, asked about the others alone."""
    kept = torch.tensor([c for c in range(twin.num_classes) if c not in left_out.classes])
    answers = kept[of_others(twin.clean_logits(), left_out.classes)[left_out.inside].argmax(dim=1)]
    return float((answers == twin.graph.y[left_out.inside]).double().mean())
