"""Forwards that write on what they are given: the data stay as they are, and every number is that of fresh tensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

from attacks.layer_stack import LayerStack
from auditor.api.auditing import check
from auditor.api.auditing import load_target as live
from auditor.errors import CallError, SkippedError
from auditor.targets.in_place import kept_fresh, left_forward
from auditor.targets.load import load_target
from auditor.targets.save import save_target
from auditor.targets.target import ModelHandle
from tests.toys import random_split, sbm_graph

GRAPH = sbm_graph(seed=2)
WIDTH, CLASSES = GRAPH.x.shape[1], 3


class Scaling(nn.Module):
    """Writes on x and on a field."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = GCNConv(WIDTH, CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        x *= 2.0
        edge_attr += 0.5
        return self.conv(x, edge_index, edge_attr[:, 0].relu())


class OfData(Scaling):
    """The same on PyG's Data."""

    def forward(self, data: Data) -> Tensor:  # type: ignore[override]
        return super().forward(data.x, data.edge_index, data.edge_attr)


class PastAutograd(Scaling):
    """Writes where no version is kept."""

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        edge_attr.detach().numpy()[:] *= 3
        x.data.add_(1)
        return self.conv(x, edge_index, edge_attr[:, 0].relu())


class Dropping(Scaling):
    """Writes on x in training alone."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:  # type: ignore[override]
        return self.conv(functional.dropout(x, 0.5, self.training, inplace=True), edge_index)


class Residual(nn.Module):
    """Writes on a hidden state that a layer has read."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.a, self.b, self.in_place = GCNConv(WIDTH, CLASSES), GCNConv(CLASSES, CLASSES), in_place

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.a(x, edge_index)
        out = self.b(h, edge_index)
        if self.in_place:
            h += out
            return h
        return h + out


def private_data() -> Data:
    attr = torch.randn(GRAPH.num_edges, 2, generator=torch.Generator().manual_seed(3))
    split = random_split(GRAPH.num_items)
    masks = {"train_mask": split.train, "val_mask": split.val, "test_mask": split.test}
    return Data(x=GRAPH.x.clone(), edge_index=GRAPH.edge_index, edge_attr=attr, y=GRAPH.y, **masks)


@pytest.mark.parametrize("kind", [Scaling, OfData, PastAutograd])
def test_every_forward_sees_the_data_as_they_were_given(kind: type[nn.Module]) -> None:
    model, data, given = kind().eval(), private_data(), private_data()
    with torch.no_grad():
        fresh = private_data()
        expected = model(fresh) if kind is OfData else model(fresh.x, fresh.edge_index, fresh.edge_attr)
    target = live(model, data)
    for _ in range(2):
        g = target.graph
        with torch.no_grad():
            again = target.logits(g.x, g.edge_index, g.edge_weight, g.batch, g.fields)
        assert torch.equal(again, expected)
    assert "deterministic" not in check(target).failed
    assert all(torch.equal(data[key], given[key]) for key in given.keys())  # noqa: SIM118 - of PyG's Data


def test_a_saved_model_that_writes_on_its_data_is_loaded_with_its_answers(tmp_path: Path) -> None:
    model, data = Scaling(), private_data()
    save_target(model, data, tmp_path / "out", init_args={})
    fresh = private_data()
    with torch.no_grad():
        expected = model(fresh.x, fresh.edge_index, fresh.edge_attr)
    assert torch.allclose(load_target(tmp_path / "out").clean_logits(), expected, atol=1e-6)
    assert torch.equal(data.x, private_data().x)


def test_training_may_write_where_evaluation_does_not() -> None:
    recipe = {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.0, "epochs": 2, "seed": 0}
    target = live(Dropping(), private_data(), build=Dropping, recipe=recipe)
    before = target.graph.x.clone()
    target.retrained(seed=1)
    assert torch.equal(target.graph.x, before)


def test_what_forward_leaves_alone_is_not_copied_again() -> None:
    seen: list[Tensor] = []
    model = Dropping()
    model.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    model.conv.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    model = kept_fresh(model).eval()
    for is_copied in (True, False):
        model(GRAPH.x, GRAPH.edge_index)
        assert (seen.pop().data_ptr() != seen.pop().data_ptr()) == is_copied


def test_a_gradient_reaches_what_forward_writes_on() -> None:
    model, data = kept_fresh(Scaling()).eval(), private_data()
    x = data.x.requires_grad_(True)
    (first,) = torch.autograd.grad(model(x, data.edge_index, data.edge_attr).sum(), x)
    (again,) = torch.autograd.grad(model(x, data.edge_index, data.edge_attr).sum(), x)
    assert torch.equal(first, again)
    assert first.abs().sum() > 0


def test_a_forward_that_begins_to_write_is_refused_for_good() -> None:
    class Sometimes(Dropping):
        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:  # type: ignore[override]
            if x.sum() < 0:
                x += 1
            return self.conv(x, edge_index)

    model = kept_fresh(Sometimes()).eval()
    model(GRAPH.x, GRAPH.edge_index)
    for x in (-GRAPH.x, GRAPH.x):
        with pytest.raises(CallError, match=r"forward wrote on argument 1 in place"):
            model(x, GRAPH.edge_index)


def test_embeddings_are_what_the_layer_read() -> None:
    plain, writing = Residual(in_place=False), Residual(in_place=True)
    writing.load_state_dict(plain.state_dict())
    g, handles = GRAPH, [ModelHandle(plain), ModelHandle(writing)]
    expected, found = (h.embeddings(g.x, g.edge_index) for h in handles)
    assert torch.equal(found, expected)
    dense = torch.zeros(g.num_nodes, g.num_nodes)
    dense[g.edge_index[1], g.edge_index[0]] = 1
    stack = LayerStack.of(handles[1], g.x)
    assert stack is not None
    assert torch.allclose(stack.embeddings(dense.mm, dense.sum(dim=1)), expected, atol=1e-5)


class SaysSkip(nn.Module):
    """Raises a word of ours."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        raise SkippedError("does not apply")


def test_a_forward_cannot_say_that_a_test_does_not_apply() -> None:
    with pytest.raises(RuntimeError, match="SkippedError: does not apply") as caught:
        kept_fresh(SaysSkip())(GRAPH.x, GRAPH.edge_index)
    assert left_forward(caught.value)
    assert not left_forward(ValueError("elsewhere"))


def test_a_package_of_the_user_is_not_this_program_whatever_it_is_called(tmp_path: Path) -> None:
    said = {"__name__": "attacks.net", "SkippedError": SkippedError}
    text = "def forward(self, x, edge_index):\n    raise SkippedError('does not apply')\n"
    exec(compile(text, str(tmp_path / "attacks" / "net.py"), "exec"), said)
    model = type("Net", (nn.Module,), {"forward": said["forward"]})()
    with pytest.raises(RuntimeError, match="SkippedError: does not apply"):
        kept_fresh(model)(GRAPH.x, GRAPH.edge_index)
