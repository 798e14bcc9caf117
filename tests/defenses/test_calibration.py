"""Temperature: the optimum against other solvers, no class changed, validation items alone, what is refused, files."""

from __future__ import annotations

import copy
import math
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from torch import nn

from auditor.compare.arms import fit_defended, load_any, make_defense
from auditor.data.graph import Split
from auditor.data.sources import load_data
from auditor.errors import LoadError, SkippedError
from auditor.runner.execute import TrainedCache
from auditor.statistics.calibration import negative_log_likelihood, sce
from auditor.targets.derived import save_derived
from auditor.targets.target import Target
from auditor.targets.train import train_reference
from auditor.tasks import log_probabilities
from defenses.calibration import LEAST, MOST, Calibration, Found, Temperature, fit_temperature
from tests.defenses.synthetic_targets import task_of
from tests.targets.projects import Project, write_graph
from tests.toys import sbm_graph, small_graphs, toy_target


def defended(target: Target, seed: int = 0) -> Target:
    return fit_defended(target, Temperature(), seed=seed, models=TrainedCache())


def notes_of(target: Target) -> dict[str, object]:
    assert target.defense is not None
    return dict(target.defense.notes)


def temperature_of(target: Target) -> float:
    return float(target.model.get_submodule("calibration").temperature)  # type: ignore[arg-type]


def answers(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their own posteriors: calibrated as they are."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 2, (n, classes))
    p = softmax(z, axis=1)
    return z, np.array([rng.choice(classes, p=row) for row in p])


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("scale", [0.05, 1.0, 30.0])
def test_the_temperature_is_the_optimum_that_another_solver_finds(scale: float, classes: int) -> None:
    z, y = answers(400, classes)

    def loss(log_t: float) -> float:
        return negative_log_likelihood(log_softmax(scale * z / math.exp(log_t), axis=1), y)

    found = fit_temperature(scale * z, y)
    other = minimize_scalar(loss, bounds=(math.log(LEAST), math.log(MOST)), method="bounded", options={"xatol": 1e-9})
    assert found.temperature == pytest.approx(math.exp(other.x), rel=1e-4)
    assert found.after == pytest.approx(loss(math.log(found.temperature)), rel=1e-6)
    assert found.before == pytest.approx(loss(0.0), rel=1e-6)
    assert found.after <= min(loss(math.log(found.temperature) + step) for step in (-0.01, 0.01)) + 1e-7
    assert found.is_inside


def test_labels_drawn_from_the_posteriors_need_no_temperature() -> None:
    z, y = answers(20_000, 4)
    assert fit_temperature(z, y).temperature == pytest.approx(1.0, abs=0.03)
    assert fit_temperature(3 * z + 50, y).temperature == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize(("right", "bound"), [(True, LEAST), (False, MOST)])
def test_a_search_that_ends_at_its_bound_says_so(right: bool, bound: float) -> None:
    z = np.random.default_rng(0).normal(size=(50, 3))
    y = z.argmax(axis=1) if right else z.argmin(axis=1)
    found = fit_temperature(z, y)
    assert found.temperature == bound
    assert not found.is_inside
    assert math.isfinite(found.after)
    target = toy_target()
    val = target.split.val
    labels = target.graph.y.clone()
    logits = target.clean_logits()[val]
    labels[val] = logits.argmax(dim=1) if right else logits.argmin(dim=1)
    made = defended(replace(target, graph=replace(target.graph, y=labels)))
    assert made.defense is not None
    row = {row.id: row for row in made.defense.validity}["temperature-inside"]
    assert row.status == "warn"
    assert "bound" in row.evidence
    assert f"of which {int(val.sum()) if right else 0} are right" in row.evidence


def test_no_class_changes_where_float32_quotients_would_tie() -> None:
    low = torch.rand(2000, generator=torch.Generator().manual_seed(0)) + 1
    z = torch.stack([low, torch.nextafter(low, torch.tensor(9.0))], dim=1)  # class 1 by the last bit
    part = Calibration()
    ties = 0
    for temperature in (0.013, 0.3, 1.7, 97.0):
        part.load_state_dict(Found(temperature, 0, 0, 1).tensors())
        assert torch.equal(part(z).argmax(dim=1), z.argmax(dim=1))
        ties += int(((z / temperature).argmax(dim=1) != z.argmax(dim=1)).sum())
    assert ties, "or the test shows nothing"


@pytest.mark.parametrize("arch", ["gcn", "gat", "sage", "gin", "graph-gin", "mlp"])
def test_the_defended_model_answers_with_the_logits_divided_by_t(arch: str) -> None:
    target = toy_target(arch)
    before = copy.deepcopy(target.model.state_dict())
    made = defended(target)
    t = temperature_of(made)
    assert t != 1
    assert torch.equal(made.clean_logits(), target.clean_logits().double() / t)
    assert made.accuracy() == target.accuracy()
    assert made.capabilities == target.capabilities
    assert {name: value.tolist() for name, value in target.model.state_dict().items()} == {
        name: value.tolist() for name, value in before.items()
    }
    assert set(made.model.state_dict()) - set(before) == {
        "calibration.temperature",
        "calibration.validation_nll",
        "calibration.validation_items",
    }
    assert notes_of(made)["validation_items"] == int(target.split.val.sum())
    assert notes_of(made)["validation_nll_after"] < notes_of(made)["validation_nll_before"]  # type: ignore[operator]
    assert made.defense is not None
    assert {row.id: row.status for row in made.defense.validity}["same-classes"] == "pass"


def test_edge_weights_reach_the_model_as_before() -> None:
    target = toy_target()
    made, g = defended(target), target.graph
    weight = torch.rand(g.num_edges, generator=torch.Generator().manual_seed(1))
    assert made.handle().takes_edge_weight
    expected = target.logits(g.x, g.edge_index, weight).double() / temperature_of(made)
    assert torch.equal(made.logits(g.x, g.edge_index, weight), expected)
    assert torch.equal(made.clean_embeddings(), target.clean_embeddings())


class Scaled(nn.Module):
    """Surer by a factor than the model inside."""

    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, x, edge_index):
        return self.factor * self.model(x, edge_index)


