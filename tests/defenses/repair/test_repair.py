"""Repair: the rewired direction against hand numbers and another solver, budgets, roll back, the folder it writes."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from auditor import registry
from auditor.data.graph import Graph, Split
from auditor.defense import Defense, DefenseTask
from auditor.document import Contrast, Estimate
from auditor.document.facts import RepairedNode, RepairRun
from auditor.errors import ConfigError, SkippedError
from auditor.parameters import build
from auditor.targets.target import Target
from auditor.tasks import Task
from defenses.repair.direction import is_spent, rewired
from defenses.repair.edit import Steps, edit
from defenses.repair.errors_file import check_nodes, read_errors, wrong_nodes
from defenses.repair.method import Repair, compared, training_parts
from defenses.repair.weights import EditedModel
from defenses.uniform_refit import UniformRefit
from tests.defenses.synthetic_targets import Models
from tests.toys import sbm_graph, toy_target


def task(seed: int = 0) -> DefenseTask:
    return DefenseTask(seed, Models())


def hard_target() -> Target:
    """A third of its test nodes are wrong."""
    return toy_target(graph=sbm_graph(mixing=0.4, degree=5), epochs=20)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [([(-1.0, 1.0)], (0.5, 0.5)), ([(1.0, 1.0)], (1.0, 0.0)), ([(-1.0, 1.0), (-1.0, -1.0)], (0.0, 0.0))],
)
def test_direction_by_hand(rows, expected) -> None:
    g = np.array([1.0, 0.0])
    u, left_out = rewired(g, np.array(rows))
    np.testing.assert_allclose(u, expected, atol=1e-7)
    assert left_out == 0
    assert is_spent(u, g) == (expected == (0.0, 0.0))


def test_every_direction_keeps_the_constraints_and_solves_the_program() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        g, rows = rng.normal(size=12), rng.normal(size=(4, 12))
        u, _ = rewired(g, rows)
        assert (rows @ u).min() >= -1e-6 * np.linalg.norm(rows, axis=1).max() * np.linalg.norm(u)
        gram, slope = rows @ rows.T, rows @ g
        other = minimize(
            lambda v, m=gram, s=slope: v @ m @ v / 2 + s @ v,
            np.zeros(4),
            jac=lambda v, m=gram, s=slope: m @ v + s,
            bounds=[(0, None)] * 4,
            method="L-BFGS-B",
            options={"ftol": 1e-15, "gtol": 1e-10},
        )
        np.testing.assert_allclose(u, g + rows.T @ other.x, atol=1e-4)


def test_one_part_has_the_closed_form() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        g, row = rng.normal(size=5), rng.normal(size=5)
        v = max(-(row @ g), 0) / (row @ row)
        np.testing.assert_allclose(rewired(g, row[None])[0], g + v * row, atol=1e-6)


def test_anchors_without_a_gradient_are_left_out() -> None:
    u, left_out = rewired(np.array([1.0, 0.0]), np.array([[0.0, 0.0], [1e-12, 0.0]]))
    np.testing.assert_array_equal(u, [1.0, 0.0])
    assert left_out == 2


def test_without_parts_the_method_is_fine_tuning() -> None:
    target = hard_target()
    nodes = wrong_nodes(target, "test")
    projected, first = Repair(parts=0, max_drawdown=100.0).apply(target, task(), nodes)
    plain, second = Repair(method="finetune", max_drawdown=100.0).apply(target, task(), nodes)
    assert projected is not None
    assert plain is not None
    # One at a time, the nodes repaired so far are anchors too: compare the first edit, and all of them at once.
    together = [
        Repair(method=m, parts=0, together=True, max_drawdown=100.0).apply(target, task(), nodes)[0]
        for m in ("gre-plus", "finetune")
    ]
    states = [None if t is None else t.model.state_dict() for t in together]
    assert (states[0] is None) == (states[1] is None)
    if states[0] is not None:
        assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert first.ids("repaired")[:1] == second.ids("repaired")[:1]


def test_repaired_nodes_are_right_and_the_report_counts_what_was_lost() -> None:
    target = hard_target()
    before = copy.deepcopy(target.model.state_dict())
    repaired, report = Repair(errors="test", max_drawdown=5.0).apply(target, task())
    assert repaired is not None
    ids, _ = wrong_nodes(target, "test")
    assert report.asked == tuple(ids.tolist())
    now = Task("node").correct(repaired.clean_logits(), target.graph.y)
    done = torch.tensor(report.ids("repaired"))
    assert len(done) > 0
    assert bool(now[done].all())
    assert -(report.validation.value or 0.0) <= report.budget == 0.05
    outside = target.split.test.clone()
    outside[ids] = False
    was = Task("node").correct(target.clean_logits(), target.graph.y)
    won = float(now[outside].double().mean() - was[outside].double().mean())
    test = report.test
    assert test.value == pytest.approx(won)  # the repaired nodes do not pay for themselves
    assert test.lo is not None
    assert test.hi is not None
    assert test.lo <= won <= test.hi
    assert (report.validation.n, test.n) == (int(target.split.val.sum()), int(outside.sum()))
    assert set(report.broken) == set(torch.nonzero(outside & was & ~now).flatten().tolist())
    assert all(torch.equal(before[k], v) for k, v in target.model.state_dict().items())
    assert any(not torch.equal(before[k], v) for k, v in repaired.model.state_dict().items())
    assert repaired.defense is not None
    assert repaired.defense.base == target.digest
    again, _ = Repair(errors="test", max_drawdown=5.0).apply(target, task())
    assert again is not None
    assert torch.equal(again.clean_logits(), repaired.clean_logits())


def test_a_node_that_a_later_edit_breaks_is_no_repaired_one() -> None:
    """With an open budget the edits of a long list undo each other: the count is that of the final weights."""
    target = hard_target()
    repaired, report = Repair(method="finetune", errors="test", max_drawdown=100.0, step=0.05).apply(target, task())
    assert repaired is not None
    right = Task("node").correct(repaired.clean_logits(), target.graph.y)
    fell = report.ids("fell-again")
    assert fell
    assert not bool(right[torch.tensor(fell)].any())
    assert bool(right[torch.tensor(report.ids("repaired"))].all())
    assert (report.before.value, report.after.value) == (
        pytest.approx(float(target.accuracy())),
        pytest.approx(float(right[target.split.test].double().mean())),
    )


def test_the_control_stands_beside_paired_by_node() -> None:
    def run(repaired: int, method: str) -> RepairRun:
        nodes = [
            RepairedNode(node=i, label=0, outcome="repaired" if i < repaired else "spent", steps=1) for i in range(40)
        ]
        nodes.append(RepairedNode(node=40, label=0, outcome="already-right"))  # nobody's gain
        same, right = Contrast(value=0.0, to="before"), Estimate(value=0.7, n=60)
        return RepairRun(
            method=method, nodes=tuple(nodes), budget=0.01, validation=same, test=same, before=right, after=right,
            broken=(), seconds=1.0,
        )  # fmt: skip

    control = run(28, "finetune")
    for repaired, gained, sign in ((30, 2 / 40, 0), (28, 0.0, 0), (0, -28 / 40, -1), (40, 12 / 40, 1)):
        found = compared(run(repaired, "gre-plus"), control).gained
        assert found is not None
        assert (found.value, found.n, found.to) == (pytest.approx(gained), 40, "finetune")
        assert found.lo is not None
        assert found.hi is not None
        assert (found.lo > 0) - (found.hi < 0) == sign  # two nodes prove nothing


def test_roll_back_restores_equal_bytes() -> None:
    target = toy_target(epochs=20)
    y = target.graph.y
    # Every test node is asked to be of the next class: no budget of zero survives that.
    ids = torch.nonzero(target.split.test).flatten()[:30]
    repaired, report = Repair(max_drawdown=0.0, step=0.5, together=True).apply(target, task(), (ids, (y[ids] + 1) % 3))
    assert repaired is None
    assert not report.ids("repaired")
    assert set(report.asked) <= set(ids.tolist())
    assert report.test.value == 0
    model = EditedModel(target.model, target.graph)
    theta = model.theta()
    model.move(theta, np.random.default_rng(0).normal(size=sum(t.numel() for t in theta)), 0.1)
    model.restore(theta)
    assert all(torch.equal(a, b) for a, b in zip(model.theta(), theta, strict=True))


class Line(torch.nn.Module):
    """Two classes from two weights; edges do nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, x, edge_index):
        score = x @ self.w
        return torch.stack([-score, score], dim=1)


