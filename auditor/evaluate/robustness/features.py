"""The harness of edited features: verified accuracy under edits on purpose, beside random edits of the same size.

See docs/methods/other-edits.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from auditor.data.feature_space import FeatureSpace, Kind, Within
from auditor.errors import EvaluationError
from auditor.evaluate.robustness.attacked import attacked_items
from auditor.evaluate.robustness.budgets import flips_for, parse_eps
from auditor.evaluate.robustness.edited import Amount, Edits, asked_of, edited_result, places
from auditor.evaluate.robustness.envelope import Tried
from auditor.evaluate.robustness.flip_claims import FlipClaims
from auditor.evaluate.robustness.verification import Verified
from auditor.outcomes import FeatureEdit, FeatureOutcome
from auditor.parameters import Only, build, parameters
from auditor.probe import Cell, CellResult, Registered
from auditor.targets.target import Target

SHARES: Mapping[str, tuple[str, ...]] = {"node": ("0.01", "0.05"), "graph": ("0.01", "0.05", "0.1")}
"""By what is classified: of a small graph the smaller shares are one edit each."""
RADII = (0.1, 0.25, 0.5)
MAIN_SHARE, MAIN_RADIUS = 0.01, 0.1
SLACK = 1e-4
"""What a value may be beyond its bound, as a share of its range or of the radius: sums of float32."""
Radius = Annotated[float, Field(gt=0, le=10)]


@parameters
class Settings:
    """Parameters of the harness.

    Attributes:
        eps: bits, categories: edits as shares of the bits that are set, of many graphs of those of each (`0.01/0.05`);
            empty for 1 and 5 %, of many graphs also 10.
        radius: values: the largest change, in standard deviations of each.
        within: the radius bounds every value (`linf`), or the root mean square over a node's values (`l2`).
        bits_per_node: most bits toggled of one node; 0 for no bound.
        graphs: attacked graphs, drawn from the test graphs; 0 for the profile's (task `graph`).
    """

    eps: Annotated[tuple[str, ...], Only(features=("bits", "categories"))] = ()
    radius: Annotated[tuple[Radius, ...], Only(features=("values",))] = RADII
    within: Annotated[Within, Only(features=("values",))] = "linf"
    bits_per_node: Annotated[int, Field(ge=0), Only(features=("bits",))] = 0
    graphs: Annotated[int, Field(ge=0), Only(level="graph")] = 0

    @model_validator(mode="after")
    def _budgets_can_be_read(self) -> Self:
        if self.eps and not parse_eps(self.eps, "edges"):  # before any cell: a usage error
            raise ValueError(f"eps={'/'.join(self.eps)} names no budget above 0.")
        if not self.radius or len(set(self.radius)) < len(self.radius):
            raise ValueError("radius names a budget twice, or none.")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class FeatureVerifier:
    """Edits the clean features itself and asks a second copy of the model.

    Attributes:
        target: under audit.
        items: attacked, int64 [n].
        space: its features.
        within: what a radius bounds.
        caps: most bits of each node, int64 [N]; None for no bound.
    """

    target: Target
    items: Tensor
    space: FeatureSpace
    within: Within
    caps: Tensor | None

    def clean(self) -> Verified:
        """The features as they are, read from what stands behind them."""
        return self._ask(self.space.read(self.space.raw), 0, 0)

    def check(self, edit: FeatureEdit, *, item_budgets: Tensor | None = None) -> Verified:
        """The claim on really edited features.

        Args:
            edit: what was changed, and the budget it was found under.
            item_budgets: edits allowed in each attacked graph, int64 [n] (task `graph`).

        Raises:
            EvaluationError: it breaks a rule: distinct bits in range, one category a node, budget, also of each graph,
                cap; radius, range, what never varies; a graph that is not attacked.
        """
        space = self.space
        if space.kind == "values":
            return self._ask(space.raw + self._checked_change(edit), 0, 0)
        self._check_bits(edit)
        raw = space.toggled(edit.bits)
        if space.kind == "categories":
            self._check_categories(raw)
        self._check_graphs(edit.bits // space.raw.shape[1], item_budgets)
        gone = 0 if space.kind == "categories" else int(space.raw.view(-1)[edit.bits].sum())
        return self._ask(space.read(raw), space.count(edit.bits) - gone, gone)

    def _check_bits(self, edit: FeatureEdit) -> None:
        keys, raw = edit.bits, self.space.raw
        if edit.change is not None or keys.dtype != torch.int64 or keys.dim() != 1:
            raise EvaluationError(f"bits are {keys.dtype} {list(keys.shape)}; expected int64 [k], and no change")
        if torch.unique(keys).numel() != keys.numel():
            raise EvaluationError(f"{keys.numel() - torch.unique(keys).numel()} bits are listed twice")
        if self.space.count(keys) > edit.budget:
            raise EvaluationError(f"{self.space.count(keys)} edits, budget {edit.budget:g}")
        if keys.numel() and (int(keys.min()) < 0 or int(keys.max()) >= raw.numel()):
            raise EvaluationError(f"bits from {int(keys.min())} to {int(keys.max())}; expected [0, {raw.numel()})")
        if self.caps is not None:
            spent = torch.bincount(keys // raw.shape[1], minlength=raw.shape[0])
            if bool((spent > self.caps).any()):
                raise EvaluationError(f"{int(spent.max())} bits of one node, bound {int(self.caps.max())}")

    def _check_categories(self, raw: Tensor) -> None:
        """Every node is of one category."""
        several = raw.sum(dim=1) != 1
        if bool(several.any()):
            node = int(torch.nonzero(several)[0])
            raise EvaluationError(f"node {node} is of {int(raw[node].sum())} categories; expected one")

    def _check_graphs(self, rows: Tensor, item_budgets: Tensor | None) -> None:
        """Of many graphs only attacked ones are edited, and none more than it may be."""
        batch = self.target.graph.batch
        if batch is None:
            return
        spent = torch.bincount(batch[rows], minlength=self.target.graph.num_items)
        if int(spent.sum()) != int(spent[self.items].sum()):
            raise EvaluationError("edits touch graphs that are not attacked")
        own = spent[self.items] // (2 if self.space.kind == "categories" else 1)
        if item_budgets is not None and bool((own > item_budgets).any()):
            worst = int((own - item_budgets).argmax())
            raise EvaluationError(
                f"{int(own[worst])} edits in graph {int(self.items[worst])}, budget {int(item_budgets[worst])}"
            )

    def _checked_change(self, edit: FeatureEdit) -> Tensor:
        change, space = edit.change, self.space
        if edit.bits.numel() or change is None or change.shape != space.raw.shape or change.dtype != space.raw.dtype:
            raise EvaluationError(f"expected a change of the values, {space.raw.dtype} {list(space.raw.shape)}")
        if not bool(torch.isfinite(change).all()):
            raise EvaluationError("a value changes by no finite number")
        self._check_graphs(torch.nonzero(change.any(dim=1)).flatten(), None)
        units = space.units(change).abs()
        reach = units.max() if self.within == "linf" else units.square().mean(dim=1).sqrt().max()
        if float(reach) > edit.budget * (1 + SLACK):
            raise EvaluationError(f"a change of {float(reach):.4g} standard deviations, radius {edit.budget:g}")
        x, slack = space.raw + change, SLACK * (space.highest - space.lowest)
        if bool(((x < space.lowest - slack) | (x > space.highest + slack)).any()):
            raise EvaluationError("a value leaves the range that it has on the clean data")
        return change

    def _ask(self, x: Tensor, additions: int, deletions: int) -> Verified:
        graph, task = self.target.graph, self.target.task
        with torch.no_grad():
            logits = self.target.handle().logits(x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
        logits = logits[self.items]
        right = task.correct(logits, graph.y[self.items]).numpy()
        return Verified(right, bool(torch.isfinite(logits).all()), additions, deletions)


def evaluate(cell: Cell) -> CellResult:
    """Runs every attack of the probe, verifies every edit on really edited features, measures the worst of them.

    Raises:
        ConfigError: a parameter that cannot be used.
        SkippedError: features that cannot be edited, or no search that could run.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    with torch.random.fork_rng(devices=[]):  # a model that draws numbers in eval mode must not move ours
        return _evaluate(cell, settings)


