"""The graphs of the DeepRobust pack: largest component, Pro-GNN splits, graphs poisoned by published attacks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from auditor.data.catalogue import find
from auditor.data.npz import SPARSE, dense_features, matrix_of, read_arrays, sparse_keys
from auditor.data.planetoid import read_planetoid
from auditor.data.raw import Raw, to_tensor
from auditor.data.roots import digest_files, index_entries, raw_folder
from auditor.errors import DataError, nearest
from auditor.reading.files import MAX_TEXT, bytes_of

ATTACKS = ("metattack", "nettack")
PREFIX = "deeprobust/"


def poisoned_by(name: str) -> str:
    """The attack and rate of a poisoned graph (`metattack=0.25`) by the name of its data set; empty for any other."""
    variant = name.partition(":")[2] if name.startswith(PREFIX) else ""
    return variant if variant.partition("=")[0] in ATTACKS else ""


def read_deeprobust(name: str, variant: str, root: Path | None) -> tuple[Raw, str]:
    """Tensors and digest of `name`; `variant` is empty, `metattack=0.25` or `nettack=5.0`.

    The adjacency is symmetrised and binarised, cut to its largest component, and loses its diagonal: perturbed matrices
    and split ids index that component. PubMed is the whole Planetoid graph.

    Raises:
        DataError: no root, no such variant, files missing, or sizes that do not fit.

    Source: Jin et al., "Graph Structure Learning for Robust Graph Neural Networks", KDD 2020 (splits, poisoned graphs).
    """
    found = [] if root is None else [e for e in index_entries(root, "deeprobust") if e["name"] == name]
    if root is None or not found:
        raise DataError(
            f"deeprobust/{name} is not in {'a data root, none was given' if root is None else root / 'INDEX.toml'}; "
            "expected a [[deeprobust]] entry there. Name a data root that has it with --data-root."
        )
    entry = found[0]
    paths = [root / entry["splits"]]
    if "file" in entry:
        paths.append(root / entry["file"])
        _must_exist(paths, name, root)
        edges, x, y = _largest_component(paths[-1])
    else:
        folder = raw_folder(find(name), root, None, download=False, notify=lambda _: None)
        _must_exist(paths, name, root)
        paths += [folder / file for file in find(name).files]
        clean = read_planetoid(folder, name)
        edges, x, y = clean.edge_index, clean.x, clean.y
    notes = []
    if variant:
        perturbed = root / _variant_file(name, variant, entry)
        _must_exist([perturbed], name, root)
        paths.append(perturbed)
        before, edges = edges.shape[1], _perturbed_edges(perturbed, y.shape[0])
        notes.append(f"poisoned by {variant}: {edges.shape[1] // 2} edges, {before // 2} in the clean graph")
    raw = Raw(edges, y, x, masks=_masks(paths[0], y.shape[0]), masks_from="prognn", notes=notes)
    return raw, digest_files(paths)


def _largest_component(path: Path) -> tuple[Tensor, Tensor | None, Tensor]:
    """Edges [2, E], features [N, F] or None, labels [N] of the largest connected component."""
    arrays = read_arrays(path, sparse_keys())
    adjacency = matrix_of(arrays, "adj_", path.name)
    adjacency = ((adjacency + adjacency.T) > 0).astype(np.float32).tocsr()
    component = connected_components(adjacency, directed=False)[1]
    keep = np.flatnonzero(component == np.bincount(component).argmax())
    adjacency = adjacency[keep][:, keep]
    x = dense_features(matrix_of(arrays, "attr_", path.name)[keep], path.name) if "attr_data" in arrays else None
    return _edges(adjacency), x, to_tensor(arrays["labels"][keep], torch.int64)


def _perturbed_edges(path: Path, nodes: int) -> Tensor:
    adjacency = matrix_of(read_arrays(path, SPARSE), "", path.name)
    if adjacency.shape != (nodes, nodes):
        raise DataError(
            f"{path.name} is {adjacency.shape[0]} × {adjacency.shape[1]}; expected {nodes} × {nodes}, the largest "
            "component. Fetch the pack again."
        )
    return _edges(adjacency)


def _edges(adjacency: scipy.sparse.csr_matrix) -> Tensor:
    coo = adjacency.tocoo()
    keep = (coo.row != coo.col) & (coo.data != 0)
    return to_tensor(np.stack([coo.row[keep], coo.col[keep]]), torch.int64)


def _masks(path: Path, nodes: int) -> dict[str, Tensor]:
    """Boolean masks from `idx_train`, `idx_val`, `idx_test`."""
    ids = json.loads(bytes_of(path, error=DataError, cap=MAX_TEXT, expected="the splits of the pack. Fetch it again."))
    masks = {}
    for part in ("train", "val", "test"):
        index = torch.tensor(ids[f"idx_{part}"], dtype=torch.int64)
        if index.numel() and (int(index.min()) < 0 or int(index.max()) >= nodes):
            raise DataError(
                f"{path.name}: idx_{part} reaches {int(index.max())}; expected ids below {nodes}, the largest "
                "component. Fetch the pack again."
            )
        masks[part] = torch.zeros(nodes, dtype=torch.bool).index_fill_(0, index, True)
    return masks


def _variant_file(name: str, variant: str, entry: dict[str, str]) -> str:
    attack, _, rate = variant.partition("=")
    pattern = entry.get(attack, "") if attack in ATTACKS else ""
    head, _, rest = pattern.partition("{")
    rates, _, tail = rest.partition("}")
    if rate not in rates.split(",") or not rate:
        offered = [
            f"{a}={r}" for a in ATTACKS for r in entry.get(a, "").partition("{")[2].partition("}")[0].split(",") if r
        ]
        raise DataError(f'deeprobust/{name} has no variant "{variant}". {nearest(variant, offered)}')
    return f"{head}{rate}{tail}"


def _must_exist(paths: list[Path], name: str, root: Path) -> None:
    outside = [str(path) for path in paths if root not in path.parents or ".." in path.parts]
    if outside:
        raise DataError(f"deeprobust/{name}: INDEX.toml points to {outside[0]}, outside the root. Correct the entry.")
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"deeprobust/{name}: {', '.join(missing)} missing; expected every file that INDEX.toml names. "
            "Complete the data root."
        )
