from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, matthews_corrcoef
from torch import nn
from torch_geometric.nn import global_add_pool

from auditor import registry
from auditor.data.fields import Fields
from auditor.data.graph import Graph, Split
from auditor.data.sources import apply_transform, load_data
from auditor.document import Measured
from auditor.document.facts import Domain as Facts
from auditor.errors import ConfigError, DataError, SkippedError
from auditor.evaluate.shift.domains import check_domain
from auditor.evaluate.shift.heldout import evaluate
from auditor.evaluate.shift.reference import Answers
from auditor.evaluate.shift.sides import Side, accuracy_replicates, adjusted_gap, apart
from auditor.probe import Cell, CellResult
from auditor.runner.execute import TrainedCache
from auditor.statistics.clustered import Resamples
from auditor.targets.load import load_target
from auditor.targets.target import Capability, Target
from auditor.targets.train import train_reference
from auditor.view import SideKnowledge
from tests.toys import sbm_graph, small_graphs, toy_target

ID = "heldout-domain"


def evaluated(target: Target, **params: str) -> CellResult:
    return evaluate(Cell(target, registry.find_probe(ID), (), params, "standard", 0, SideKnowledge(), TrainedCache()))


def found(result: CellResult, metric: str, finding: str = "") -> Measured:
    (only,) = [m for m in result.measured if m.metric == metric and finding in ("", m.finding)]
    return only


