"""30-35, 52: how weights are saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.targets.shapes.graphs import communities
from tests.targets.shapes.plain import GCN, called
from tests.targets.shapes.shape import Refused, Shape, Works

LAZY = """
    import torch
    from torch_geometric.nn import GCNConv


    class GCN(torch.nn.Module):
        def __init__(self, hidden_channels, out_channels):
            super().__init__()
            self.conv1 = GCNConv(-1, hidden_channels)
            self.conv2 = GCNConv(-1, out_channels)

        def forward(self, x, edge_index):
            x = self.conv1(x, edge_index).relu()
            return self.conv2(x, edge_index)


    def build():
        return GCN(16, 4)
"""


def prefixed(model: nn.Module, prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in model.state_dict().items()}


def save_parallel(model: nn.Module, folder: Path) -> None:
    torch.save(nn.DataParallel(model).state_dict(), folder / "model.pt")


def save_compiled(model: nn.Module, folder: Path) -> None:
    """The names that a compiled module gives its tensors."""
    torch.save(prefixed(model, "_orig_mod."), folder / "model.pt")


def save_lightning(model: nn.Module, folder: Path) -> None:
    """What a trainer of Lightning leaves behind."""
    checkpoint = {
        "epoch": 60,
        "global_step": 60,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": prefixed(model, "model."),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"completed": 60}}}},
        "callbacks": {},
        "optimizer_states": [torch.optim.Adam(model.parameters(), lr=0.02).state_dict()],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"hidden_channels": 16, "lr": 0.02},
    }
    torch.save(checkpoint, folder / "model.pt")


def save_checkpoint(model: nn.Module, folder: Path) -> None:
    """What a training loop saves to go on from."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    checkpoint = {"epoch": 60, "model_state_dict": model.state_dict(), "optimizer": optimizer.state_dict(), "loss": 0.4}
    torch.save(checkpoint, folder / "model.pt")


def save_inside(model: nn.Module, folder: Path) -> None:
    torch.save(prefixed(model, "gnn."), folder / "model.pt")


def save_beside(model: nn.Module, folder: Path) -> None:
    """The model inside a larger one, whose other tensors are no part of it."""
    torch.save({**prefixed(model, "gnn."), "class_weight": torch.ones(4)}, folder / "model.pt")


def save_three(model: nn.Module, folder: Path) -> None:
    others = {"memory": nn.GRUCell(8, 8).state_dict(), "link_pred": nn.Linear(8, 1).state_dict()}
    torch.save(
        {"memory": others["memory"], "gnn": model.state_dict(), "link_pred": others["link_pred"]}, folder / "model.pt"
    )


def save_module(model: nn.Module, folder: Path) -> None:
    torch.save(model, folder / "model.pt")


def shape(id_: str, name: str, save: Any, must: Any = None, **more: Any) -> Shape:
    return Shape(id_, name, GCN, communities, called, must or Works(), save_weights=save, **more)


SHAPES = (
    Shape("30", "lazy layers", LAZY, communities, called),
    shape("31", "DataParallel", save_parallel),
    shape("32", "compiled", save_compiled),
    shape("33", "Lightning", save_lightning),
    shape("33-loop", "a checkpoint of a training loop", save_checkpoint),
    shape("34", "the prefix gnn.", save_inside),
    shape("34-beside", "the prefix gnn., and a tensor beside it", save_beside),
    shape("34-pinned", "a prefix that is named", save_inside, tables={"target": {"strip_prefix": "gnn."}}),
    shape("35", "three state dicts", save_three, Refused(("memory", "gnn", "link_pred", "weights_key"), (2, 4))),
    shape("35-pinned", "three state dicts, one named", save_three, tables={"target": {"weights_key": "gnn"}}),
    shape("52", "a whole module", save_module, Refused(("--trust-pickle",), (4,))),
    shape("52-trusted", "a whole module, trusted, with its factory", save_module, flags=("--trust-pickle",)),
)