def _evaluate(cell: Cell, settings: Settings) -> CellResult:
    target = cell.target
    space = FeatureSpace.of(target.graph.x)
    items = attacked_items(cell, settings.graphs)
    amounts = _amounts(space, settings, target, items)
    caps = None
    if space.kind == "bits" and settings.bits_per_node:
        caps = torch.full((target.graph.num_nodes,), settings.bits_per_node)
    verifier = FeatureVerifier(target, items, space, settings.within, caps)
    run, tried = FlipClaims(called="edits"), list[Tried]()
    for attack in cell.attacks:
        _attack(cell, attack, items, amounts, verifier, run, tried)
    values = space.kind == "values"
    edits = Edits(
        what=space.kind,
        title="Accuracy under feature edits",
        x_label=_X_LABELS[space.kind],
        main=MAIN_RADIUS if values else MAIN_SHARE,
    )
    params = {
        "kind": space.kind,
        "divided_by": space.norm,
        "ones": None if values else space.ones,
        "still": int((space.scale == 0).sum()),
    }
    return edited_result(cell, run, tried, verifier.clean(), amounts, edits, params)


_X_LABELS: Mapping[Kind, str] = {
    "bits": "bits edited / bits set",
    "categories": "nodes of another category / nodes",
    "values": "largest change, standard deviations",
}


def _amounts(space: FeatureSpace, settings: Settings, target: Target, items: Tensor) -> tuple[Amount, ...]:
    """The budgets; of many graphs each has its own, at least one edit."""
    graph = target.graph
    if space.kind == "values":
        return tuple(Amount(f"radius={Decimal(str(r)).normalize():f}", r, r) for r in sorted(settings.radius))
    shares = parse_eps(settings.eps or SHARES[target.task.level], "edges")
    if graph.batch is None:
        return tuple(Amount(f"ones={word}", float(word), flips_for(word, space.ones)) for word in shares)
    ones = space.ones_of(graph.batch, graph.num_items)[items].tolist()
    amounts = []
    for word in shares:
        each = torch.tensor([flips_for(word, count) for count in ones])
        amounts.append(Amount(f"ones={word}", int(each.sum()) / max(1, sum(ones)), int(each.sum()), each))
    return tuple(amounts)


def _attack(
    cell: Cell,
    attack: Registered,
    items: Tensor,
    amounts: tuple[Amount, ...],
    verifier: FeatureVerifier,
    run: FlipClaims,
    tried: list[Tried],
) -> None:
    """Runs one attack and verifies its claims."""
    attempt, at = replace(cell.attempt(attack), node_caps=verifier.caps), places(amounts)
    if verifier.space.kind == "values":
        attempt = replace(attempt, radii=tuple(sorted(at)))
    else:
        attempt = asked_of(attempt, amounts)

    def verify(claim: FeatureEdit, variant: str) -> None:
        place = at[claim.budget]
        verified = verifier.check(claim, item_budgets=amounts[place].item_budgets)
        tried.append(Tried(attack.id, attack.entry.role, variant, place, verified, claim))

    run.run(attack, cell.target, items, attempt, verify, kind=FeatureOutcome)