class Says(nn.Module):
    """Answers the class that stands in the first column of the features, and is as sure as the second one says."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.classes = classes
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x, edge_index):
        told = nn.functional.one_hot(x[:, 0].long(), self.classes).float()
        return self.scale * told * x[:, 1:2]


def with_answers(graph: Graph, answers: torch.Tensor, sure: torch.Tensor | float = 2.0) -> Graph:
    sure = torch.full((graph.num_nodes,), sure) if isinstance(sure, float) else sure
    return replace(graph, x=torch.stack([answers.float(), sure.float()], dim=1))


def with_column(graph: Graph, values: torch.Tensor) -> Graph:
    part = {"source": values.float()}
    return replace(graph, fields=Fields(node=part) if graph.batch is None else Fields(graph=part))


@pytest.fixture(scope="module")
def base() -> Target:
    return toy_target(graph=sbm_graph(600), epochs=1)


def planted(base: Target, *, wrong: Callable[[torch.Tensor], torch.Tensor], sure: Callable | None = None) -> Target:
    """Half of the test nodes are of domain 1; `wrong` says on which nodes the model errs."""
    graph = base.graph
    held = base.split.test & (torch.arange(graph.num_nodes) % 2 == 0)
    answers = torch.where(wrong(held), (graph.y + 1) % 3, graph.y)
    told = with_answers(graph, answers, 2.0 if sure is None else sure(held))
    return replace(base, graph=with_column(told, held), model=Says())


def every(n: int, of: torch.Tensor, share: float) -> torch.Tensor:
    """A share of the nodes in `of`, spread over them."""
    place = torch.cumsum(of.long(), dim=0)
    return of & ((place * share).floor() > ((place - 1) * share).floor())


def test_the_gap_is_that_between_the_two_domains(base: Target) -> None:
    target = planted(base, wrong=lambda held: every(600, held, 0.4) | every(600, ~held, 0.1))
    result = evaluated(target, column="source")
    judged = found(result, "heldout_quality")
    assert judged.judged
    assert judged.estimate.value == pytest.approx(0.6, abs=0.01)
    held, right = target.graph.fields.node["source"] == 1, target.graph.x[:, 0] == target.graph.y
    inside = base.split.test & ~held
    assert judged.excess.value == pytest.approx(float(right[inside].double().mean() - right[held].double().mean()))
    assert judged.excess.lo > 0.1
    facts = judged.facts
    assert isinstance(facts, Facts)
    assert facts.gap.value == judged.excess.value
    assert facts.by == "column"
    y, said = target.graph.y[held].numpy(), target.graph.x[held, 0].numpy()
    assert found(result, "balanced_accuracy").estimate.value == pytest.approx(balanced_accuracy_score(y, said))
    assert found(result, "matthews_correlation").estimate.value == pytest.approx(matthews_corrcoef(y, said))
    assert {row.id: row.status for row in result.validity}["shift-heldout-seen"] == "warn"


def test_the_null_has_no_gap_and_no_finding(base: Target) -> None:
    result = evaluated(planted(base, wrong=lambda held: every(600, torch.ones(600).bool(), 0.2)), column="source")
    judged = found(result, "heldout_quality")
    assert judged.excess.lo < 0 < judged.excess.hi
    assert {m.finding for m in result.measured} <= {"shift-heldout-gap", "shift-below-constant", "shift-silent-failure"}
    assert not found(result, "msp_auroc").judged
    assert found(result, "heldout_accuracy").excess.hi < 0, "far above the constant"


def test_a_class_mix_that_moves_is_told_from_a_fall(base: Target) -> None:
    """Class 0 is always wrong; it is common among held-out nodes and rare beside them."""
    graph, split = base.graph, base.split
    place = torch.arange(600)
    held = split.test & torch.where(graph.y == 0, place % 10 < 9, place % 10 < 2)
    target = replace(
        base, graph=with_column(with_answers(graph, torch.where(graph.y == 0, 1, graph.y)), held), model=Says()
    )
    result = evaluated(target, column="source")
    judged, mix = found(result, "heldout_quality"), found(result, "accuracy_at_equal_mix")
    assert judged.excess.lo > 0.3
    assert mix.finding == "shift-class-mix"
    assert mix.excess.value == pytest.approx(0, abs=1e-9)
    assert judged.facts.prior_distance > 0.3


def test_a_real_fall_is_no_class_mix(base: Target) -> None:
    target = planted(base, wrong=lambda held: every(600, held, 0.5))
    assert found(evaluated(target, column="source"), "accuracy_at_equal_mix").finding == "shift-heldout-gap"


def test_a_model_that_names_the_wrong_class_is_below_the_constant(base: Target) -> None:
    target = planted(base, wrong=lambda held: every(600, held, 0.95))
    row = found(evaluated(target, column="source"), "heldout_accuracy")
    assert (row.finding, row.judged, row.contrast.to) == ("shift-below-constant", True, "constant")
    assert row.excess.lo > 0


def test_a_model_surer_of_what_it_gets_wrong_is_inverted_and_one_that_cannot_tell_is_silent(base: Target) -> None:
    noise = torch.arange(600) // 2 / 300  # the same on both sides
    surer = planted(base, wrong=lambda held: every(600, held, 0.5), sure=lambda held: 1 + noise + held)
    result = evaluated(surer, column="source")
    assert found(result, "msp_inversion").estimate.value < 0.05
    assert found(result, "energy_inversion").judged
    silent = planted(base, wrong=lambda held: every(600, held, 0.5), sure=lambda _: 1 + noise)
    result = evaluated(silent, column="source")
    msp = found(result, "msp_auroc")
    assert (msp.judged, msp.facts.silent, msp.facts.paired) == (True, True, False)
    assert not [m for m in result.measured if m.metric == "msp_inversion"]


def test_answers_that_are_no_numbers_are_counted_as_wrong(base: Target) -> None:
    target = planted(base, wrong=lambda held: torch.zeros(600).bool(), sure=lambda held: 2.0 + 1e4 * held)

    class Breaks(Says):
        def forward(self, x, edge_index):
            return torch.where(x[:, 1:2] > 1e3, torch.nan, super().forward(x, edge_index))

    result = evaluated(replace(target, model=Breaks()), column="source")
    assert found(result, "non_finite_rate").estimate.value == 1
    assert found(result, "heldout_quality").estimate.value == 0


def test_every_range_has_a_width(base: Target) -> None:
    right = evaluated(planted(base, wrong=lambda held: torch.zeros(600).bool()), column="source")
    for m in right.measured:
        if m.unit == "share":
            assert m.estimate.hi > m.estimate.lo
            assert m.excess is None or m.excess.hi > m.excess.lo


def test_equal_seeds_give_equal_results(base: Target) -> None:
    target = planted(base, wrong=lambda held: every(600, held, 0.4))
    assert evaluated(target, column="source") == evaluated(target, column="source")


# ---- another graph --------------------------------------------------------------------------------------------------


def test_another_graph_is_asked_as_a_whole(base: Target) -> None:
    own = planted(base, wrong=lambda held: every(600, torch.ones(600).bool(), 0.1))
    other = sbm_graph(200, seed=5)
    other = with_answers(other, torch.where(every(200, torch.ones(200).bool(), 0.5), (other.y + 1) % 3, other.y))
    target = replace(own, elsewhere=lambda name: other)
    result = evaluated(target, domain="elsewhere")
    judged = found(result, "heldout_quality")
    assert judged.subset == "domain=elsewhere"
    assert judged.estimate.value == pytest.approx(0.5)
    assert judged.estimate.n == 200
    assert judged.control.estimate.n == int(base.split.test.sum())
    assert "shift-heldout-seen" not in {row.id for row in result.validity}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda g: replace(g, x=g.x[:, :20]), "has 20 features, the model reads 24"),
        (lambda g: replace(g, y=g.y + 2), "labels of 5 classes, the model tells 3"),
        (lambda g: small_graphs(), "has graphs to classify"),
        (lambda g: g, "is the data that"),
        (lambda g: replace(g, y=g.y.roll(1)), "is the data that"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused_before_anything_runs(base: Target, change: Callable, said: str) -> None:
    target = replace(base, elsewhere=lambda name: change(base.graph))
    with pytest.raises(ConfigError, match=said):
        check_domain(target, {"domain": "x"}, ID)


def test_a_model_that_knows_its_own_nodes_alone_cannot_be_asked(base: Target) -> None:
    target = replace(base, capabilities=base.capabilities - {Capability.ANY_NODES}, elsewhere=lambda name: base.graph)
    check_domain(target, {"domain": "x"}, ID)
    with pytest.raises(SkippedError, match="ANY_NODES"):
        evaluated(target, domain="x")


# ---- a column -------------------------------------------------------------------------------------------------------


def test_items_that_were_trained_on_are_refused_with_their_number_and_the_first_five(base: Target) -> None:
    target = replace(base, graph=with_column(base.graph, torch.ones(600)))
    first = torch.nonzero(base.split.train).flatten()[:5].tolist()
    with pytest.raises(ConfigError) as caught:
        check_domain(target, {"column": "source"}, ID)
    assert f"{int(base.split.train.sum())} nodes" in str(caught.value)
    assert str(first) in str(caught.value)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"column": "sourc"}, 'Did you mean "source"'),
        ({"column": "wide"}, r"is \[600, 2\]; expected one number"),
        ({"column": "source", "held": "7/8"}, "no node has such a value of source"),
        ({"column": "source", "domain": "cora"}, "expected one of them"),
        ({"column": "source", "held": "some"}, "expected a number"),
        ({"held": "3"}, "held came without a column"),
    ],
)
def test_a_column_that_is_not_there_is_refused(base: Target, params: dict[str, str], said: str) -> None:
    graph = with_column(base.graph, base.split.test)
    graph = replace(graph, fields=Fields(node={**graph.fields.node, "wide": torch.zeros(600, 2)}))
    with pytest.raises(ConfigError, match=said):
        check_domain(replace(base, graph=graph), params, ID)


def test_nodes_without_a_named_domain_and_small_domains_are_reasons(base: Target) -> None:
    with pytest.raises(SkippedError, match="nobody named what was held out"):
        evaluated(base)
    few = base.split.test & (torch.cumsum(base.split.test.long(), 0) <= 20)
    with pytest.raises(SkippedError, match="20 held-out items"):
        evaluated(replace(base, graph=with_column(base.graph, few)), column="source")


def test_validation_items_of_the_domain_are_left_out(base: Target) -> None:
    held = (base.split.val | base.split.test) & (torch.arange(600) % 2 == 0)
    result = evaluated(replace(base, graph=with_column(base.graph, held)), column="source")
    assert result.params["left_out"] == int((held & base.split.val).sum()) > 0
    assert result.params["items"] == int((held & base.split.test).sum())


# ---- larger graphs --------------------------------------------------------------------------------------------------


class Sums(nn.Module):
    """Adds up the nodes of a graph: the larger it is, the surer it is of class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x, edge_index, batch):
        n = global_add_pool(torch.ones_like(x[:, :1]), batch)
        return torch.cat([torch.zeros_like(n), self.scale * (n - 9.5)], dim=1)


