"""audit: every form of model, data and split; the caller's things untouched; the bytes of the command line."""

from __future__ import annotations

import copy
import logging
import random
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data, HeteroData, TemporalData
from torch_geometric.nn import SAGEConv

import auditor
from auditor.document import canonical, from_bytes
from auditor.errors import ConfigError, DataError, GraphError, LoadError, SplitError, TaskError, UsageError
from auditor.targets.live import content_digest
from auditor.targets.target import Capability, Target
from tests.api.given import data_of, masks
from tests.cli.program import auditor as program
from tests.cli.program import inside
from tests.targets.projects import Project
from tests.toys import GraphGIN, builder, random_split, small_graphs, toy_target


@pytest.fixture(scope="module")
def toy() -> Target:
    return toy_target()


@pytest.fixture
def model(toy: Target) -> nn.Module:
    return copy.deepcopy(toy.model).requires_grad_(True).train()


@pytest.fixture
def data(toy: Target) -> Data:
    return data_of(toy.graph, toy.split)


# one path


class Twice(nn.Module):
    """A model of the user's own, for a factory."""

    def __init__(self, f: int, c: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(f, 8), nn.Linear(8, c)

    def forward(self, x, edge_index):
        return self.b(torch.relu(self.a(x)))


def _graphs(folder: Path) -> Path:
    return Project(folder, small_graphs(60), readout="mean").write()


def _factory(folder: Path) -> Path:
    project = Project(folder)
    data = project.tables["data"]
    project.tables = {
        "target": {"name": "own", "factory": "own.py:build", "weights": "own.pt"},
        "data": data,
        "run": {"seeds": "3"},
    }
    project.write()
    (folder / "own.py").write_text(
        "import torch\nfrom torch_geometric.nn import SAGEConv\n\n\nclass Own(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        f"        self.conv = SAGEConv({project.graph.num_features}, 3)\n\n"
        "    def forward(self, x, edge_index):\n        return self.conv(x, edge_index)\n\n\n"
        "def build():\n    return Own()\n"
    )
    torch.manual_seed(1)
    conv = SAGEConv(project.graph.num_features, 3)
    torch.save({f"conv.{name}": value for name, value in conv.state_dict().items()}, folder / "own.pt")
    return folder


@pytest.mark.parametrize(
    ("command", "make", "options"),
    [
        (program, lambda folder: Project(folder).write(), {"only": "strata,posterior-similarity", "policy": "strict"}),
        (inside, _graphs, {"only": ["strata", "corruption"], "seeds": (1, 2)}),
        (inside, _factory, {"only": ["strata"]}),
    ],
    ids=["weights", "graphs", "factory"],
)
def test_the_command_and_the_function_give_the_same_canonical_bytes(command, make, options, tmp_path: Path) -> None:
    """The first as a process of its own: what processes add is the same for all."""
    place = make(tmp_path / "target")
    words = [
        word
        for name, value in options.items()
        for word in (f"--{name}", value if isinstance(value, str) else ",".join(map(str, value)))
    ]
    out = ("--jobs", "1", "-o", tmp_path / "cli", "--plain", "--format", "csv")
    done = command("run", place, *words, "--profile", "quick", *out, cwd=tmp_path)
    assert done.returncode in (0, 1, 3), done.stderr
    report = auditor.audit(place, profile="quick", out=tmp_path / "api", **options)
    by_command = from_bytes((tmp_path / "cli" / "audit.json").read_bytes())
    assert by_command.coverage.ok
    assert canonical(by_command) == canonical(report.document)
    assert canonical(from_bytes((tmp_path / "api" / "audit.json").read_bytes())) == canonical(report.document)
    assert report.verdict.exit_code == done.returncode
    said = done.stdout.replace(str(tmp_path / "cli" / "audit.json"), "AUDIT.JSON")
    assert report.summary().splitlines() == [line.rstrip() for line in said.splitlines()]


# the caller's things


def test_nothing_of_the_caller_is_touched(model: nn.Module, data: Data, caplog: pytest.LogCaptureFixture) -> None:
    model = model.double()
    weights, fields = copy.deepcopy(model.state_dict()), copy.deepcopy(data.to_dict())
    torch.set_default_dtype(torch.float64)
    threads = torch.get_num_threads()
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    try:
        with torch.no_grad(), caplog.at_level(logging.INFO, "auditor"):
            report = auditor.audit(model, data, profile="quick", only=["posterior-similarity", "structure-evasion"])
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert report.document.coverage.ok == 2, report.cells  # gradients although the caller had switched them off
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert random.getstate() == states[2]
    assert torch.get_num_threads() == threads
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert value.dtype == weights[name].dtype
        assert torch.equal(value, weights[name])
    assert all(torch.equal(value, fields[name]) for name, value in data.to_dict().items())
    assert "cast_to_float32" in report.document.target.provenance
    assert "audited in float32" in caplog.text
    assert "[2/2] structure-evasion" in caplog.text


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
def test_wrappers_are_unwrapped_and_said(wrap, model: nn.Module, data: Data, caplog: pytest.LogCaptureFixture) -> None:
    bare, wrapped = auditor.load_target(model, data), auditor.load_target(wrap(model), data)
    assert wrapped.digest == bare.digest
    assert wrapped.provenance["unwrapped"]
    assert "unwrapped from" in caplog.text


# forms of data and split


def test_a_live_target_is_what_the_file_would_be(toy: Target, model: nn.Module, data: Data) -> None:
    target = auditor.load_target(model, data, claimed_accuracy=toy.accuracy(), name="mine")
    assert target.graph.digest() == toy.graph.digest()
    assert torch.equal(target.clean_logits(), toy.clean_logits())
    assert target.split.sizes == toy.split.sizes
    assert target.split.spec == "in the file"
    assert (target.name, target.kind) == ("mine", "live")
    assert Capability.RETRAIN not in target.capabilities
    rows = {row.id: row.status for row in auditor.check(target, profile="quick").validity}
    assert rows["deterministic"] == "pass"
    again = auditor.load_target(model, data, build=builder("gcn", 24, 3), recipe={"epochs": 2})
    assert Capability.RETRAIN in again.capabilities


def test_every_form_of_many_graphs_is_the_same_target() -> None:
    many = small_graphs(20)
    split = masks(random_split(20))
    sizes = torch.bincount(many.batch)
    graphs, start = [], 0
    for b, n in enumerate(sizes.tolist()):
        inside = many.batch[many.edge_index[0]] == b
        part = many.x[start : start + n]
        graphs.append(Data(x=part, edge_index=many.edge_index[:, inside] - start, y=many.y[b : b + 1]))
        start += n
    torch.manual_seed(0)
    model = GraphGIN(2, 4, 2)
    targets = [auditor.load_target(model, form, split=split) for form in (graphs, Batch.from_data_list(graphs))]
    assert {target.digest for target in targets} == {targets[0].digest}
    assert targets[0].graph.digest() == many.digest()
    assert targets[0].task.level == "graph"


def test_ids_and_masks_are_one_split_and_go_before_the_data_s_own(toy: Target, model: nn.Module) -> None:
    other = data_of(toy.graph, toy.split)
    del other.test_mask  # half a split, which is not asked for
    ids = {part: mask.nonzero().flatten() for part, mask in masks(toy.split).items()}
    columns = {part: mask[:, None] for part, mask in masks(toy.split).items()}
    forms = (masks(toy.split), ids, {part: value.numpy() for part, value in ids.items()}, columns)
    for form in (*forms, {"valid" if part == "val" else part: mask for part, mask in forms[0].items()}):
        split = auditor.load_target(model, other, split=form).split
        assert torch.equal(split.train, toy.split.train)
        assert torch.equal(split.test, toy.split.test)
        assert split.spec == "yours"
    empty = auditor.load_target(model, other, split={"train": ids["train"], "test": ids["test"]}).split
    assert empty.sizes[1] == 0


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"train": [0], "tset": [1]}, 'Did you mean "test"'),
        ({"train": [0]}, "lacks test"),
        ({"train": [0], "test": [1], "val": [2], "valid": [3]}, "each part once"),
        ({"train": [0, 1], "test": [1, 2]}, "in both train and test"),
        ({"train": [0], "test": [999]}, "ids of items from 0 to 119"),
        ({"train": [0], "test": [-1]}, "ids of items"),
        ({"train": [0], "test": [0.5]}, "ids of items"),
        ({"train": [0], "test": [True, False]}, "booleans"),
    ],
)
def test_a_split_that_cannot_be_is_refused(model: nn.Module, data: Data, split, words: str) -> None:
    with pytest.raises(SplitError, match=words):
        auditor.load_target(model, data, split=split)


