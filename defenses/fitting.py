"""What defences that change weights alone share: the canonical spec, the defended target, the recipe that refits it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from torch import Tensor, nn

from auditor.data.graph import Graph, Split
from auditor.errors import CapabilityError, LoadError, SkippedError
from auditor.probe import Defense, DefenseTask, spec_of
from auditor.targets.target import DefenseTag, Target

Notes = Mapping[str, Any]


class Trains(Defense, Protocol):
    """A defence whose result is the target's own architecture with other weights."""

    def train(self, base: Target, task: DefenseTask) -> tuple[nn.Module, Notes]:
        """The defended model, in eval mode, and plain values for the report.

        `base` is trained already; an end-to-end method builds afresh from `task.seed` and does not look at it.
        """
        ...


def defended(
    base: Target, model: nn.Module, defense: Trains, task: DefenseTask, notes: Notes, recipe: DefenseRecipe | None
) -> Target:
    """`base` with another model and the tag of the defence; its digest is that of base, defence, version and seed."""
    spec = spec_of(defense)
    word = "\0".join((base.digest, spec, defense.version, str(task.seed)))
    return replace(
        base,
        name=f"{base.name}+{defense.id}",
        model=model,
        recipe=recipe,
        digest=hashlib.sha256(word.encode()).hexdigest(),
        claimed_accuracy=None,
        defense=DefenseTag(spec, defense.version, task.seed, base.digest, None, dict(notes)),
        _clean={},
    )


@dataclass(frozen=True, slots=True, eq=False)
class DefenseRecipe:
    """RETRAIN of a defended target: the base's recipe where the method starts from a trained model, then the defence.

    `record` keeps the notes of each fit by (graph digest, seed), since a Recipe returns the model alone and the cache
    of trained models hands on the recipe that fitted it.
    """

    defense: Trains
    base: Target
    task: DefenseTask
    needs_trained: bool
    record: dict[tuple[str, int], Notes] = field(default_factory=dict)

    def fit(self, graph: Graph, split: Split, seed: int) -> nn.Module:
        """See `auditor.targets.target.Recipe`."""
        base = replace(self.base, graph=graph, split=split, _clean={})
        if self.needs_trained:
            if base.recipe is None:
                raise CapabilityError(f"{base.name} cannot be retrained: it has no [target.train] table.")
            base = replace(base, model=base.recipe.fit(graph, split, seed))
        model, notes = self.defense.train(base, replace(self.task, seed=seed))
        self.record[graph.digest(), seed] = notes
        return model

    def describe(self) -> Notes:
        """The base's table and the defence."""
        own = {} if self.base.recipe is None else self.base.recipe.describe()
        return {**own, "defense": spec_of(self.defense), "version": self.defense.version}


def refit_trained(defense: Trains, target: Target, task: DefenseTask) -> Target:
    """The defended target of a method that starts from the trained model as it is."""
    model, notes = defense.train(target, task)
    recipe = None if target.recipe is None else DefenseRecipe(defense, target, task, needs_trained=True)
    return defended(target, model, defense, task, notes, recipe)


def train_afresh(defense: Trains, target: Target, task: DefenseTask) -> Target:
    """The defended target of an end-to-end method, from the cache of trained models where an equal fit lies there.

    Raises:
        SkippedError: the target has no RETRAIN.
    """
    if target.recipe is None or target.build is None:
        raise SkippedError(
            f"{spec_of(defense)} trains from scratch and {target.name} has no RETRAIN; expected a [target.train] table "
            "and a way to build the model. Use a head mode (l2r:mode=head, group-balanced) instead."
        )
    recipe = DefenseRecipe(defense, target, task, needs_trained=False)
    pending = defended(target, target.model, defense, task, {}, recipe)
    twin = task.models.twin(pending, target.graph, task.seed)
    fitted = twin.recipe
    notes: Notes = (
        fitted.record.get((target.graph.digest(), task.seed), {}) if isinstance(fitted, DefenseRecipe) else {}
    )
    return defended(target, twin.model, defense, task, notes, recipe)


def rebuilt(defense: Trains, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask, *, head: bool) -> Target:
    """The defended target from its saved state dict.

    Raises:
        LoadError: a tensor is missing, left over or of another shape.
    """
    model = copy.deepcopy(base.model)
    try:
        model.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        raise LoadError(
            f"the saved tensors do not fit {base.name}: {error}. Expected the state dict that {defense.id} saved for "
            "this model; fit the defence again."
        ) from None
    model = model.eval().requires_grad_(False)
    recipe = None if base.recipe is None else DefenseRecipe(defense, base, task, needs_trained=head)
    return defended(base, model, defense, task, {}, recipe)