def test_larger_graphs_are_judged_by_class_and_a_sum_is_surer_of_them() -> None:
    graphs = small_graphs(400)
    sizes = torch.bincount(graphs.batch)
    small = sizes <= 11
    order = torch.cumsum(small.long(), 0)
    train, val = small & (order % 3 == 0), small & (order % 12 == 1)
    target = replace(
        toy_target("graph-gin", graph=graphs, epochs=1), split=Split(train, val, ~(train | val)), model=Sums()
    )
    result = evaluated(target)
    judged = found(result, "heldout_quality")
    facts = judged.facts
    assert (facts.by, facts.balanced, facts.domain) == ("size", True, "more than 11 nodes")
    assert facts.items == int((~small).sum())
    assert judged.estimate.value == pytest.approx(0.5), "it names class 1 whatever comes"
    assert found(result, "accuracy").estimate.value == pytest.approx(facts.outside.value)
    assert found(result, "msp_auroc").estimate.value < 0.3
    assert facts.constant == pytest.approx(max(float((graphs.y[~small] == c).double().mean()) for c in (0, 1)))


def test_graphs_of_one_size_have_no_larger_ones() -> None:
    with pytest.raises(SkippedError, match="0 held-out items"):
        evaluated(toy_target("graph-gin", graph=small_graphs(120), epochs=1))