@pytest.mark.parametrize("factor", [0.1, 8.0])
def test_a_model_that_is_surer_or_less_sure_by_a_factor_is_repaired(factor: float) -> None:
    target = toy_target(graph=sbm_graph(n=900, mixing=0.15))
    spoilt, test = replace(target, model=Scaled(target.model, factor)), target.split.test
    made = defended(spoilt)

    def error(of: Target) -> float:
        p = log_probabilities(of.clean_logits())[test].exp()
        right = of.task.correct(of.clean_logits(), of.graph.y)[test].double()
        return sce(p.max(dim=1).values.numpy(), right.numpy())

    assert error(spoilt) > 0.02 if factor > 1 else error(spoilt) < -0.2
    assert abs(error(made)) < 0.01
    assert temperature_of(made) == pytest.approx(factor * temperature_of(defended(target)), rel=1e-4)


def test_labels_of_validation_items_decide_and_no_others() -> None:
    target = toy_target()
    other = (target.graph.y + 1) % target.num_classes

    def relabelled(mask: torch.Tensor) -> float:
        graph = replace(target.graph, y=torch.where(mask, other, target.graph.y))
        return temperature_of(defended(replace(target, graph=graph)))

    t = temperature_of(defended(target))
    assert relabelled(target.split.test) == relabelled(target.split.train) == t
    assert relabelled(target.split.val) != t


def test_a_twin_is_trained_again_and_gets_a_temperature_of_its_own() -> None:
    target = toy_target()
    made = defended(target)
    twin = made.retrained(seed=5)
    by_hand = defended(target.retrained(seed=5))
    assert torch.equal(twin.clean_logits(), by_hand.clean_logits())
    assert temperature_of(twin) == temperature_of(by_hand) != temperature_of(made)
    assert twin.defense is not None
    assert twin.defense.notes["temperature"] == temperature_of(twin)


class Equal(nn.Module):
    """Says the same of every class."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))

    def forward(self, x, edge_index):
        return self.w.expand(x.shape[0], 3)


class Lost(nn.Module):
    """Gives no number for some items."""

    def __init__(self, model: nn.Module, mask: torch.Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mask", mask)

    def forward(self, x, edge_index):
        return torch.where(self.mask[:, None], torch.nan, self.model(x, edge_index))


def without_validation(target: Target) -> Target:
    split = target.split
    return replace(target, split=replace(split, val=torch.zeros_like(split.val)))


def named_alike(target: Target) -> Target:
    model = copy.deepcopy(target.model)
    model.calibration = nn.Identity()
    return replace(target, model=model)


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (without_validation, "no validation items"),
        (lambda t: replace(t, model=Equal()), "equal logits"),
        (lambda t: replace(t, model=Lost(t.model, t.split.val)), "24 of 24 validation items"),
        (named_alike, 'part called "calibration"'),
        (lambda t: defended(t), "Give the undefended target"),
        (
            lambda t: replace(t, split=Split.unknown(t.graph.num_items), capabilities=t.capabilities - {"SPLIT"}),
            "training split",
        ),
        (lambda t: replace(t, capabilities=t.capabilities - {"PROBS"}), "PROBS"),
    ],
)
def test_what_cannot_be_calibrated_says_why(spoilt, words: str) -> None:
    with pytest.raises(SkippedError, match=words):
        defended(spoilt(toy_target()))


def test_items_without_an_answer_that_are_not_for_validation_stay_without_one() -> None:
    target = toy_target()
    lost = replace(target, model=Lost(target.model, target.split.test))
    made = defended(lost)
    assert torch.equal(made.clean_logits().isnan(), lost.clean_logits().isnan())
    assert made.accuracy(target.split.val) == target.accuracy(target.split.val)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained target of nodes and one of graphs with two classes, on disk."""
    out = tmp_path_factory.mktemp("calibration")
    train_reference(load_data("demo"), "gcn", out_dir=out / "node", epochs=20)
    write_graph(out / "graphs.npz", small_graphs())
    source = str(out / "graphs.npz")
    train_reference(load_data(source), "gin", out_dir=out / "graph", epochs=5, hidden=8, source=source)
    return out


