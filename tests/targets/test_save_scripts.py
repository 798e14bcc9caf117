"""`save_target` in a training script or a notebook: the class is cut out, and training is not run again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from auditor.targets.load import load_target

ROOT = Path(__file__).parents[2]
SCRIPT = """
    from __future__ import annotations
    from pathlib import Path
    import sys
    import torch, math; from torch import nn
    from torch_geometric.data import Data
    from torch_geometric.nn import GCNConv
    import auditor
    from layers.block import Block
    try:
        from torch_geometric.nn import GATConv
    except ImportError:
        GATConv = None

    here = Path(__file__).parent
    with open(here / "sentinel", "a") as log:
        log.write("trained\\n")
    HIDDEN = 8; torch.manual_seed(0)
    WIDTHS = (HIDDEN, 2 * HIDDEN)
    data = Data(x=torch.randn(40, 5), edge_index=torch.randint(0, 40, (2, 160)), y=torch.arange(40) % 3)
    deg = data.edge_index[0].bincount()
    RATE = 0.1
    SETTINGS = {"slope": 0.2}

    def act(h):
        return torch.where(h > 0, h, SETTINGS["slope"] * h) * math.sqrt(2)

    class Base(nn.Module):
        def finish(self, h):
            return act(h)

    CLASS

    model = Net(5)
    auditor.save_target(model, data, here / "release", split={"train": range(20), "test": range(20, 40)})
    torch.save(model.eval()(data.x, data.edge_index), here / "expected.pt")
"""
GOOD = """
    class Net(Base):
        # What a comment says stays.
        def __init__(self, width, hidden=WIDTHS[1]):
            super().__init__()
            self.width = width
            self.a, self.b, self.c = GATConv(width, hidden), GCNConv(hidden, 3), Block(3)
        def forward(self, x, edge_index):
            data = deg = self.a(x, edge_index)
            return self.c(self.finish(self.b(data, edge_index)))
"""


def script(folder: Path, source: str, around: str = SCRIPT) -> subprocess.CompletedProcess[str]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "layers").mkdir(exist_ok=True)
    (folder / "layers" / "__init__.py").write_text("")
    block = (
        "from torch import nn\nclass Block(nn.Linear):\n    def __init__(self, d):\n        super().__init__(d, d)\n"
    )
    (folder / "layers" / "block.py").write_text(block)
    text = textwrap.dedent(around).replace("CLASS", textwrap.dedent(source).strip())
    (folder / "train.py").write_text(text)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(folder / "train.py")]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=env, cwd=folder.parent)


def test_a_class_of_a_script_is_cut_out_and_training_is_not_run_again(tmp_path: Path) -> None:
    done = script(tmp_path / "project", GOOD)
    assert done.returncode == 0, done.stderr
    assert "rebuilt from its own attributes" in done.stderr
    folder = tmp_path / "project" / "release"
    text = (folder / "model.py").read_text()
    assert "# What a comment says stays." in text
    for name in ("class Base", "def act", "WIDTHS =", "HIDDEN = 8", "SETTINGS =", ", math", "GATConv = None"):
        assert name in text
    for name in ("RATE", "sentinel", "Data", "manual_seed", "import sys", "bincount"):
        assert name not in text
    target = load_target(folder)
    assert torch.equal(target.clean_logits(), torch.load(tmp_path / "project" / "expected.pt"))
    assert (tmp_path / "project" / "sentinel").read_text() == "trained\n"


@pytest.mark.slow
def test_a_function_of_a_script_is_cut_out_with_what_it_builds(tmp_path: Path) -> None:
    source = f"{textwrap.dedent(GOOD)}\ndef make():\n    return Net(5)\n"
    done = script(tmp_path / "project", source, SCRIPT.replace('"release", ', '"release", build=make, '))
    assert done.returncode == 0, done.stderr
    assert "rebuilt by the function given" in done.stderr
    target = load_target(tmp_path / "project" / "release")
    assert torch.equal(target.clean_logits(), torch.load(tmp_path / "project" / "expected.pt"))
    assert (tmp_path / "project" / "sentinel").read_text() == "trained\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("self.width = width", "self.width, self.d = width, deg.sum()"), "pass deg as an argument"),
        (('SETTINGS = {"slope": 0.2}', 'SETTINGS = {}; SETTINGS["slope"] = 0.3'), "pass SETTINGS as an argument"),
        (("HIDDEN = 8;", "HIDDEN = int('8');"), "pass HIDDEN as an argument"),
    ],
)
def test_a_computed_constant_is_refused_by_name(change: tuple[str, str], words: str, tmp_path: Path) -> None:
    done = script(tmp_path / "project", GOOD.replace(*change), SCRIPT.replace(*change))
    assert done.returncode == 1
    assert words in done.stderr
    assert not (tmp_path / "project" / "release").exists()


@pytest.mark.slow
def test_a_class_of_a_notebook_is_cut_out_of_its_cells(tmp_path: Path) -> None:
    runner = """
        import sys, json
        In = json.loads(sys.argv[1])
        for cell in In:
            if not cell.startswith("%"):
                exec(compile(cell, "<cell>", "exec"), globals())
    """
    cells = [
        "%matplotlib inline",
        "import torch\nfrom torch import nn\nfrom torch_geometric.nn import GCNConv\nimport auditor",
        "D = 3",
        "@auditor.record\nclass Net(nn.Module):\n    def __init__(self, f):\n        super().__init__()\n"
        "        self.a = GCNConv(f, D)\n    def forward(self, x, edge_index):\n        return self.a(x, edge_index)",
        "from torch_geometric.data import Data\n"
        "data = Data(x=torch.randn(30, 4), edge_index=torch.randint(0, 30, (2, 90)), y=torch.arange(30) % 3)\n"
        f"auditor.save_target(Net(4), data, {str(tmp_path / 'r')!r})",
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(runner), json.dumps(cells)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert load_target(tmp_path / "r").clean_logits().shape == (30, 3)
