from __future__ import annotations

import copy
import random
import sys
import textwrap
from pathlib import Path

import pytest
import torch

import attacks.table
import reports.table
from auditor.errors import CallError, LoadError, RefusedError
from auditor.targets.load import load_target
from auditor.targets.target import Capability
from auditor.targets.user_imports import UserImports
from auditor.targets.validity import validity_rows
from tests.targets.projects import Project

MODEL = """
    import torch
    from torch_geometric.nn import GCN, GCNConv

    def build():
        return GCN(24, 8, 2, 3)
"""


def project(
    folder: Path, source: str = MODEL, *, file: str = "model.py", factory: str = "model.py:build", **model
) -> Project:
    p = Project(folder, **model)
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(textwrap.dedent(source))
    del p.tables["model"]
    p.write(factory=factory)
    return p


@pytest.mark.parametrize("factory", ["model.py:build", "nets/model.py:build", "nets_a.model:build"])
def test_a_factory_is_found_by_file_and_by_module(factory: str, tmp_path: Path) -> None:
    place = factory.partition(":")[0]
    file = place if place.endswith(".py") else place.replace(".", "/") + ".py"
    p = project(tmp_path, file=file, factory=factory)
    target = load_target(p.write(train={"epochs": 2}))
    g = p.graph
    assert target.kind == "factory"
    assert torch.equal(target.clean_logits(), p.model.eval()(g.x, g.edge_index))
    assert target.capabilities == frozenset(Capability)
    assert str(tmp_path) not in repr(dict(target.provenance))
    assert str(tmp_path) not in sys.path


def test_a_twin_of_a_factory_is_built_afresh_and_deterministic(tmp_path: Path) -> None:
    target = load_target(project(tmp_path).write(train={"epochs": 2}))
    first, again, other = (target.retrained(seed=s).clean_logits() for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, target.clean_logits())


def test_digest_follows_the_factory_s_code(tmp_path: Path) -> None:
    first = load_target(project(tmp_path / "a").folder).digest
    assert load_target(project(tmp_path / "b").folder).digest == first
    assert load_target(project(tmp_path / "c", MODEL + "\n    EXTRA = 1\n").folder).digest != first


DATA_FORWARD = """
    import torch
    from torch_geometric.nn import GCNConv, global_mean_pool

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = GCNConv(24, 8), GCNConv(8, 3)

        def forward(self, data):
            assert data.num_nodes == data.x.shape[0] and data.edge_attr is None
            h = self.conv1(data.x, data.edge_index, data.edge_weight).relu()
            return self.conv2(h, data.edge_index, data.edge_weight)

    def build():
        return Net()
"""


def test_a_forward_of_data_is_called_with_data(tmp_path: Path) -> None:
    p = project(tmp_path, DATA_FORWARD, **{"class": None, "stack": "GCNConv"})
    target = load_target(p.folder)
    g = p.graph
    assert torch.equal(target.clean_logits(), p.model.eval()(g.x, g.edge_index))
    assert Capability.GRAD_EDGE in target.capabilities
    half = torch.full((g.num_edges,), 0.5)
    assert torch.equal(target.logits(g.x, g.edge_index, half), p.model(g.x, g.edge_index, half))


ADAPTER = """
    import torch
    from torch_geometric.nn import GCN

    def build():
        def adapter(module, x, edge_index, edge_weight, batch):
            return 2 * module(x, edge_index, edge_weight)
        return GCN(24, 8, 2, 3), adapter
"""


def test_an_adapter_calls_the_module_its_own_way(tmp_path: Path) -> None:
    p = project(tmp_path, ADAPTER)
    target = load_target(p.folder)
    g = p.graph
    assert torch.equal(target.clean_logits(), 2 * p.model.eval()(g.x, g.edge_index))
    assert {Capability.GRAD_EDGE, Capability.EMBEDDINGS} <= target.capabilities


