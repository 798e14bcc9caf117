"""Where models run: what may be asked for, what is moved, and what a device that is not the CPU refuses."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn.models import GAT, GCN, GIN, GraphSAGE

import auditor
from auditor.api import session
from auditor.api.options import resolve
from auditor.api.session import Session
from auditor.data.fields import Fields
from auditor.errors import ConfigError, LoadError
from auditor.runner.describe import environment
from auditor.runner.undisturbed import undisturbed
from auditor.targets.call import Call
from auditor.targets.device import devices_of, moved
from auditor.targets.relaxation import Relaxation
from auditor.targets.target import ModelHandle
from auditor.targets.validity import validity_rows
from auditor.targets.validity.elsewhere import random_order
from tests.shadow import SHADOW, install, own_process
from tests.toys import sbm_graph, toy_target

pytestmark = own_process

GRAPH = sbm_graph(40, degree=4.0)
FAMILIES = {"gcn": GCN, "gat": GAT, "sage": GraphSAGE, "gin": GIN}


@pytest.fixture(autouse=True, scope="module")
def _shadow() -> None:
    install()


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of GPUs that torch seems to find."""
    names: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(names))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: names[torch.device(device).index or 0])
    return names


def opened(**given: object) -> Session:
    return Session.without_target(given)


@pytest.mark.parametrize("word", ["mps", "gpu", "", "cuda:", "cuda:x", "cuda:-1", "CUDA", "cuda:0 ", "cpu:0", "cuda:٣"])
def test_words_that_name_no_device_are_refused_with_those_that_do(word: str) -> None:
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda, or cuda:i"):
        resolve({"device": word}, {})


def test_the_file_and_the_environment_may_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve({}, {"run": {"device": "auto"}})["device"] == "auto"
    monkeypatch.setenv("AUDITOR_DEVICE", "cuda:1")
    assert resolve({}, {})["device"] == "cuda:1"


def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused(gpus: list[str]) -> None:
    assert devices_of("auto") == devices_of("cpu") == ("cpu",)
    for word in ("cuda", "cuda:0", "cuda:7"):
        with pytest.raises(ConfigError, match=r"expected a GPU.*Give --device cpu, or auto"):
            devices_of(word)


def test_gpus_of_another_kind_are_left_out_and_one_that_is_not_there_is_refused(gpus: list[str]) -> None:
    gpus += ["H200", "H200", "T4"]
    assert devices_of("cuda") == devices_of("auto") == ("cuda:0", "cuda:1")
    assert devices_of("cuda:2") == ("cuda:2",)
    with pytest.raises(ConfigError, match="device is cuda:3; expected a GPU that is there: cuda:0 to cuda:2"):
        devices_of("cuda:3")


def test_a_gpu_has_one_worker(gpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "parse_jobs", lambda text, _threads: 8 if text == "auto" else int(text))
    gpus += ["H200", "H200"]
    assert opened(device="cpu").jobs() > 2
    assert opened(device="cuda").jobs() == opened(device="auto", jobs="2").jobs() == 2
    assert opened(device="cuda:1").jobs() == 1
    with pytest.raises(ConfigError, match="jobs is 3 with device = cuda; expected one worker a GPU, and there are 2"):
        opened(device="cuda", jobs="3").jobs()


def test_a_cluster_has_no_gpu_to_give() -> None:
    with pytest.raises(ConfigError, match="executor = ray; expected cpu"):
        resolve({"device": "auto", "executor": "ray"}, {})


def test_what_a_rerun_must_share_names_the_gpu_and_not_its_number(gpus: list[str]) -> None:
    gpus += ["H200", "H200"]
    assert environment()["device"] == "cpu"
    assert environment("cuda:0")["device"] == environment("cuda:1")["device"] == "cuda (H200)"


def test_the_device_made_for_tests_refuses_what_a_gpu_refuses() -> None:
    here, there = torch.ones(3), torch.ones(3).to(SHADOW)
    assert there.device.type == "shadow"
    assert torch.equal((there * 2).cpu(), here * 2)
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()
    for mixed in (lambda: here + there, lambda: there[torch.tensor([0])], lambda: torch.cat([here, there])):
        with pytest.raises(RuntimeError, match=r"two devices|same device"):
            mixed()
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(3, device=SHADOW, generator=torch.Generator())


def test_a_tensor_is_moved_once_while_it_stays_as_it_is() -> None:
    x, device = torch.ones(3), torch.device(SHADOW)
    assert moved(x, torch.device("cpu")) is x
    first = moved(x, device)
    assert moved(x, device) is first
    x += 1
    assert torch.equal(moved(x, device).cpu(), x)
    x.requires_grad_(True)
    (gradient,) = torch.autograd.grad(moved(x, device).cpu().sum(), x)
    assert torch.equal(gradient, torch.ones(3))


