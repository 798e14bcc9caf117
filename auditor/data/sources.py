"""Data sets by name or path: raw files in, one checked Graph with its public masks out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from auditor.data import catalogue, demo, files, npz, planetoid, roots, synthetic, text, tudataset
from auditor.data.catalogue import DataEntry
from auditor.data.deeprobust import read_deeprobust
from auditor.data.graph import UNKNOWN, Graph, Split
from auditor.data.raw import Raw
from auditor.data.roots import Notify, resolve_root
from auditor.errors import ConfigError, DataError, GraphError, nearest
from auditor.reading.files import library_errors, reading

__all__ = ["LoadedData", "apply_transform", "load_data", "resolve_root"]

PARTS = ("train", "val", "test")
TRANSFORMS = ("none", "row-normalize")
FEATURES = ("identity", "degree", "ones")
MAX_IDENTITY = 10_000  # nodes without features get an N x N identity, up to here


@dataclass(frozen=True, slots=True, eq=False)
class LoadedData:
    """A graph with what its publishers, or its owner, said about it.

    Attributes:
        graph: checked, features transformed.
        masks: `train`, `val`, `test` -> bool [N] or [B]; [N, K] for K splits; empty when there are none.
        default_split: what `make_split` gets when the user names nothing.
        name: as asked for, lower case; the file's stem for a file.
        digest: sha256 over the raw files (the generated graph for built-in ones).
        notes: what a reader of the report should know, in words.
        is_bag_of_words: features count words, or are many zeros and ones: `train` row-normalises them by default.
        has_identity_features: features only name the node.
        masks_from: `public`, `prognn`, `file` for those of a user's file, `given` for those that came beside the data.
        transform: what `graph.x` went through.
        features: what was asked to stand in for features that are not there; None for nothing.
        molecules: whether its graphs are molecules; None where nobody says.
        columns: named columns, int64 [N] or [B], such as the `group` of generated sets.
    """

    graph: Graph
    masks: Mapping[str, Tensor]
    default_split: str
    name: str
    digest: str
    notes: tuple[str, ...] = ()
    is_bag_of_words: bool = False
    has_identity_features: bool = False
    masks_from: str = "public"
    transform: str = "none"
    features: str | None = None
    molecules: bool | None = None
    columns: Mapping[str, Tensor] = field(default_factory=dict)


def load_data(
    name_or_path: str,
    *,
    root: Path | None = None,
    cache: Path | None = None,
    transform: str = "none",
    download: bool = False,
    features: str = "",
    node_fields: tuple[str, ...] = (),
    edge_fields: tuple[str, ...] = (),
    notify: Notify = lambda _: None,
) -> LoadedData:
    """The data set of that name, or the graph in that file.

    Args:
        name_or_path: a name of `auditor list data` in any case, or a path to .npz, .pt or .safetensors.
        root: data root, see `resolve_root`; never written. None lets what is missing be downloaded into the cache.
        cache: where downloads go; None for `AUDITOR_CACHE`, else the user's cache.
        transform: `none` or `row-normalize`.
        features: what stands in for features where there are none: `identity`, `degree` or `ones`; empty for what the
            publishers' readers do, and for none in a file.
        node_fields: fields of a file that belong to its nodes, where their length does not say so.
        edge_fields: the same for edges.
        download: allow the cache and the network although a root was given.
        notify: told in one sentence before anything is downloaded.

    Raises:
        DataError: unknown name, missing or unreadable files.
        GraphError: the graph breaks an invariant of Graph.
        SplitError: its masks overlap, are empty, or do not fit it.
        RefusedError: reading a file would execute what is inside.
        ConfigError: unknown transform.
    """
    check_transform(transform)
    if catalogue.is_file(name_or_path):
        path = Path(os.path.expanduser(name_or_path))
        raw = files.read_file(path, node_fields=node_fields, edge_fields=edge_fields)
        with reading(path.name, error=GraphError, expected="a graph. Check what the file holds."):
            return complete(raw, path.stem, roots.digest_files([path]), None, transform, features)
    asked, _, variant = name_or_path.strip().lower().partition(":")
    entry = catalogue.find(asked)
    name = f"{asked}:{variant}" if variant else asked
    raw, digest = _read_named(entry, variant, root, cache, download, notify)
    return complete(raw, name, digest, entry, transform, features)


def apply_transform(graph: Graph, transform: str) -> Graph:
    """The graph with features transformed: `row-normalize` divides each row by its sum where that exceeds 1.

    Raises:
        ConfigError: unknown transform, or negative features.
    """
    check_transform(transform)
    if transform == "none":
        return graph
    if graph.x.numel() and float(graph.x.min()) < 0:
        raise ConfigError(
            f'transform = "row-normalize", but features of {graph.name} reach {float(graph.x.min()):.3g}; expected '
            'none below 0, since row sums could vanish. Set transform = "none", or scale the features before the audit.'
        )
    return replace(graph, x=normalise_rows(graph.x))


def normalise_rows(x: Tensor) -> Tensor:
    """Rows divided by max(1, their sum), as PyG's `NormalizeFeatures` does where the least feature is 0.

    Differentiable and row by row, so that probes which change features can re-apply it; x [N, F] >= 0 -> [N, F].
    """
    return x / x.sum(dim=-1, keepdim=True).clamp(min=1.0)


def check_transform(transform: str) -> None:
    """Raises ConfigError for a transform that does not exist."""
    if transform not in TRANSFORMS:
        raise ConfigError(
            f'transform = "{transform}"; expected one of {", ".join(TRANSFORMS)}. {nearest(transform, TRANSFORMS)}'
        )


def _read_named(
    entry: DataEntry, variant: str, root: Path | None, cache: Path | None, download: bool, notify: Notify
) -> tuple[Raw, str]:
    """The raw tensors and the digest of what they were read from."""
    if entry.reader == "synthetic":
        return synthetic.read_synthetic(entry.id.partition("/")[2], variant)
    if variant and entry.reader != "deeprobust":
        raise DataError(
            f'"{entry.id}:{variant}": {entry.id} has no variants; expected the plain name. Variants such as '
            ":metattack=0.25 belong to deeprobust/cora, deeprobust/citeseer, deeprobust/polblogs, deeprobust/pubmed, "
            "those such as :mu=0.9,test=ood to the synthetic sets."
        )
    if entry.reader == "rdkit":
        raise DataError(
            f"{entry.id} is stored as SMILES and cannot be read without rdkit, which auditor does not use; expected a "
            "graph. Convert it once with torch_geometric.datasets.MoleculeNet and save the graphs as one .npz or .pt "
            "with batch."
        )
    if entry.reader == "demo":
        return demo.read_demo(), roots.digest_files([demo.DEMO_FILE])
    if entry.reader == "karate":
        return _karate()
    folder = root
    try:
        if entry.reader == "deeprobust":
            return read_deeprobust(entry.id.partition("/")[2], variant, root)
        folder = roots.raw_folder(entry, root, cache, download=download, notify=notify)
        return READERS[entry.reader](folder, entry), roots.digest_files(roots.present_files(folder, entry))
    except library_errors() as error:
        raise DataError(
            f"{entry.id}: the raw files in {folder} cannot be read ({type(error).__name__}: {error}); expected the "
            "files as published. Fetch them again."
        ) from error


READERS: Mapping[str, Callable[[Path, DataEntry], Raw]] = {
    "planetoid": lambda folder, entry: planetoid.read_planetoid(folder, entry.prefix),
    "airports": lambda folder, entry: text.read_airports(folder, entry.prefix),
    "polblogs": lambda folder, _: text.read_polblogs(folder),
    "geom": lambda folder, entry: text.read_geom(folder, entry.prefix),
    "blogcatalog": lambda folder, _: text.read_blogcatalog(folder),
    "csr": lambda folder, entry: npz.read_csr_set(folder / entry.files[0]),
    "twitch": lambda folder, entry: npz.read_twitch(folder / entry.files[0]),
    "tu": lambda folder, entry: tudataset.read_tu(folder, entry.prefix),
    "tu-zip": lambda folder, entry: tudataset.read_tu_either(folder, entry.prefix),
    "collab": lambda folder, entry: tudataset.read_collab(folder / entry.files[0]),
}


def _karate() -> tuple[Raw, str]:
    from torch_geometric.datasets import KarateClub

    data = KarateClub()[0]
    graph = Graph(data.x, data.edge_index, data.y, name="karate")
    return Raw(data.edge_index, data.y), graph.digest()


def complete(
    raw: Raw, name: str, digest: str, entry: DataEntry | None = None, transform: str = "none", features: str = ""
) -> LoadedData:
    """The checked graph with its masks and notes; `entry` is its line in the catalogue, None for a user's own.

    Raises:
        DataError: as `load_data` says.
    """
    notes = list(raw.notes)
    n = raw.num_nodes or int((raw.y if raw.batch is None else raw.batch).shape[0])
    bare = raw.x is None or (raw.x.dim() == 2 and raw.x.shape[1] == 0)
    x = torch.zeros(n, 0) if raw.x is None or bare else raw.x
    whole_x = raw.whole_x and not bare
    graph = Graph(
        x, raw.edge_index, raw.y, raw.edge_weight, raw.batch, name, raw.fields, whole_x, raw.flat_x, raw.withheld
    )
    columns = raw.masks["train"].shape[1] if raw.masks and raw.masks["train"].dim() == 2 else 1
    for column in range(columns if raw.masks else 0):
        train, val, test = (m[:, column] if m.dim() == 2 else m for m in (raw.masks[part] for part in PARTS))
        Split(train, val, test, spec=raw.masks_from).check_fits(graph)
    default = raw.masks_from if raw.masks and columns == 1 else UNKNOWN
    _describe(graph, notes)
    words = entry.bag_of_words if entry is not None else _looks_like_words(x)
    square = x.dim() == 2 and x.shape[0] == x.shape[1] > 1
    identity = square and torch.equal(x, torch.eye(x.shape[0]))
    data = LoadedData(
        graph=apply_transform(graph, transform),
        masks=raw.masks,
        default_split=(entry.default_split if entry is not None else "") or default,
        name=name,
        digest=digest,
        notes=tuple(notes),
        is_bag_of_words=words and not identity and bool(x.numel()) and bool(x.min() >= 0),
        has_identity_features=identity,
        masks_from=raw.masks_from,
        transform=transform,
        molecules=None if entry is None else entry.molecules,
        columns=raw.columns,
    )
    made = features or ("" if entry is None or not bare else _published(raw))
    return with_features(data, made) if made else data


def _published(raw: Raw) -> str:
    """What readers of published sets put in the place of features: nodes are named, graphs get a column of ones."""
    return "identity" if raw.batch is None else "ones"


def with_features(data: LoadedData, made: str) -> LoadedData:
    """The same data with something in the place of the features that it lacks: `identity`, `degree` or `ones`.

    Raises:
        ConfigError: an unknown word, or features that are there.
        GraphError: an identity of more than 10,000 nodes.
    """
    graph = data.graph
    if graph.num_features:
        raise ConfigError(f'[data] features = "{made}", but {data.name} has features of its own. Drop the key.')
    if made not in FEATURES:
        raise ConfigError(f'[data] features = "{made}". {nearest(made, FEATURES)}')
    n = graph.num_nodes
    if made == "ones":
        x, note = torch.ones(n, 1), "no node features: a constant column of ones"
    elif made == "degree":
        x = torch.bincount(graph.edge_index[0], minlength=n).float()[:, None]
        note = "no node features: the number of edges that leave each node, as one column"
    elif n > MAX_IDENTITY:
        raise GraphError(
            f"{data.name} has {n} nodes and no features; expected features, since the identity that replaces them is "
            f"N × N and stops at {MAX_IDENTITY} nodes. Give x, for instance one-hot degrees."
        )
    else:
        x, note = torch.eye(n), "no node features: the identity, which only names each node"
    return replace(
        data,
        graph=replace(graph, x=x),
        notes=(note, *data.notes),
        has_identity_features=made == "identity",
        features=made,
    )


def _describe(graph: Graph, notes: list[str]) -> None:
    """Notes on structure: no edges, directions, duplicates."""
    if graph.num_edges == 0:
        notes.append("no edges: nothing structural can be measured")
        return
    duplicates = graph.num_edges - int(graph.arc_keys().shape[0])
    if duplicates:
        notes.append(f"{duplicates} duplicate edges are kept as given")
    if not graph.is_undirected:
        notes.append("directed edges are kept; structural privacy counts unordered pairs")


def _looks_like_words(x: Tensor) -> bool:
    """Many zero-or-one features, mostly zero: what row-normalising was made for."""
    return x.dim() == 2 and x.shape[1] >= 16 and bool(((x == 0) | (x == 1)).all()) and float(x.mean()) < 0.5
