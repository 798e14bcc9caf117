"""`graphmi-noise`: the noise of the GraphMI authors' code, with the epsilon that it really has. A counter-example."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from auditor.data.graph import Graph
from auditor.defense import DefenseTask
from auditor.errors import CapabilityError, EvaluationError
from auditor.guarantee import Guarantee, Level
from auditor.parameters import parameters
from auditor.statistics.accounting import epsilon_of_mu
from auditor.targets.forward import ForwardAdapter
from auditor.targets.rng import forked_rng
from auditor.targets.target import Fitted, Target
from defenses.dp.refusals import refuse_defended
from defenses.dp.steps import add_noise, clipped_sum
from defenses.fitting import rebuilt, train_afresh

RATE = 0.01
EVERYTHING = ("edges", "nodes", "features", "labels")
CAVEATS = (
    "counter-example: the clip is on the whole batch's gradient, so that all of it may change at once",
    "the authors' script passes validation indices and never reaches this code",
)


@parameters
class GraphMINoise:
    """Clips the gradient of the whole batch to norm C, adds N(0, s²) to each coordinate, Adam goes on with that.

    Looks like DP-SGD and promises nothing: one changed edge may turn the whole clipped gradient over (sensitivity 2C),
    and s = .05 is added T = 200 times. The charitable account is one Gaussian release with μ = √T · 2C / s: at the
    defaults ε = 1.6 · 10⁵.

    Attributes:
        steps: T.
        clip: C.
        noise: s.
        delta: of the account.

    Source: the `dp` branch of zaixizhang/GraphMI (Zhang et al., "GraphMI: Extracting private graph data from graph
    neural networks", IJCAI 2021).
    """

    steps: Annotated[int, Field(ge=1)] = 200
    clip: Annotated[float, Field(gt=0)] = 1.0
    noise: Annotated[float, Field(gt=0)] = 0.05
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5

    id: ClassVar[str] = "graphmi-noise"
    version: ClassVar[str] = "1"
    level: ClassVar[Level] = "graph"
    releases: ClassVar[tuple[str, ...]] = ("posteriors",)

    def fit(self, target: Target, task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`."""
        self.planned(target, task)
        return train_afresh(self, target, task)

    def planned(self, target: Target, task: DefenseTask) -> Guarantee:
        """See `auditor.mechanism.PrivateDefense`: an ε without meaning that covers nothing."""
        refuse_defended(self, target)
        return Guarantee(
            level="graph",
            relation="replace",
            epsilon=epsilon_of_mu(math.sqrt(self.steps) * 2 * self.clip / self.noise, self.delta),
            delta=self.delta,
            accountant="gaussian-exact",
            mechanism={
                "name": "graphmi-noise",
                "sensitivity": 2 * self.clip,
                "sigma": self.noise,
                "releases": self.steps,
            },
            units=1,
            covers=(),
            not_protected=EVERYTHING,
            caveats=CAVEATS,
            noise_seed=task.noise_seed,
        )

    def train(self, base: Target, task: DefenseTask) -> Fitted:
        """See `defenses.fitting.Trains`: full batches, the last step's weights.

        Raises:
            EvaluationError: a loss that is not finite.
        """
        assert base.build is not None  # train_afresh looked
        start = time.perf_counter()
        graph, mask, rng = base.private_graph, base.split.train, task.noise_rng("noise")
        with forked_rng(task.seed):
            model = base.build().requires_grad_(True).train()
            parameters = [p for p in model.parameters() if p.requires_grad]
            optimizer = torch.optim.Adam(parameters, lr=RATE)
            for step in range(self.steps):
                gradients = torch.autograd.grad(_loss(model, graph, mask), parameters)
                clipped = clipped_sum([g[None] for g in gradients], self.clip)
                for parameter, gradient in zip(
                    parameters, add_noise(clipped, self.noise * task.noise_scale, rng), strict=True
                ):
                    parameter.grad = gradient
                optimizer.step()
                if step % 10 == 0:
                    task.tick(step / self.steps, f"step {step} of {self.steps}")
        model.zero_grad(set_to_none=True)
        notes = {"seconds": time.perf_counter() - start}
        return Fitted(model.eval().requires_grad_(False), notes, guarantee=self.planned(base, task))

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`."""
        return rebuilt(self, base, tensors, task, head=False)

    def controls(self) -> tuple[str, ...]:
        """None: no gain is claimed."""
        return ()

    def released_scores(self, target: Target, pairs: Tensor, task: DefenseTask) -> Tensor:
        """See `auditor.mechanism.PrivateDefense`.

        Raises:
            CapabilityError: always, no graph is released.
        """
        raise _no_access("released")

    def canary_sums(self, target: Target, included: Tensor, task: DefenseTask) -> Tensor:
        """See `auditor.mechanism.PrivateDefense`.

        Raises:
            CapabilityError: always, records are not summed one by one.
        """
        raise _no_access("mechanism")


def _no_access(asked: str) -> CapabilityError:
    return CapabilityError(f'graphmi-noise has no access "{asked}"; expected {", ".join(GraphMINoise.releases)}.')


def _loss(model: nn.Module, graph: Graph, mask: Tensor) -> Tensor:
    """Mean cross-entropy over the training items."""
    out = ForwardAdapter(model).logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch)
    loss = functional.cross_entropy(out[mask], graph.y[mask])
    if not bool(torch.isfinite(loss)):
        raise EvaluationError(f"the training loss is {loss.item()}; expected a finite one. Check the features.")
    return loss
