"""What defences share: the defended target with its tag, the recipe that refits it, the fit from the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import Tensor, nn

from auditor.data.graph import Graph, Split
from auditor.defense import Defense, DefenseTask
from auditor.errors import CapabilityError, LoadError, SkippedError
from auditor.parameters import spec_of
from auditor.shared import content
from auditor.targets.copying import copied
from auditor.targets.model_state import StateError, state_of
from auditor.targets.tag import DefenseTag
from auditor.targets.target import Fitted, Rebuilds, Target


class Trains(Defense, Protocol):
    """A defence that makes a model from a target and a task."""

    def train(self, base: Target, task: DefenseTask) -> Fitted:
        """The defended model, and what the fit has to say.

        `base` is trained already; an end-to-end method builds afresh from `task.seed` and does not look at its model.
        """
        ...


def defended(
    base: Target,
    fitted: Fitted,
    defense: Trains,
    task: DefenseTask,
    recipe: DefenseRecipe | None,
    *,
    starts_trained: bool = False,
) -> Target:
    """`base` with another model and the tag of the defence; its digest is that of base, defence, version and seed.

    A fit with noise left out or halved carries no Guarantee, whatever it says.
    """
    spec = spec_of(defense)
    scale = () if task.noise_scale == 1 else (f"noise={task.noise_scale:g}",)
    word = "\0".join((base.digest, spec, defense.version, str(task.seed), *scale))
    pending = replace(
        base,
        name=f"{base.name}+{defense.id}",
        recipe=recipe,
        digest=hashlib.sha256(word.encode()).hexdigest(),
        claimed_accuracy=None,
        defense=DefenseTag(spec, defense.version, task.seed, base.digest, starts_trained=starts_trained),
    )
    return pending.fitted(_promised(fitted, task), base.private_graph, base.split, task.seed)


def _promised(fitted: Fitted, task: DefenseTask) -> Fitted:
    return fitted if task.noise_scale == 1 else replace(fitted, guarantee=None)


@dataclass(frozen=True, slots=True, eq=False)
class DefenseRecipe:
    """RETRAIN of a defended target: the base's recipe where the method starts from a trained model, then the defence.

    A refit is for evaluation: its noise comes from the seed, whatever the first fit drew from.
    """

    defense: Trains
    base: Target
    task: DefenseTask
    needs_trained: bool

    def fit(self, graph: Graph, split: Split, seed: int) -> Fitted:
        """See `auditor.targets.target.Recipe`."""
        base = replace(self.base, graph=graph, private=None, split=split)
        if self.needs_trained:
            if base.recipe is None:
                raise CapabilityError(f"{base.name} cannot be retrained: it has no [target.train] table.")
            base = base.fitted(base.recipe.fit(graph, split, seed), graph, split, seed)
        task = replace(self.task, seed=seed, release=False)
        return _promised(self.defense.train(base, task), task)

    def depends_on(self, seed: int) -> str:
        """See `auditor.targets.target.Rebuilds`."""
        base, task = self.base, self.task
        if not isinstance(base.recipe, Rebuilds):
            raise StateError(base.name)
        own = base.recipe.depends_on(seed), spec_of(self.defense), self.defense.version
        return content(*own, base.digest, state_of(base.model), self.needs_trained, task.noise_scale, task.group)

    def rebuilt(self, graph: Graph, split: Split, seed: int, tensors: Mapping[str, Tensor]) -> Fitted:
        """See `auditor.targets.target.Rebuilds`."""
        base = replace(self.base, graph=graph, private=None, split=split)
        target = self.defense.wrap(base, tensors, replace(self.task, seed=seed, release=False))
        return Fitted(target.model, released=None if target.private is None else target.graph)

    def describe(self) -> Mapping[str, Any]:
        """The base's table and the defence."""
        own = {} if self.base.recipe is None else self.base.recipe.describe()
        return {**own, "defense": spec_of(self.defense), "version": self.defense.version}


def refuse_second(defense: Trains, target: Target) -> None:
    """Raises SkippedError for a target that is defended already.

    A guarantee speaks of the training that made it, and a second fit reads the private data again; a saved target has
    room for one defence, so that the first would be lost on loading.
    """
    if target.defense is not None:
        raise SkippedError(
            f"{target.name} is defended by {target.defense.spec}, and {spec_of(defense)} would train on the private "
            "data again: what the first defence promises, or was measured to gain, would not hold for the result. Give "
            "the undefended target."
        )


def refit_trained(defense: Trains, target: Target, task: DefenseTask) -> Target:
    """The defended target of a method that starts from the trained model as it is.

    Raises:
        SkippedError: the target is defended already.
    """
    refuse_second(defense, target)
    recipe = None if target.recipe is None else DefenseRecipe(defense, target, task, needs_trained=True)
    return defended(target, defense.train(target, task), defense, task, recipe, starts_trained=True)


def train_afresh(defense: Trains, target: Target, task: DefenseTask) -> Target:
    """The defended target of an end-to-end method, from the cache of trained models where an equal fit lies there.

    A fit for release is made for that alone: its noise is nobody's to share.

    Raises:
        SkippedError: the target has no RETRAIN, or is defended already.
    """
    refuse_second(defense, target)
    if target.recipe is None or target.build is None:
        raise SkippedError(
            f"{spec_of(defense)} trains from scratch and {target.name} has no RETRAIN; expected a [target.train] table "
            "and a way to build the model. Use a head mode (l2r:mode=head, group-balanced) instead."
        )
    recipe = DefenseRecipe(defense, target, task, needs_trained=False)
    if task.release:
        return defended(target, defense.train(target, task), defense, task, recipe)
    pending = defended(target, Fitted(target.model), defense, task, recipe)
    return task.models.twin(pending, target.private_graph, task.seed)


def rebuilt(
    defense: Trains,
    base: Target,
    tensors: Mapping[str, Tensor],
    task: DefenseTask,
    *,
    head: bool,
    model: nn.Module | None = None,
) -> Target:
    """The defended target from its saved state dict.

    Args:
        defense: what made it.
        base: the undefended target.
        tensors: the state dict.
        task: see `DefenseTask`.
        head: whether the method starts from the trained model.
        model: what the tensors belong in, with buffers of the right shapes; by default a copy of the base's model.

    Raises:
        LoadError: a tensor is missing, left over or of another shape.
    """
    model = copied(base.model) if model is None else model
    try:
        model.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        raise LoadError(
            f"the saved tensors do not fit {base.name}: {error}. Expected the state dict that {defense.id} saved for "
            "this model; fit the defence again."
        ) from None
    model = model.eval().requires_grad_(False)
    recipe = None if base.recipe is None else DefenseRecipe(defense, base, task, needs_trained=head)
    return defended(base, Fitted(model), defense, task, recipe, starts_trained=head)