PROBABILITIES = """
    import torch
    from torch_geometric.nn import GCN

    class Net(GCN):
        def forward(self, x, edge_index, edge_weight=None):
            return super().forward(x, edge_index, edge_weight).softmax(dim=1)

    def build():
        return Net(24, 8, 2, 3)
"""


def test_probabilities_become_their_logarithm(tmp_path: Path) -> None:
    p = project(tmp_path, PROBABILITIES)
    target = load_target(p.write(train={"epochs": 1}))
    g = p.graph
    expected = p.model.eval()(g.x, g.edge_index).log_softmax(dim=1)
    torch.testing.assert_close(target.clean_logits(), expected)
    assert Capability.LOGITS not in target.capabilities
    torch.testing.assert_close(target.retrained(seed=0).clean_logits().exp().sum(dim=1), torch.ones(g.num_nodes))


def test_printing_goes_to_stderr_and_global_generators_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = """
    import random
    import torch
    from torch_geometric.nn import GCN

    print("on import")
    random.seed(3)

    class Net(GCN):
        def forward(self, x, edge_index, edge_weight=None):
            print("in forward")
            return super().forward(x, edge_index, edge_weight)

    def build():
        print("in build")
        torch.manual_seed(5)
        return Net(24, 8, 2, 3)
    """
    before, python = torch.get_rng_state(), random.getstate()
    load_target(project(tmp_path, source).folder).clean_logits()
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == python
    seen = capsys.readouterr()
    assert seen.out == ""
    assert {"on import", "in build", "in forward"} <= set(seen.err.splitlines())


