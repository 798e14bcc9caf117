"""What would print an ε and mean none is refused, every time, with the number that holds."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from opacus import PrivacyEngine
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch_geometric.nn import BatchNorm, GATConv, GCNConv, GINConv, global_add_pool
from torch_geometric.nn.models import GCN
from typer.testing import CliRunner

from auditor.cli.main import app
from auditor.compare.arms import fit_defended, make_defense
from auditor.data.sources import load_data
from auditor.defense import DefenseTask
from auditor.errors import ConfigError, PerRecordShapeError, SkippedError
from auditor.runner.execute import TrainedCache
from auditor.statistics.accounting import accountant_id
from auditor.targets.tag import DefenseTag
from auditor.targets.train import train_reference
from defenses.dp.node import DPNode
from defenses.dp.record_checks import check_records
from defenses.dp.records import RecordBatch, RecordModel
from defenses.dp.refusals import NOT_OFFERED, check_opacus, refuse_defended, refuse_shared_graph, shared_graph_bounds
from tests.defenses.synthetic_targets import task_of
from tests.toys import sbm_graph, small_graphs, toy_target


class Pooled(nn.Module):
    """One convolution, pooled by graph."""

    def __init__(self, conv: nn.Module, width: int = 4) -> None:
        super().__init__()
        self.conv, self.head = conv, nn.Linear(width, 2)

    def forward(self, x, edge_index, batch):
        return self.head(global_add_pool(self.conv(x, edge_index), batch))


LAYERS = {
    "gcn": lambda: GCNConv(2, 4),
    "gin": lambda: GINConv(nn.Linear(2, 4)),
    "gin-eps": lambda: GINConv(nn.Linear(2, 4), train_eps=True),
    "gat": lambda: GATConv(2, 4),
}
MODES = ("hooks", "functorch", "ew", "ghost", "no_op")


def by_opacus(model: nn.Module, mode: str) -> tuple[nn.Module, object]:
    """As a user would: `make_private` in that mode, on some loader."""
    engine = PrivacyEngine(accountant="prv")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(torch.zeros(120, 2), torch.zeros(120, dtype=torch.long)), batch_size=12)
    options = {"criterion": nn.CrossEntropyLoss()} if mode == "ghost" else {}
    made = engine.make_private(
        module=model.train(),
        optimizer=optimizer,
        data_loader=loader,
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        grad_sample_mode=mode,
        poisson_sampling=False,
        **options,
    )
    return made[0], made[1]


@pytest.mark.filterwarnings("ignore")  # Opacus' own words about its random numbers
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layer", LAYERS)
def test_raw_layers_under_every_opacus_mode_are_refused(mode, layer):
    module, optimizer = by_opacus(Pooled(LAYERS[layer]()), mode)
    with pytest.raises(PerRecordShapeError, match="Opacus takes every row for a record"):
        check_opacus(module, small_graphs(120), optimizer)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", MODES)
def test_node_tasks_under_dp_optimizer_are_refused_with_both_numbers(mode):
    """Whatever the layers: even a plain linear one, if its rows are nodes that share a graph with the others."""
    module, optimizer = by_opacus(nn.Sequential(nn.Linear(24, 3)), mode)
    with pytest.raises(SkippedError) as refused:
        check_opacus(module, sbm_graph(), optimizer, steps=50, delta=1e-3)
    bounds = shared_graph_bounds(120, 12, 1.0, 50, 1e-3)
    assert numbers(str(refused.value)) == pytest.approx([bounds.naive, bounds.bounded, bounds.unbounded], rel=0.05)


class TwoGIN(nn.Module):
    """Two convolutions on one graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = GINConv(nn.Linear(24, 8)), GINConv(nn.Linear(8, 3))

    def forward(self, x, edge_index):
        return self.second(self.first(x, edge_index).relu(), edge_index)


def test_opacus_itself_says_nothing_to_a_node_task():
    """Why the check exists: a step passes; its rows are right in number and no gradients of one node's loss."""
    graph = sbm_graph()
    torch.manual_seed(0)
    model = TwoGIN()
    hooked = GradSampleModule(model, loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(hooked.parameters(), lr=0.1), noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=120
    )
    x = graph.x.clone().requires_grad_(True)
    losses = nn.functional.cross_entropy(hooked(x, graph.edge_index), graph.y, reduction="none")
    losses.sum().backward(retain_graph=True)
    rows = model.first.nn.weight.grad_sample.clone()
    assert rows.shape[0] == graph.num_nodes
    hooked.disable_hooks()
    true = torch.autograd.grad(losses[7], model.first.nn.weight)[0]
    assert float((rows[7] - true).norm() / true.norm()) > 0.5
    optimizer.step()  # without a word
    hooked.to_standard_module()