# ---- sides ----------------------------------------------------------------------------------------------------------


def side(y: np.ndarray, predicted: np.ndarray, seed: int = 0, classes: int = 2) -> Side:
    n = len(y)
    answers = Answers((y == predicted).astype(float), predicted, np.zeros((n, classes)), np.ones(n, bool), {})
    resamples = Resamples.draw(np.arange(n), rng=np.random.default_rng(seed), replicates=400)
    return Side(y, answers, resamples, classes)


def test_recalls_of_nine_and_seven_tenths_at_another_mix_are_eight_points_of_mix() -> None:
    def of(counts: tuple[int, int]) -> Side:
        y = np.repeat([0, 1], counts)
        right = np.concatenate([np.arange(n) < round(n * share) for n, share in zip(counts, (0.9, 0.7), strict=True)])
        return side(y, np.where(right, y, 1 - y))

    inside, outside = of((100, 100)), of((20, 180))
    gap = apart(inside, outside, lambda each: each.accuracy, accuracy_replicates)
    assert gap.value == pytest.approx(0.08)
    left = adjusted_gap(inside, outside)
    assert left.value == pytest.approx(0)
    assert left.lo < 0 < left.hi


def test_sides_that_share_no_class_have_no_adjusted_gap() -> None:
    assert adjusted_gap(side(np.zeros(40, int), np.zeros(40, int)), side(np.ones(40, int), np.ones(40, int))) is None


@pytest.mark.parametrize("n", [100, 400])
def test_the_interval_of_an_unpaired_gap_covers(n: int) -> None:
    rng, covered = np.random.default_rng(n), 0
    for repeat in range(120):
        y = [rng.integers(0, 2, n) for _ in range(2)]
        right = [rng.random(n) < p for p in (0.8, 0.65)]
        sides = [side(each, np.where(ok, each, 1 - each), repeat) for each, ok in zip(y, right, strict=True)]
        gap = apart(*sides, lambda each: each.accuracy, accuracy_replicates)
        covered += gap.lo <= 0.15 <= gap.hi
    assert covered / 120 > 0.89


def test_a_saved_target_reads_another_file_as_its_own_data_was_read(tmp_path: Path) -> None:
    train_reference(load_data("demo"), "gcn", out_dir=tmp_path / "target", epochs=2)
    loaded = load_target(tmp_path / "target")
    n, features = 90, loaded.graph.num_features
    rng = np.random.default_rng(0)
    x = (rng.random((n, features)) < 0.2).astype(np.float32)
    edges = rng.integers(0, n, (2, 200))
    np.savez(tmp_path / "other.npz", x=x, edge_index=edges, y=np.arange(n) % 2)
    read = loaded.elsewhere(str(tmp_path / "other.npz"))
    wanted = apply_transform(Graph(torch.from_numpy(x), torch.from_numpy(edges), torch.arange(n) % 2), loaded.transform)
    assert torch.equal(read.x, wanted.x)
    assert evaluated(loaded, domain=str(tmp_path / "other.npz")).params["items"] == n
    with pytest.raises(DataError, match="nowhere"):
        check_domain(loaded, {"domain": "nowhere"}, ID)