BAD = {
    "no such file": (MODEL, "other.py:build", "other.py does not exist"),
    "no such module": (MODEL, "nowhere.model:build", "ModuleNotFoundError"),
    "no such function": (MODEL, "model.py:bild", 'Did you mean "build"?'),
    "not a spec": (MODEL, "model.py", 'expected "package.module:function"'),
    "import raises": ("raise KeyError('boom')", "model.py:build", "KeyError: 'boom' (model.py, line 1)"),
    "import exits": ("import sys; sys.exit(3)", "model.py:build", "SystemExit: 3"),
    "syntax": ("def build(:", "model.py:build", "SyntaxError"),
    "build raises": ("def build():\n    return 1 / 0", "model.py:build", "ZeroDivisionError: division by zero"),
    "build exits": ("def build():\n    raise SystemExit(0)", "model.py:build", "SystemExit"),
    "build wants arguments": ("def build(width):\n    return width", "model.py:build", "TypeError"),
    "a non-module": ("def build():\n    return 42", "model.py:build", "returned a int; expected an nn.Module"),
    "a class": ("import torch\nbuild = lambda: torch.nn.Linear", "model.py:build", "returned a type"),
    "a strange pair": ("import torch\nbuild = lambda: (torch.nn.Linear(2, 2), 3)", "model.py:build", "(Linear, int)"),
    "another model": ("import torch\nbuild = lambda: torch.nn.Linear(2, 2)", "model.py:build", "does not fit factory"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_factory_that_fails_says_where_and_how_to_go_on(name: str, tmp_path: Path) -> None:
    source, factory, words = BAD[name]
    p = project(tmp_path, source, factory=factory)
    with pytest.raises(LoadError) as caught:
        load_target(p.folder)
    assert words in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_forward_that_fails_on_the_graph_is_a_call_error(tmp_path: Path) -> None:
    source = (
        MODEL
        + """
    class Net(GCN):
        def forward(self, x, edge_index):
            raise OSError("no such column")

    def build():
        return Net(24, 8, 2, 3)
    """
    )
    with pytest.raises(CallError, match="OSError: no such column"):
        load_target(project(tmp_path, source).folder)


def test_pickled_weights_are_refused_for_a_factory_too(tmp_path: Path) -> None:
    p = project(tmp_path)
    torch.save(p.model, tmp_path / "whole.pt")
    with pytest.raises(RefusedError):
        load_target(p.write(weights="whole.pt"))


COLLIDING = {
    "attacks/__init__.py": "OWNER = 'user'\n",
    "attacks/layers.py": "from torch_geometric.nn import GCNConv\n",
    "reports.py": "SCALE = 2.0\n",
    "defenses/notes.py": "WORD = 'namespace'\n",
    "model.py": """
        import torch
        from attacks.layers import GCNConv
        import defenses.notes

        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.conv1, self.conv2 = GCNConv(24, 8), GCNConv(8, 3)

            def forward(self, x, edge_index, edge_weight=None):
                import attacks
                from reports import SCALE  # lazily, long after loading

                assert attacks.OWNER == "user" and not hasattr(attacks, "table")
                h = self.conv1(x, edge_index, edge_weight).relu()
                return SCALE * self.conv2(h, edge_index, edge_weight)

        def build():
            assert defenses.notes.WORD == "namespace"
            return Net()
    """,
}


@pytest.fixture
def colliding(tmp_path: Path) -> Project:
    p = project(tmp_path, **{"class": None, "stack": "GCNConv"})
    for name, source in COLLIDING.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(source))
    p.write(train={"epochs": 2})
    return p


@pytest.mark.parametrize("factory", ["model.py:build", "model_b:build"])
def test_neither_side_sees_the_other_s_packages(colliding: Project, factory: str, monkeypatch) -> None:
    (colliding.folder / "model_b.py").write_text((colliding.folder / "model.py").read_text())
    monkeypatch.delitem(sys.modules, "model_b", raising=False)
    ours = {
        name: module for name, module in sys.modules.items() if name.split(".")[0] in ("attacks", "defenses", "reports")
    }
    path = list(sys.path)
    target = load_target(colliding.write(factory=factory))
    g = colliding.graph
    expected = 2 * colliding.model.eval()(g.x, g.edge_index)
    assert torch.equal(target.clean_logits(), expected)
    handle = copy.deepcopy(target.handle())  # a copy runs in the same user_imports
    assert torch.equal(handle.logits(g.x, g.edge_index), expected)
    assert target.retrained(seed=0).accuracy() > 0
    assert target.provenance["own_packages"] == ["attacks", "defenses", "reports"]
    assert {name: sys.modules[name] for name in ours} == ours
    assert attacks.table.TABLE.entries
    assert not hasattr(sys.modules["attacks"], "OWNER")
    assert "attacks.layers" not in sys.modules
    assert reports.table.TABLE.entries
    assert sys.path == path


def test_our_side_comes_back_when_the_forward_raises(colliding: Project) -> None:
    target = load_target(colliding.folder)
    with pytest.raises(RuntimeError):
        target.logits(torch.ones(3, 5), torch.zeros(2, 0, dtype=torch.long))
    assert not hasattr(sys.modules["attacks"], "OWNER")


def test_validity_rows_of_a_colliding_project_pass(colliding: Project) -> None:
    import numpy as np

    rows = {row.id: row.status for row in validity_rows(load_target(colliding.folder), np.random.default_rng(0))}
    assert rows["equivariant"] == rows["edge-dependence"] == "pass"


def test_without_a_collision_nothing_is_swapped(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "audit.html").write_text("a folder of results, no package")
    user_imports = UserImports.of(tmp_path)
    assert user_imports.collisions == ()
    ours = sys.modules["attacks"]
    with user_imports.entered():
        assert sys.modules["attacks"] is ours
        assert sys.path[0] == str(tmp_path)


def test_our_own_checkout_is_no_collision() -> None:
    assert UserImports.of(Path(attacks.table.__file__).parents[1]).collisions == ()


def test_a_user_package_called_auditor_is_refused_with_the_remedy(tmp_path: Path) -> None:
    p = project(tmp_path, file="auditor/model.py", factory="auditor.model:build")
    (tmp_path / "auditor" / "__init__.py").write_text("")
    with pytest.raises(LoadError, match=r'factory = "auditor/model\.py:build"'):
        load_target(p.folder)
    assert load_target(p.write(factory="auditor/model.py:build")).kind == "factory"