@pytest.mark.parametrize("level", ["node", "graph"])
def test_saved_and_loaded_it_is_the_same_target(folder: Path, tmp_path: Path, level: str) -> None:
    base = load_any(folder / level, models=TrainedCache())
    made = fit_defended(base, make_defense("temperature"), seed=0, models=TrainedCache(), release=True)
    save_derived(made, folder / level, tmp_path)
    loaded = load_any(tmp_path, models=TrainedCache())
    assert torch.equal(loaded.clean_logits(), made.clean_logits())
    assert torch.equal(loaded.clean_logits(), base.clean_logits().double() / temperature_of(loaded))
    assert loaded.capabilities == base.capabilities
    saved = notes_of(made)
    del saved["seconds"]
    assert notes_of(loaded) == saved
    assert torch.equal(loaded.retrained(seed=3).clean_logits(), made.retrained(seed=3).clean_logits())


@pytest.mark.parametrize("value", [0.0, -1.0, 1e9, math.nan])
def test_a_saved_temperature_that_no_fit_gives_is_refused(folder: Path, tmp_path: Path, value: float) -> None:
    base = load_any(folder / "node", models=TrainedCache())
    save_derived(Temperature().fit(base, task_of()), folder / "node", tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["calibration.temperature"] = torch.tensor(value)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(LoadError, match=r"temperature|finite"):
        load_any(tmp_path, models=TrainedCache())
    del state["calibration.temperature"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(LoadError, match=r"calibration\.temperature"):
        load_any(tmp_path, models=TrainedCache())


FACTORY = """
    import torch
    from torch_geometric.nn import GCN
    from parts.layers import width

    class Net(torch.nn.Module):
        def __init__(self, hidden):
            super().__init__()
            self.gnn = GCN(24, hidden, 2, 3)

        def forward(self, data):
            return self.gnn(data.x, data.edge_index).softmax(dim=1)

    def build(hidden):
        return Net(hidden + width())

    def adapted(hidden):
        net = Net(hidden + width())
        return net, lambda model, data: model(data)
"""


@pytest.mark.parametrize("factory", ["model.py:build", "model:build", "model.py:adapted"])
def test_a_user_s_own_model_is_calibrated_and_saved_beside_its_code(tmp_path: Path, factory: str) -> None:
    project = Project(tmp_path / "own", hidden_channels=8)
    (tmp_path / "own" / "parts").mkdir()
    (tmp_path / "own" / "parts" / "layers.py").write_text("def width():\n    return 0\n")
    (tmp_path / "own" / "model.py").write_text(textwrap.dedent(FACTORY))
    state = {f"gnn.{name}": value for name, value in project.model.state_dict().items()}
    save_file(state, tmp_path / "own" / "model.safetensors")
    del project.tables["model"]
    base = load_any(project.write(factory=factory, init={"hidden": 8}, train={"epochs": 2}), models=TrainedCache())
    made = defended(base)
    save_derived(made, tmp_path / "own", tmp_path / "elsewhere" / "out")
    loaded = load_any(tmp_path / "elsewhere" / "out", models=TrainedCache())
    assert loaded.kind == "factory"
    assert torch.equal(loaded.clean_logits(), made.clean_logits())
    expected = base.clean_logits().double().div(temperature_of(loaded)).softmax(dim=1)
    torch.testing.assert_close(log_probabilities(loaded.clean_logits()).exp(), expected)
    assert loaded.capabilities == base.capabilities
    assert torch.equal(loaded.retrained(seed=3).clean_logits(), made.retrained(seed=3).clean_logits())