ONE_LABEL = Data(x=torch.eye(3), edge_index=torch.tensor([[0, 1], [1, 2]]), y=torch.tensor([1]))


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (HeteroData(), TaskError, "to_homogeneous"),
        (TemporalData(), TaskError, "stream of events"),
        ([HeteroData()], TaskError, "heterogeneous"),
        ({"x": 1}, DataError, "builtins.dict"),
        ([torch.zeros(2)], DataError, "torch.Tensor came in a list"),
        ([], GraphError, "data is a list of 0 graphs"),
        ([ONE_LABEL], GraphError, r"one graph with one label for its 3 nodes\. .* give a list of all"),
        (ONE_LABEL, GraphError, "one graph with one label for its 3 nodes"),
        (None, UsageError, "came without data"),
        ("no-such-set", DataError, "no-such-set"),
    ],
)
def test_data_that_are_no_graph_are_named(model: nn.Module, given, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        auditor.audit(model, given)


def test_arguments_that_do_not_belong_together_are_refused(toy: Target, model: nn.Module, data: Data, tmp_path) -> None:
    place = Project(tmp_path / "t").write()
    for call, words in (
        (lambda: auditor.audit(toy, data), "data came with a Target"),
        (lambda: auditor.audit(toy, name="x"), "name came with a Target"),
        (lambda: auditor.audit(place, data), "Data came with a path"),
        (lambda: auditor.audit(place, claimed_accuracy=0.5), "claimed_accuracy came with a path"),
        (lambda: auditor.audit(place, split=masks(toy.split)), "masks came with a path"),
        (lambda: auditor.audit(model, data, recipe={}), "recipe came without build"),
        (lambda: auditor.audit(model, data, trust_pickle=True), "the model is here already"),
        (lambda: auditor.audit(3, data), "int is no model"),
        (lambda: auditor.audit(tmp_path / "none"), "does not exist"),
    ):
        with pytest.raises(UsageError, match=words):
            call()
    with pytest.raises(ConfigError, match=r"\[target.train\] has an unknown key \"epoch\""):
        auditor.load_target(model, data, build=builder("gcn", 24, 3), recipe={"epoch": 1})
    with pytest.raises(ConfigError, match='Did you mean "quick"'):
        auditor.audit(toy, profile="quik")
    others = "posterior-similarity,influence,membership-threshold,graph-membership"
    with pytest.raises(ConfigError, match="no probe of this choice"):  # the rest is about what another defence ships
        auditor.audit(toy, skip=others, family="privacy", profile="quick")


def test_a_column_that_the_model_does_not_read_can_be_named(model: nn.Module, data: Data) -> None:
    data = data.clone()
    data.site = (data.test_mask & (data.test_mask.cumsum(0) <= 30)).long()
    probes = ["strata:columns=site", "heldout-domain:column=site,held=1"]
    report = auditor.audit(model, data, profile="quick", only=probes, seeds=[0])
    assert [(cell.status, cell.reason) for cell in report.document.cells] == [("ok", ""), ("ok", "")]
    about = {(result.probe.partition(":")[0], result.subset) for result in report.document.results}
    assert {("strata", "site"), ("heldout-domain", "domain=site 1")} <= about
    other = data.clone()
    other.site = 1 - data.site
    again = auditor.audit(model, other, profile="quick", only=probes[:1], seeds=[0])
    assert again.document.cells[0].key != report.document.cells[0].key


def test_what_a_layer_keeps_of_its_last_forward_is_no_obstacle(data: Data) -> None:
    keeps = Twice(24, 3)
    keeps.last = keeps.a(data.x)  # type: ignore[assignment]  # has a gradient graph, which cannot be copied
    assert auditor.load_target(keeps, data).num_classes == 3


def test_models_that_cannot_be_copied_or_never_ran_are_refused(data: Data) -> None:
    keeps = Twice(24, 3)
    keeps.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(LoadError, match="cannot be copied"):
        auditor.load_target(keeps, data)
    with pytest.raises(LoadError, match="lazy layers"):
        auditor.load_target(nn.Sequential(nn.LazyLinear(3)), data)


def test_the_environment_counts_as_on_the_command_line(toy: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITOR_PROFILE", "quick")
    assert {cell.profile for cell in auditor.check(toy).cells} == {"quick"}
    assert {cell.profile for cell in auditor.check(toy, profile="full").cells} == {"full"}


# digest


class Scaled(nn.Module):
    """Weights are not all that it computes with."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.scale, self.table = nn.Linear(4, 2), scale, torch.ones(3)
        self._cached_x = None

    def forward(self, x, edge_index):
        return self.linear(x) * self.scale


def test_the_digest_is_over_what_a_model_computes_with() -> None:
    model, same = Scaled(), Scaled().train(False)
    same._cached_x = torch.ones(1)
    assert content_digest(model) == content_digest(same) != content_digest(model, "graph")
    changed = [Scaled(2.0), Scaled(), Scaled()]
    changed[1].table = torch.zeros(3)
    with torch.no_grad():
        changed[2].linear.bias[0] += 1e-6

    class Other(Scaled):
        def forward(self, x, edge_index):
            return self.linear(x) + self.scale

    digests = {content_digest(each) for each in (model, *changed, Other())}
    assert len(digests) == 5


def test_an_interrupt_while_the_document_is_made_says_that_there_is_none(
    toy: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("auditor.runner.running.assemble_audit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        auditor.audit(toy, only="strata", profile="quick", out=tmp_path)
    assert f"stopped before audit.partial.json was written; finished cells are kept in {tmp_path}" in caplog.messages
    assert (tmp_path / "cells.jsonl").read_bytes().count(b"\n") == 1
    assert not (tmp_path / "audit.partial.json").exists()