@pytest.mark.parametrize("name", FAMILIES)
def test_answers_and_gradients_are_those_of_the_cpu(name: str) -> None:
    torch.manual_seed(0)
    model = FAMILIES[name](GRAPH.num_features, 8, 2, 3).eval()
    found = []
    for device in ("cpu", SHADOW):
        handle = ModelHandle(model, device=device)
        relaxation = Relaxation.choose(handle, num_features=GRAPH.num_features, level="node", graph=GRAPH)
        weight = torch.full((GRAPH.num_edges,), 0.5, requires_grad=True)
        z = relaxation.logits(GRAPH.x, GRAPH.edge_index, weight)
        h = handle.embeddings(GRAPH.x, GRAPH.edge_index)
        exact = relaxation.exact_logits(GRAPH.x, GRAPH.edge_index)
        (gradient,) = torch.autograd.grad(z.tanh().sum(), weight)
        found.append((z.detach(), h.detach(), exact, gradient))
        assert {each.device.type for each in found[-1]} == {"cpu"}
        kinds = {relaxation.kind, relaxation.method}
    for here, there in zip(*found, strict=True):
        assert torch.equal(here, there)
    assert kinds == {{"gcn": "native", "gat": "adaptor", "sage": "adaptor", "gin": "mask"}[name]}
    assert {parameter.device.type for parameter in handle.model.parameters()} == {"shadow"}


class EverySlot(nn.Module):
    """Reads what a call can hand on, of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(GRAPH.num_features, 3)

    def forward(self, x: Tensor, adj: Tensor, ptr: Tensor, one: Tensor, pos: Tensor, kind: Tensor) -> Tensor:
        of_edges = x.new_zeros(x.shape[0]).index_add(0, kind, torch.ones_like(kind, dtype=x.dtype))
        return self.linear(adj @ x) + pos + (one + ptr[0])[:, None] + of_edges[:, None]


def test_every_slot_of_a_call_is_on_the_device() -> None:
    slots = {"x": "x", "adj": "dense", "ptr": "ptr", "one": "one batch", "pos": "pos", "kind": "kind"}
    model, fields = EverySlot(), Fields(node={"pos": GRAPH.x[:, :1]}, edge={"kind": GRAPH.edge_index[0]})
    call = Call(tuple(slots.items()))
    here, there = (
        ModelHandle(model, call=call, device=device).logits(GRAPH.x, GRAPH.edge_index, fields=fields)
        for device in ("cpu", SHADOW)
    )
    assert torch.equal(here, there)


class KeepsATensor(nn.Module):
    """Holds a tensor that does not move with it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.scale = inner, torch.ones(1, GRAPH.num_features)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.inner(x * self.scale, edge_index)


def test_a_model_that_does_not_move_whole_is_refused_and_says_how_to_go_on() -> None:
    target = toy_target("mlp", graph=GRAPH, epochs=1)
    stuck = replace(target, model=KeepsATensor(target.model))
    with pytest.raises(LoadError, match=r"runs on the CPU and not on shadow:0.*register_buffer"):
        stuck.on(SHADOW)


class WritesAnywhere(nn.Module):
    """Has an operation without a deterministic form."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clone().put_(torch.tensor([0]), x.detach().flatten()[:1])


def test_a_layer_without_a_deterministic_form_is_named() -> None:
    handle = ModelHandle(toy_target("mlp", graph=GRAPH, epochs=1).model)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        assert random_order(handle, GRAPH) == []
        assert random_order(ModelHandle(Two()), GRAPH) == ["second (put_)", "its gradient (put_)"]
    finally:
        torch.use_deterministic_algorithms(before)


class Two(nn.Module):
    """A layer that is deterministic, and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(GRAPH.num_features, 3), WritesAnywhere()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.second(functional.relu(self.first(x)))


def test_the_row_says_what_the_device_answers_and_the_cpu_has_none() -> None:
    target = toy_target("mlp", graph=GRAPH, epochs=1)
    rows = {device: validity_rows(target.on(device), np.random.default_rng(0)) for device in ("cpu", SHADOW)}
    assert rows[SHADOW][:-1] == rows["cpu"]
    assert (rows[SHADOW][-1].id, rows[SHADOW][-1].status) == ("device", "pass")


def test_what_torch_is_told_is_taken_back() -> None:
    def state() -> tuple[object, ...]:
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.allow_tf32,
            list(warnings.filters),
        )

    before = state()
    with undisturbed(1, SHADOW):
        inside = state()
    assert inside[:4] == (True, True, "highest", False)
    assert state() == before


def test_a_live_model_is_audited_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "devices", lambda _self: (SHADOW,))
    report = auditor.audit(toy_target("graph-gin", epochs=30), only="strata", profile="quick")
    assert report.document.environment["device"] == SHADOW
    assert "device" not in report.document.config
    assert [cell.status for cell in report.cells] == ["ok"]
