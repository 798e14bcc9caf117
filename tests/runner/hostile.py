"""Targets whose own code misbehaves at a place of choice."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from tests.toys import sbm_graph

CODE = """
import json, os, sys, threading, time
import torch
from torch import nn
from torch_geometric.nn import GCNConv

CALLS = 0


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = GCNConv({features}, 8)
        self.conv2 = GCNConv(8, {classes})

    def forward(self, x, edge_index):
        global CALLS
        CALLS += 1
{forward}
        return self.conv2(self.conv1(x, edge_index).relu(), edge_index)


{top}


def build():
{build}
    return Net()
"""
TARGET = """
[target]
name = "hostile"
factory = "model.py:build"
weights = "model.safetensors"

[data]
path = "graph.npz"
split = "file:split.npz"
"""

LATE = "if CALLS > 90: "
"""After the target is loaded and checked, in the middle of the cell of corruption: strata ends before."""
IN_CORRUPTION = "if any('corruption' in f.filename for f in __import__('traceback').extract_stack()): "
IN_FIT = "if any(f.name == 'fit_defended' for f in __import__('traceback').extract_stack()): "
ENDS = {
    "exit": "sys.exit(0)",
    "os-exit": "os._exit(0)",
    "generator-exit": "raise GeneratorExit",
    "interrupt": "raise KeyboardInterrupt",
    "no-text": "raise type('B', (Exception,), {'__str__': lambda self: 1 / 0})()",
    "surrogate": "raise RuntimeError('\\ud800')",
    "signal": "os.kill(os.getpid(), 9)",
    "leaves-a-child": "os.fork() and os._exit(0) or time.sleep(60)",
}


def hostile(folder: Path, *, forward: str = "pass", top: str = "pass", build: str = "pass") -> Path:
    """A target folder; each text is what is done at that place."""
    folder.mkdir(parents=True)
    graph = sbm_graph(120)
    classes = int(graph.y.max()) + 1
    text = CODE.format(
        features=graph.num_features,
        classes=classes,
        forward=textwrap.indent(forward, " " * 8),
        top=top,
        build=textwrap.indent(build, " " * 4),
    )
    (folder / "model.py").write_text(text)
    generator = torch.Generator().manual_seed(0)
    shapes = {"conv1": (8, graph.num_features), "conv2": (classes, 8)}
    weights = {f"{name}.lin.weight": torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    weights |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "target.toml").write_text(TARGET)
    np.savez(folder / "graph.npz", x=graph.x.numpy(), edge_index=graph.edge_index.numpy(), y=graph.y.numpy())
    ids = np.random.default_rng(0).permutation(graph.num_nodes)
    np.savez(folder / "split.npz", train_idx=ids[:40], val_idx=ids[40:50], test_idx=ids[50:])
    return folder


TURNS = """
WAYS, ENDED = {ways}, []


def end():
    if {once} and ENDED:
        return
    ENDED.append(True)
    with open({ended!r}, "a") as ended:
        ended.write("x")
    turn = os.path.getsize({ended!r})
    if turn <= len(WAYS):
        exec(WAYS[turn - 1])
"""


def in_turn(folder: Path, where: str, ways: Sequence[str], *, once: bool = False) -> Path:
    """A target that ends there in another way each time, in their order, and is harmless after the last of them.

    A process costs seconds: one run tries them all. What has ended is counted in the file `ended` beside the folder.
    With `once`, a process tries one way: for those that it outlives until the parent ends it.
    """
    top = TURNS.format(ways=list(ways), once=once, ended=str(folder.parent / "ended"))
    return hostile(folder, forward=where + "end()", top=top)