def edited(training: tuple[float, float], wrong: tuple[float, float], *, project: bool):
    """Node 0 (training, class 1) has `training`; node 1 with `wrong` is to become class 0."""
    x = torch.tensor([training, wrong])
    graph = Graph(x, torch.tensor([[0, 1], [1, 0]]), torch.tensor([1, 0]))
    model = EditedModel(Line(), graph)
    assert Task("node").correct(model.logits(), graph.y).tolist() == [True, False]
    wanted, anchor = (torch.tensor([1]), torch.tensor([0])), (torch.tensor([0]), torch.tensor([1]))
    attempt = edit(model, wanted, [anchor], Steps(project, most=100, length=0.05))
    return attempt, Task("node").correct(model.logits(), graph.y).tolist(), model


def test_projection_saves_a_training_node_that_fine_tuning_breaks() -> None:
    saved, broken = (edited((0.1, -0.05), (1.0, -0.2), project=project)[:2] for project in (True, False))
    assert (saved[0].outcome, saved[1]) == ("repaired", [True, True])
    assert (broken[0].outcome, broken[1]) == ("repaired", [False, True])


def test_two_alike_nodes_of_different_class_cannot_both_be_right_and_the_reason_says_so() -> None:
    attempt, right, model = edited((0.1, 0.05), (1.0, 0.5), project=True)
    assert attempt.outcome == "spent"
    assert right == [True, False]
    assert model.theta()[0].tolist() == [1.0, 0.0]


