"""GraphMI: rebuilds the training edges from the weights, by descending on a graph that explains the known labels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.layer_stack import LayerStack
from attacks.privacy.neighbours import ALL_PAIRS, FOUND_IN, is_flat, nearest, number_of_cells
from attacks.privacy.soft_graphs import CandidateGraph, DenseGraph, Objective, SoftGraph
from auditor.errors import SkippedError
from auditor.outcomes import LinkOutcome
from auditor.parameters import Circumstances, Only, parameters
from auditor.probe import Attempt
from auditor.shared import content
from auditor.statistics.pair_scores import row_cosine
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.device import moved
from auditor.view import View

DENSE_NODES = 4096
ALL_PAIRS_NODES = 512  # every pair as a candidate, for models without a dense form
REFILL_EVERY, SELDOM = 20, 50
"""Steps between searches; the latter on graphs of more than ALL_PAIRS nodes, where a search costs as 10 steps."""
MOST_OF_A_SOURCE = 2_000_000  # candidates that one source may give


def _dense(form: str, protocol: str, profile: str, *, flat: bool) -> str:
    """What asks for the dense form; empty for candidates."""
    if protocol == "paper":
        return "protocol=paper"
    if form == "dense" or (form == "auto" and profile == "full"):
        return "form=dense" if form == "dense" else "form=auto in the profile full"
    return "form=auto where features tell no nodes apart" if form == "auto" and flat else ""


def _holds(num_nodes: int, stack: LayerStack | None) -> bool:
    """Whether the dense form holds a graph; candidates take its place where it does not."""
    return num_nodes <= (ALL_PAIRS_NODES if stack is None else DENSE_NODES)


def _every_pair(here: Circumstances) -> str:
    """Why no candidates are chosen, if so."""
    target, x = here.target, here.target.graph.x
    n = target.graph.num_nodes
    why = "" if n > DENSE_NODES else _dense(here.values["form"], here.values["protocol"], here.profile, flat=is_flat(x))
    if not why:
        return ""
    try:
        handle = target.adversary_handle()
        stack = None if n <= ALL_PAIRS_NODES else LayerStack.of(handle, moved(x, handle.device))
    except TRIAL_ERRORS:
        return ""  # the row of the cell says what the model cannot do
    return f"it is for candidates, and {why} keeps every pair of {n:,} nodes" if _holds(n, stack) else ""


FULL_GRAPH = Only(beside="protocol", being=("full-graph",))


@parameters
class GraphMI:
    """Finds edge weights under which the model gives the known labels, and compares the embeddings they lead to.

    L(a) = mean CE at the known labels + alpha |a|_2 + beta smooth(a), the last in the second half of the steps;
    projected on [0, 1] with sum a <= b. Then score(u, v) = max(0, cos(H_u, H_v)), H = embeddings on the final a.

    Args:
        form: `dense` (every pair; N <= 4096 and layers that add up or average, GCN, SAGE, GraphConv and GIN; of others
            N <= 512), `knn` (candidates), `auto`: dense in the `full` profile and where features do not tell nodes
            apart, knn elsewhere.
        protocol: `full-graph` (CE on all known labels, b = rho N / 2), or `paper`: CE on the attacked nodes S only,
            b = (rho / N) |S|² / 2, dense, H of the first layer on the a *before* the last update.
        k: candidates per node and source, knn form: nearest by the embedding on no edges, nearest by features, and
            from the second step on, every 20 steps, the pairs of the largest descent (of these layers, and of GAT
            layers within a factor of two; without this refill the candidate form stays far below the dense one).
            On more than 50,000 nodes every 50 steps, on more than 100,000 as many as make 2 million: the notes say so.
        steps: T. eta: step size. alpha, beta: weights of the two penalties (the authors' code).

    Source: Zhang et al., "GraphMI: Extracting Private Graph Data from Graph Neural Networks", IJCAI 2021
    (arXiv 2106.02820). All labels and a budget from the assumed density are ours; `protocol = paper` is theirs.
    """

    form: Annotated[Literal["auto", "dense", "knn"], FULL_GRAPH] = "auto"
    protocol: Literal["full-graph", "paper"] = "full-graph"
    k: Annotated[int, Field(ge=1), Only(unless=_every_pair)] = 20
    steps: Annotated[int, Field(ge=1)] = 100
    eta: Annotated[float, Field(gt=0)] = 0.1
    alpha: Annotated[float, Field(ge=0)] = 1e-3
    beta: Annotated[float, Field(ge=0)] = 1e-4

    def run(self, view: View, attempt: Attempt) -> LinkOutcome:
        """Descends, and returns the scorer with notes on the form, the candidates and the loss.

        It draws nothing, so that whoever asks the same of the same model, alone or as one view of several, shares it.

        Raises:
            SkippedError: no label is known, or the model offers no differentiable edge weight.
        """
        model = view.model.model
        held = (view.x, view.y, view.known, *model.parameters(), *model.buffers())
        asked = content(self, attempt.profile, view.density, view.attacked, repr(model), *held)
        return attempt.shared.once(("graphmi", asked), lambda: self._found(view, attempt))

    def _found(self, view: View, attempt: Attempt) -> LinkOutcome:
        if not view.known.any():
            raise SkippedError("GraphMI descends on the loss at known labels; none is known. Grant labels.")
        n = view.num_nodes
        nodes = torch.nonzero(view.known).flatten()
        budget = view.density * n / 2
        if self.protocol == "paper":
            attacked = torch.arange(n) if view.attacked is None else view.attacked
            nodes = attacked[view.known[attacked]]
            budget = view.density / n * attacked.shape[0] ** 2 / 2
        device = view.model.device
        objective = Objective(view.y.to(device), nodes.to(device), budget, self.eta, self.alpha, self.beta)
        graph, notes = self._graph(view, attempt, objective)
        h, losses = self._descend(graph, attempt, n)
        if isinstance(graph, CandidateGraph):
            notes["candidates_end"] = graph.pairs.shape[1]
        notes |= {"loss_start": losses[0], "loss_end": losses[-1], "budget": budget, "labels_used": int(nodes.numel())}
        if graph.is_empty:
            notes["warning"] = "no gradient to follow: no weight lowers the loss by more than its length costs"
        cosine = row_cosine(h.cpu())
        return LinkOutcome(lambda pairs: cosine(pairs).clamp_min(0.0), notes)

    def _descend(self, graph: SoftGraph, attempt: Attempt, num_nodes: int) -> tuple[Tensor, list[float]]:
        """The embeddings the score is read from, [N, d], and the cross-entropy before each step."""
        losses, before = [], torch.empty(0)
        k, every = self._within_limits(num_nodes)
        for t in range(self.steps):
            if isinstance(graph, CandidateGraph) and (t == 1 or t % every == 0):
                graph.refill(k)
            if self.protocol == "paper" and t == self.steps - 1:
                before = graph.embeddings(first=True)
            losses.append(graph.step(smooth=2 * t >= self.steps))
            if t % 10 == 9:
                attempt.tick((t + 1) / self.steps, f"graphmi step {t + 1}/{self.steps}")
        return (before if self.protocol == "paper" else graph.embeddings()), losses

    def _graph(self, view: View, attempt: Attempt, objective: Objective) -> tuple[SoftGraph, dict[str, Any]]:
        """The state to descend on, by the form asked for and what the model allows."""
        x, n = moved(view.x, view.model.device), view.num_nodes
        stack = LayerStack.of(view.model, x)
        if stack is None and not view.relaxation.is_exact:
            raise SkippedError(
                "GraphMI needs a differentiable edge weight whose 0 means no edge; of this model: "
                f"{view.relaxation.describe()}."
            )
        flat = is_flat(view.x)
        if _dense(self.form, self.protocol, attempt.profile, flat=flat) and _holds(n, stack):
            notes: dict[str, Any] = {"form": "dense", "candidates": n * (n - 1) // 2}
            if stack is not None:
                return DenseGraph(stack, x, objective), notes
            pairs = torch.combinations(torch.arange(n, device=x.device)).T.contiguous()
            return CandidateGraph(view.relaxation, x, pairs, objective), notes
        pairs = self._candidates(view, stack, attempt, flat=flat)
        notes = {"form": "knn", "candidates": pairs.shape[1]}
        if n > ALL_PAIRS:
            k, every = self._within_limits(n)
            notes["limits"] = (
                f"{n:,} nodes: {k} candidates a node and source, refilled after 1 step and every {every}, "
                f"looked for in {FOUND_IN} of {number_of_cells(n)} cells"
            )
        graph = CandidateGraph(stack or view.relaxation, x, pairs, objective)
        if self.form == "dense" or self.protocol == "paper":
            limit = f"{DENSE_NODES} nodes" if stack is not None else f"{ALL_PAIRS_NODES} nodes for layers of this kind"
            notes["note"] = f"the dense form ends at {limit}; candidates were used"
        elif not graph.refills:
            notes["note"] = "candidates stay as found: layers of this kind do not tell the gradient at every pair"
        return graph, notes

    def _within_limits(self, num_nodes: int) -> tuple[int, int]:
        """Candidates per node and source, and the steps after which they are refilled."""
        k = max(1, min(self.k, MOST_OF_A_SOURCE // num_nodes))
        return k, REFILL_EVERY if num_nodes <= ALL_PAIRS else SELDOM

    def _candidates(self, view: View, stack: LayerStack | None, attempt: Attempt, *, flat: bool) -> Tensor:
        """Union over nodes of the k nearest by embedding on no edges and the k nearest by features, int64 [2, M]."""
        x, n = view.x, view.num_nodes
        there = moved(x, view.model.device)
        if stack is not None:
            h = stack.embeddings(torch.zeros_like, there.new_zeros(n))
        else:
            with torch.no_grad():
                h = view.relaxation.embeddings(there, torch.empty(2, 0, dtype=torch.int64), torch.empty(0))
        k, _ = self._within_limits(n)
        keys = [nearest(h, k)]
        if not flat:  # features are the same for every model that is attacked
            keys.append(attempt.shared.once(("nearest", content(x), k), lambda: nearest(x, k)).to(h.device))
        merged = torch.unique(torch.cat(keys))
        return torch.stack([merged // n, merged % n])