@pytest.mark.filterwarnings("ignore")
def test_batch_norm_is_refused_even_where_opacus_is_not_asked():
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.lin = BatchNorm(2), nn.Linear(2, 2)

    with pytest.raises(SkippedError, match=r"norm.*normalises over rows of other records"):
        check_opacus(Normalised(), small_graphs(10))


def test_records_without_convolution_pass():
    check_opacus(GradSampleModule(nn.Linear(2, 2)), small_graphs(10))
    wrapped = RecordModel(Pooled(GCNConv(2, 4)))
    check_opacus(wrapped.twin, small_graphs(10))
    wrapped.close()


def test_rows_that_are_nodes_of_one_graph_fail_the_independence_check():
    """Right in number and wrong: every node a record of its own, with the edges left between them."""
    graph = sbm_graph(n=40)
    rows = RecordBatch(graph.x, graph.edge_index, graph.y, torch.arange(40))
    with pytest.raises(PerRecordShapeError, match="record-independence"):
        check_records(RecordModel(GCN(graph.num_features, 8, 2, 3)), rows)


def test_the_bounds_of_naive_node_dp_sgd():
    """N = 1624, b = 128, T = 200, M = 5, δ = 1/(10 N), noise 1C / 2C / 4C; the naive figure by PRV and PLD."""
    for sigma, multi, naive in ((1.0, 400.4, 6.85), (2.0, 118.1, 2.28), (4.0, 38.5, 0.96)):
        found = shared_graph_bounds(1624, 128, sigma, 200, 1 / 16240)
        assert found.bounded == pytest.approx(multi, abs=0.1)
        assert found.naive == pytest.approx(naive, rel=0.01)
        assert found.unbounded > 1000 * found.bounded
        assert found.terms == 5


def numbers(message: str) -> list[float]:
    return [float(text) for text in re.findall(r"ε = ([0-9.e+]+)", message)]


@pytest.mark.parametrize("level", ["node", "edge"])
def test_the_refusal_prints_naive_and_multi_term_side_by_side(level):
    with pytest.raises(SkippedError, match=f"refused at {level} level.*Use dp-node") as refused:
        refuse_shared_graph("my-training", level, population=1624, drawn=128, sigma=1.0, steps=200, delta=1 / 16240)
    assert numbers(str(refused.value)) == pytest.approx([6.85, 400, 6.6e6], rel=0.01)
    assert "\n" not in str(refused.value)  # it becomes a row of the report


@pytest.mark.parametrize("epsilon", [pytest.param(1.0, marks=pytest.mark.slow), 8.0])
@pytest.mark.parametrize("spec", ["dp-graph:batch=12,epochs=4", "dp-node:batch=12,steps=12,accountant=prv+pld"])
def test_naive_node_level_dp_sgd_is_refused_through_the_defences(spec, epsilon):
    with pytest.raises(SkippedError) as refused:
        fit_defended(toy_target(epochs=1), make_defense(f"{spec},epsilon={epsilon}"), seed=0, models=TrainedCache())
    naive, bounded, unbounded = numbers(str(refused.value))
    assert naive == pytest.approx(epsilon, rel=0.02)
    assert unbounded > bounded > 5 * naive
    assert "Use dp-node" in str(refused.value)


def test_the_command_line_refuses_before_training_with_exit_3(tmp_path):
    train_reference(load_data("demo"), "gcn", out_dir=tmp_path / "base", epochs=1)
    arguments = [
        "defend",
        str(tmp_path / "base"),
        "--defense",
        "dp-graph:batch=12,epochs=2,epsilon=1",  # accounting takes longer at little noise
        "-o",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(app, arguments)
    text = " ".join(result.output.split())
    assert result.exit_code == 3 or getattr(result.exception, "exit_code", 0) == 3
    assert "multi-term bound" in text + str(result.exception)
    assert not (tmp_path / "out" / "target.toml").exists()


@pytest.mark.parametrize("method", NOT_OFFERED)
def test_methods_without_a_guarantee_answer_with_the_reason(method):
    with pytest.raises(ConfigError, match=f"{method} is not offered: .*Use (dp|gap)"):
        make_defense(f"{method}:epsilon=4")


def test_gdp_is_refused_with_the_reason():
    for made in (lambda: accountant_id("gdp"), lambda: DPNode(accountant="gdp")):
        with pytest.raises(ConfigError, match="central limit"):
            made()


def test_a_joint_cluster_target_is_no_base_for_dp_training():
    base = replace(toy_target(epochs=1), defense=DefenseTag("joint-cluster:tau=0.5", "1", 0, "d"))
    with pytest.raises(SkippedError, match="prototypes are means over many training nodes"):
        refuse_defended(DPNode(), base)
    with pytest.raises(SkippedError, match="prototypes are means"):
        DPNode().planned(base, DefenseTask(0, TrainedCache()))
    other = replace(base, defense=DefenseTag("edge-rand", "1", 0, "d"))
    with pytest.raises(SkippedError, match="defended by edge-rand"):
        DPNode().fit(other, task_of())
