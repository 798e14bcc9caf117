"""Named data sets: what was published is what is read, the root is never written, the network never touched."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torch_geometric.datasets
from torch_geometric.transforms import NormalizeFeatures

from auditor.data.graph import Graph
from auditor.data.roots import resolve_cache
from auditor.data.sources import apply_transform, load_data, resolve_root
from auditor.data.splits import make_split
from auditor.errors import ConfigError, DataError
from tests.data.conftest import tree_digest
from tests.toys import sbm_graph

FAST = ["cora", "airports_brazil", "tu_mutag", "webkb_texas", "webkb_cornell", "polblogs", "tu_imdb_binary"]
SLOW = [
    "citeseer", "pubmed", "airports_usa", "citeseer_full", "dblp", "amazon_computers", "coauthor_cs", "webkb_wisconsin",
    "actor", "blogcatalog", "twitch_de", "twitch_en", "twitch_es", "twitch_fr", "twitch_pt", "twitch_ru", "tu_enzymes",
    "tu_proteins", "tu_aids", "tu_dd", "tu_collab",
]  # fmt: skip
IDENTITY = {"airports_brazil", "airports_usa", "polblogs"}  # symmetrised as well
CONSTANT = {"tu_imdb_binary", "tu_collab"}


def _check_counts(name: str, root: Path) -> None:
    entry = next(e for e in tomllib.loads((root / "INDEX.toml").read_text())["dataset"] if e["name"] == name)
    data = load_data(name, root=root)
    graph = data.graph
    assert graph.num_nodes == entry["nodes"]
    assert int(graph.y.max()) + 1 == torch.unique(graph.y).shape[0] == entry["classes"]
    assert (1 if graph.batch is None else graph.num_items) == entry["graphs"]
    if name in IDENTITY:
        assert any(note.startswith(f"{entry['edges']} stored arcs were symmetrised") for note in data.notes)
        assert graph.is_undirected
        assert graph.num_edges == 2 * graph.pair_keys().shape[0]
        assert torch.equal(graph.x, torch.eye(graph.num_nodes))
    else:
        assert graph.num_edges == entry["edges"]
        assert graph.num_features == (1 if name in CONSTANT else entry["features"])
    make_split("", data, 0)  # the default split can be had


@pytest.mark.parametrize("name", FAST)
def test_counts_are_the_published_ones(name: str, data_root: Path) -> None:
    _check_counts(name, data_root)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_counts_are_the_published_ones_too(name: str, data_root: Path) -> None:
    _check_counts(name, data_root)


@pytest.mark.parametrize(("name", "nodes", "edges"), [("cora", 2485, 5069), ("polblogs", 1222, 16714)])
def test_the_deeprobust_pack_is_the_published_component(name: str, nodes: int, edges: int, data_root: Path) -> None:
    data = load_data(f"deeprobust/{name}", root=data_root)
    assert data.graph.num_nodes == nodes
    assert data.graph.pair_keys().shape[0] == edges
    assert data.graph.num_edges == 2 * edges  # no self-loops left
    assert make_split("", data, 0).spec == "prognn"
    with pytest.raises(Exception, match="without public masks"):
        make_split("public", data, 0)


def test_a_poisoned_variant_differs_by_its_rate(data_root: Path) -> None:
    clean = load_data("deeprobust/cora", root=data_root)
    poisoned = load_data("deeprobust/cora:metattack=0.25", root=data_root)
    before, after = set(clean.graph.pair_keys().tolist()), set(poisoned.graph.pair_keys().tolist())
    assert len(before ^ after) == int(0.25 * 5069)
    assert torch.equal(clean.graph.x, poisoned.graph.x)
    assert poisoned.digest != clean.digest
    with pytest.raises(DataError, match=r"Did you mean \"metattack="):
        load_data("deeprobust/cora:metattack=0.26", root=data_root)


def _copy(data_root: Path, target: Path) -> Path:
    """A root of three sets that a test may write to."""
    for folder in ("planetoid/Cora", "airports/brazil", "tudataset/MUTAG"):
        shutil.copytree(data_root / folder, target / folder, copy_function=shutil.copyfile)
    shutil.copyfile(data_root / "INDEX.toml", target / "INDEX.toml")
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


def test_the_root_stays_as_it_was_and_nothing_else_is_touched(
    data_root: Path, tmp_path: Path, no_network: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDITOR_CACHE", str(tmp_path / "cache"))
    root = _copy(data_root, tmp_path / "root")
    for path in root.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = tree_digest(root)
    for name in ("cora", "airports_brazil", "tu_mutag"):
        load_data(name, root=root)
    assert tree_digest(root) == before
    assert not (tmp_path / "cache").exists()
    assert no_network == []


def test_changed_raw_bytes_change_digest_and_graph(data_root: Path, tmp_path: Path) -> None:
    root = _copy(data_root, tmp_path / "root")
    first = load_data("airports_brazil", root=root)
    again = load_data("airports_brazil", root=root)
    path = root / "airports/brazil/raw/brazil-airports.edgelist"
    path.write_text("\n".join(path.read_text().split("\n")[1:]))
    changed = load_data("airports_brazil", root=root)
    assert first.digest == again.digest != changed.digest
    assert changed.graph.num_edges == first.graph.num_edges - 2


def test_a_missing_raw_file_lists_what_was_expected_and_where(
    data_root: Path, tmp_path: Path, no_network: list[str]
) -> None:
    root = _copy(data_root, tmp_path / "root")
    (root / "planetoid/Cora/raw/ind.cora.ty").unlink()
    with pytest.raises(DataError, match=r"raw files are missing \(ind\.cora\.ty\)") as caught:
        load_data("cora", root=root)
    assert str(root / "planetoid/Cora/raw") in str(caught.value)
    assert "--download" in str(caught.value)
    assert no_network == []


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("airports/brazil/raw/brazil-airports.edgelist", "1 2\n3 x\n"),
        ("airports/brazil/raw/brazil-airports.edgelist", "1 99999\n"),
        ("airports/brazil/raw/labels-brazil-airports.txt", "node label\n0\n"),
        ("tudataset/MUTAG/raw/MUTAG_A.txt", "1, 2\n3\n"),
        ("tudataset/MUTAG/raw/MUTAG_A.txt", "1, 99999\n"),
        ("tudataset/MUTAG/raw/MUTAG_graph_labels.txt", ""),
    ],
)
def test_damaged_raw_files_are_named(file: str, content: str, data_root: Path, tmp_path: Path) -> None:
    root = _copy(data_root, tmp_path / "root")
    (root / file).write_text(content)
    with pytest.raises(DataError):
        load_data("airports_brazil" if "airports" in file else "tu_mutag", root=root)


def test_without_an_index_the_layout_of_pyg_is_found(planetoid_root: Path, no_network: list[str]) -> None:
    assert load_data("Cora", root=planetoid_root).graph.num_nodes == 640
    (planetoid_root / "INDEX.toml").write_text("format = 1\n")
    assert load_data("Cora", root=planetoid_root).graph.num_nodes == 640
    assert no_network == []


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("format = 2\n", "format = 2; expected 1"),
        ("no toml", "is not valid TOML"),
        ('format = 1\n[[dataset]]\nname = "cora"\nfolder = "../elsewhere"\n', "outside the root"),
        ('format = 1\n[[dataset]]\nname = "cora"\nfolder = "/etc"\n', "outside the root"),
        ('format = 1\n[[dataset]]\nname = "cora"\n', "lacks name or folder"),
    ],
)
def test_a_bad_index_is_named(index: str, message: str, planetoid_root: Path) -> None:
    (planetoid_root / "INDEX.toml").write_text(index)
    with pytest.raises(DataError, match=message):
        load_data("cora", root=planetoid_root)


def _downloader(raw: Path) -> object:
    def download(self: torch_geometric.datasets.Planetoid) -> None:
        shutil.copytree(raw, self.raw_dir, dirs_exist_ok=True)

    return download


def test_without_a_root_raw_files_are_downloaded_announced_and_not_unpickled_by_pyg(
    planetoid_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def process(self: object) -> None:
        raise AssertionError("PyG read a downloaded pickle before it was scanned")

    monkeypatch.setattr(torch_geometric.datasets.Planetoid, "download", _downloader(planetoid_root / "Cora" / "raw"))
    monkeypatch.setattr(torch_geometric.datasets.Planetoid, "process", process)
    said: list[str] = []
    data = load_data("cora", cache=tmp_path / "cache", notify=said.append)
    assert data.graph.num_nodes == 640
    assert len(said) == 1
    assert said[0].startswith("downloading cora")
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    load_data("cora", cache=tmp_path / "cache", notify=said.append)
    assert len(said) == 1, "what lies in the cache is not downloaded again"


def test_with_a_root_a_download_must_be_allowed(
    planetoid_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_geometric.datasets.Planetoid, "download", _downloader(planetoid_root / "Cora" / "raw"))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="raw files are missing"):
        load_data("cora", root=empty, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    assert load_data("cora", root=empty, cache=tmp_path / "cache", download=True).graph.num_nodes == 640
    assert list(empty.iterdir()) == []


def test_no_network_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(self: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch_geometric.datasets.Planetoid, "download", offline)
    with pytest.raises(DataError, match=r"no route to host.*expected ind\.cora\.x.*--data-root"):
        load_data("cora", cache=tmp_path / "cache")


def test_a_set_that_nobody_serves_asks_for_a_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--data-root"):
        load_data("tu_collab", cache=tmp_path)
    with pytest.raises(DataError, match="--data-root"):
        load_data("deeprobust/cora", cache=tmp_path)


def test_a_root_inside_the_cache_is_refused(planetoid_root: Path) -> None:
    (planetoid_root / "Cora" / "raw" / "ind.cora.x").unlink()
    for cache in (planetoid_root, planetoid_root / "cache", planetoid_root.parent):
        with pytest.raises(DataError, match="inside each other"):
            load_data("cora", root=planetoid_root, cache=cache, download=True)


def test_a_cache_that_cannot_be_made_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AUDITOR_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match="AUDITOR_CACHE"):
        resolve_cache()


def test_the_option_beats_the_environment_and_the_environment_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {name: tmp_path / name for name in ("option", "environment", "config")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.setenv("AUDITOR_DATA", str(folders["environment"]))
    assert resolve_root(folders["option"], folders["config"]) == folders["option"]
    assert resolve_root(None, folders["config"]) == folders["environment"]
    monkeypatch.delenv("AUDITOR_DATA")
    assert resolve_root(None, folders["config"]) == folders["config"]
    assert resolve_root() is None


def test_a_root_that_is_no_folder_or_a_loop_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for bad in (tmp_path / "absent", loop):
        with pytest.raises(DataError, match="--data-root is"):
            resolve_root(bad)
    monkeypatch.setenv("AUDITOR_DATA", str(tmp_path / "absent"))
    with pytest.raises(DataError, match="AUDITOR_DATA is"):
        resolve_root()


@pytest.mark.parametrize(("least", "words"), [(0.0, True), (-1.0, False)])
def test_a_reduced_form_of_a_word_set_is_no_bag_of_words(least: float, words: bool, tmp_path: Path) -> None:
    """PyG serves Twitch with 128 real-valued features in place of the words."""
    raw = tmp_path / "PT" / "raw"
    raw.mkdir(parents=True)
    features = np.array([[least, 1.0], [0.5, 0.0], [0.0, 0.0]])
    np.savez(raw / "PT.npz", features=features, target=np.array([0, 1, 0]), edges=np.array([[0, 1], [1, 0]]))
    assert load_data("twitch_pt", root=tmp_path).is_bag_of_words == words


def test_karate_needs_nothing(no_network: list[str]) -> None:
    data = load_data("karate")
    assert (data.graph.num_nodes, data.graph.num_edges) == (34, 156)
    make_split("", data, 0)
    assert no_network == []


def test_row_normalize_is_that_of_pyg(data_root: Path) -> None:
    data = load_data("cora", root=data_root)
    ours = load_data("cora", root=data_root, transform="row-normalize")
    theirs = NormalizeFeatures()(torch_geometric.data.Data(x=data.graph.x.clone())).x
    assert torch.allclose(ours.graph.x, theirs, atol=0, rtol=1e-6)
    assert ours.transform == "row-normalize"
    assert data.digest == ours.digest


def test_rows_that_sum_to_less_than_one_stay() -> None:
    x = torch.tensor([[0.0, 0.0], [0.2, 0.2], [3.0, 1.0]])
    graph = Graph(x, torch.zeros(2, 0, dtype=torch.int64), torch.tensor([0, 1, 0]))
    expected = NormalizeFeatures()(torch_geometric.data.Data(x=x.clone())).x
    assert torch.equal(apply_transform(graph, "row-normalize").x, expected)
    assert expected.tolist()[2] == [0.75, 0.25]


def test_row_normalize_refuses_negative_features() -> None:
    graph = sbm_graph()
    graph.x[0, 0] = -1.0
    with pytest.raises(ConfigError, match="expected none below 0"):
        apply_transform(graph, "row-normalize")