def test_the_last_step_is_cut_to_the_shortest_that_succeeds() -> None:
    _, _, model = edited((0.1, -0.05), (0.5, -1.0), project=False)
    margin = float(model.logits()[1, 0])
    assert 0 <= margin < 0.05  # a whole step of .05 |theta| moves it by more than that


def test_parts_are_disjoint_stratified_and_cover_the_training_nodes() -> None:
    target = toy_target(epochs=1)
    parts = training_parts(target, 4, seed=0)
    ids = torch.cat([part for part, _ in parts])
    assert sorted(ids.tolist()) == torch.nonzero(target.split.train).flatten().tolist()
    counts = torch.stack([torch.bincount(y, minlength=3) for _, y in parts])
    assert int((counts.max(dim=0).values - counts.min(dim=0).values).max()) <= 1
    assert training_parts(target, 0, seed=0) == []


def test_a_node_that_is_right_is_listed_and_not_edited() -> None:
    target = toy_target(epochs=20)
    right = torch.nonzero(target.split.test & Task("node").correct(target.clean_logits(), target.graph.y)).flatten()[:1]
    repaired, report = Repair().apply(target, task(), (right, target.graph.y[right]))
    assert repaired is None
    assert report.ids("already-right") == (int(right),)
    assert report.asked == ()
    assert report.validation.value == 0


BAD_ROWS = [
    ([(120, 0)], "not in the graph"),
    ([(-1, 0)], "not in the graph"),
    ([(3, 3)], "label 3"),
    ([(3, 1), (3, 1)], "twice"),
    ([], "empty"),
]


@pytest.mark.parametrize(("rows", "message"), BAD_ROWS)
def test_bad_lists_are_refused(rows, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_nodes(toy_target(epochs=1), rows)


def test_a_training_node_with_another_label_is_refused() -> None:
    target = toy_target(epochs=1)
    node = int(torch.nonzero(target.split.train)[0])
    y = int(target.graph.y[node])
    assert check_nodes(target, [(node, y)])[0].tolist() == [node]
    with pytest.raises(ConfigError, match="training node"):
        check_nodes(target, [(node, (y + 1) % 3)])


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "nothing"), ("id,label\n1,2\n", "id,label"), ("node,label\n1\n", "line 2"), ("node,label\n1,x\n", "line 2")],
)
def test_bad_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "errors.csv").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_errors(tmp_path / "errors.csv")
    with pytest.raises(ConfigError, match="cannot read"):
        read_errors(tmp_path / "missing.csv")


def test_a_file_names_nodes_and_labels(tmp_path: Path) -> None:
    (tmp_path / "errors.csv").write_text("node,label\n5,1\n7,2\n")
    assert read_errors(tmp_path / "errors.csv") == [(5, 1), (7, 2)]


def test_graphs_and_weightless_models_are_skipped_and_a_budget_needs_validation_nodes() -> None:
    with pytest.raises(SkippedError, match="graphs"):
        Repair(errors="test").fit(toy_target("graph-gin", epochs=1), task())
    target = hard_target()
    weightless = replace(target, model=torch.nn.Module())
    weightless.model.forward = lambda x, edge_index: x[:, :3]
    with pytest.raises(SkippedError, match="weights"):
        Repair().apply(weightless, task(), (torch.tensor([0]), torch.tensor([0])))
    no_val = Split(target.split.train, torch.zeros(120, dtype=torch.bool), target.split.test)
    with pytest.raises(ConfigError, match="validation"):
        Repair(errors="test").apply(replace(target, split=no_val), task())


@pytest.mark.parametrize("params", [{"method": "gre"}, {"max_drawdown": -1.0}, {"step": 0.0}, {"max_steps": 0}])
def test_bad_parameters_are_refused(params) -> None:
    with pytest.raises(ConfigError):
        build(Repair, {key: str(value) for key, value in params.items()}, owner="repair")


def test_registry_line_controls_and_saved_tensors() -> None:
    entry = registry.find("defenses", "repair")
    assert entry.load() is Repair
    assert isinstance(Repair(), Defense)
    assert Repair().controls() == ("repair:method=finetune",)
    assert Repair(method="finetune").controls() == ()
    target = hard_target()
    repaired = Repair(errors="test", max_drawdown=5.0).fit(target, task())
    again = Repair(errors="test", max_drawdown=5.0).wrap(target, repaired.model.state_dict(), task())
    assert torch.equal(again.clean_logits(), repaired.clean_logits())
    twin = repaired.retrained(sbm_graph(seed=1), seed=3)
    assert bool(torch.isfinite(twin.clean_logits()).all())


def test_a_defended_target_is_not_repaired() -> None:
    defended = UniformRefit().fit(toy_target(graph=sbm_graph(240), epochs=5), task())
    with pytest.raises(SkippedError, match="defended by uniform-refit"):
        Repair(errors="test").apply(defended, task())
