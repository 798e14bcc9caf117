"""Every kind of file that a user names: small valid ones, mutated, and the function that reads them."""

from __future__ import annotations

import datetime
import json
import os
import pickle
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import scipy.sparse
import torch
from safetensors.torch import save

from auditor.api.files import read_file
from auditor.api.options import read_tables, resolve
from auditor.data.sources import load_data
from auditor.data.splits import make_split
from auditor.document import from_bytes, to_bytes
from auditor.evaluate.dp_claim.score_file import read_scores
from auditor.guarantee import Guarantee, read_guarantee, to_json
from auditor.policy import Policy, gate, gates
from auditor.policy.baseline import accept, read_baseline
from auditor.policy.baseline import to_bytes as baseline_bytes
from auditor.targets.fitting import fit_weights
from auditor.targets.load import load_target
from auditor.targets.reference import compare_reference
from auditor.targets.target import ModelHandle
from auditor.targets.weights import read_bytes, read_weights, state_dict_keys
from defenses.repair.errors_file import read_errors
from tests.hostile.mutations import (
    Still,
    damaged,
    edited_arrays,
    edited_json,
    edited_safetensors,
    edited_tensors,
    edited_text,
    saved,
)
from tests.policy.samples import TODAY, audit_of, cell, measurement
from tests.targets.projects import Project
from tests.toys import sbm_graph

Case = Callable[[Random], Callable[[], object]]
"""Writes one mutated file and returns what reads it."""
GUARANTEE = Guarantee(
    level="edge", relation="flip-pair", epsilon=4.0, delta=0.0, accountant="pure", mechanism={"name": "EdgeRand"},
    units=5278, covers=("training",), not_protected=("labels",), noise_seed="secret",
)  # fmt: skip


class Payload:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.canary}",)


class Corpus:
    """The kinds by name; everything is written below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.canary = folder, folder / "canary"
        self.project = Project(folder / "target", sbm_graph(n=60))
        self.project.add_reference()
        self.root = folder / "root"
        self.root.mkdir()
        with np.load(folder / "target" / "graph.npz") as arrays:
            self.arrays = {key: arrays[key] for key in arrays.files}
        self.data = load_data(str(folder / "target" / "graph.npz"))
        self.kinds: dict[str, Case] = {
            "target.toml": self.target_toml,
            "audit.toml": self.audit_toml,
            "graph.npz": self.graph_npz,
            "graph.npz, sparse": self.sparse_npz,
            "graph.npy": self.graph_npy,
            "graph.safetensors": self.graph_safetensors,
            "graph.pt": self.graph_pt,
            "weights.safetensors": self.weights_safetensors,
            "weights.pt": self.weights_pt,
            "reference": self.reference,
            "split.npz": self.split_npz,
            "scores.npz": self.scores_npz,
            "errors.csv": self.errors_csv,
            "text folder": self.text_folder,
            "planetoid": self.planetoid,
            "deeprobust": self.deeprobust,
            "audit.json": self.audit_json,
            "baseline.json": self.baseline_json,
            "guarantee.json": self.guarantee_json,
        }

    def _put(self, name: str, raw: bytes) -> Path:
        path = self.folder / "inputs" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(raw)
        return path

    def target_toml(self, rng: Random) -> Callable[[], object]:
        """The tables of a target, loaded with their files beside them."""
        text = (self.project.folder / "target.toml").read_text()
        text += '[target.train]\nepochs = 5\nlr = 0.1\n[call]\nedge_weight = "none"\n[run]\nthreads = 1\n'
        raw = edited_text(text, rng) if rng.random() < 0.7 else damaged(text.encode(), rng)
        path = self.project.folder / "mutated.toml"
        path.write_bytes(raw)

        def read() -> None:
            load_target(path, data_root=self.root)

        return read

    def audit_toml(self, rng: Random) -> Callable[[], object]:
        """The tables of a run."""
        text = (
            '[run]\nthreads = 1\nseeds = [0, 1]\nprofile = "quick"\ntraining_seeds = 0\n[gate]\nfail_on = "high"\n'
            '[policy.ours]\nfail_on = "low"\n[[suppress]]\nid = "shift-gap"\ntarget = "*"\nreason = "r"\n'
            "expires = 2026-12-31\n[access]\ndensity = 0.1\n[defenses.dp-edges]\nepsilon = 1.0\n"
        )
        path = self._put("audit.toml", edited_text(text, rng) if rng.random() < 0.7 else damaged(text.encode(), rng))

        def read() -> None:
            tables = read_tables(path)
            resolve({}, tables)
            suppress = tables.get("suppress", ())
            Policy.from_tables(tables.get("gate", {}), tables.get("policy", {}), suppress, as_of=TODAY)

        return read

    def _graph(self, path: Path) -> Callable[[], object]:
        def read() -> None:
            data = load_data(str(path))
            make_split(data.default_split, data, 0)

        return read

    def graph_npz(self, rng: Random) -> Callable[[], object]:
        """Arrays by name."""
        raw = edited_arrays(self.arrays, rng)
        return self._graph(self._put("g.npz", damaged(raw, rng) if rng.random() < 0.3 else raw))

    def sparse_npz(self, rng: Random) -> Callable[[], object]:
        """The compressed-sparse-row layout."""
        return self._graph(self._put("s.npz", edited_arrays(self._sparse(), rng)))

    def _sparse(self) -> dict[str, Any]:
        graph = self.data.graph
        n, (u, v) = graph.num_nodes, graph.edge_index.numpy()
        parts = {"adj": scipy.sparse.csr_matrix((np.ones(u.size), (u, v)), shape=(n, n))}
        parts["attr"] = scipy.sparse.csr_matrix(np.abs(graph.x.numpy()))
        arrays: dict[str, Any] = {"labels": graph.y.numpy()}
        for part, m in parts.items():
            arrays |= {f"{part}_data": m.data, f"{part}_indices": m.indices, f"{part}_indptr": m.indptr}
            arrays[f"{part}_shape"] = np.array(m.shape)
        return arrays

    def graph_npy(self, rng: Random) -> Callable[[], object]:
        """A single array, as nobody should save a graph."""
        content = rng.choice((self.arrays["x"], np.array([Payload(self.canary)], dtype=object)))
        path = self.folder / "inputs" / "g.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, content, allow_pickle=True)
        path.write_bytes(damaged(path.read_bytes(), rng))
        return self._graph(path)

    def graph_safetensors(self, rng: Random) -> Callable[[], object]:
        """Tensors by name."""
        raw = save({key: torch.from_numpy(value) for key, value in self.arrays.items()})
        raw = edited_safetensors(raw, rng) if rng.random() < 0.8 else damaged(raw, rng)
        return self._graph(self._put("g.safetensors", raw))

    def graph_pt(self, rng: Random) -> Callable[[], object]:
        """What torch.save wrote, with a payload among it now and then."""
        content: dict[str, Any] = {key: torch.from_numpy(value) for key, value in self.arrays.items()}
        if rng.random() < 0.15:
            raw = damaged(saved(content | {"z": Payload(self.canary)}), rng)
        else:
            raw = edited_tensors(content, rng)
        return self._graph(self._put("g.pt", raw))

    def _weights(self, path: Path) -> Callable[[], object]:
        def read() -> None:
            weights = read_weights(read_bytes(path), path.name)
            state_dict_keys(path)
            fit_weights(self.project.model, weights.tensors, file=path.name)

        return read

    def weights_safetensors(self, rng: Random) -> Callable[[], object]:
        """A model's weights."""
        raw = (self.project.folder / "model.safetensors").read_bytes()
        raw = edited_safetensors(raw, rng) if rng.random() < 0.8 else damaged(raw, rng)
        return self._weights(self._put("w.safetensors", raw))

    def weights_pt(self, rng: Random) -> Callable[[], object]:
        """A state dict or a checkpoint, with a payload among it now and then."""
        state: dict[str, Any] = {key: value.clone() for key, value in self.project.model.state_dict().items()}
        if rng.random() < 0.15:
            raw = damaged(saved({"model": state, "hook": Payload(self.canary)}), rng)
        else:
            raw = edited_tensors(state, rng)
        return self._weights(self._put("w.pt", raw))

    def reference(self, rng: Random) -> Callable[[], object]:
        """Inputs and logits that prove a model."""
        raw = (self.project.folder / "model.ref.safetensors").read_bytes()
        path = self._put("r.safetensors", edited_safetensors(raw, rng) if rng.random() < 0.8 else damaged(raw, rng))
        return lambda: compare_reference(path, ModelHandle(self.project.model), self.data.graph)

    def split_npz(self, rng: Random) -> Callable[[], object]:
        """Masks or ids of items."""
        masks: dict[str, Any] = {key: self.arrays[key] for key in ("train_mask", "val_mask", "test_mask")}
        if rng.random() < 0.5:
            masks = {f"{key.partition('_')[0]}_idx": np.flatnonzero(value) for key, value in masks.items()}
        path = self._put("split.npz", edited_arrays(masks | {"spec": np.array("per-class:5")}, rng))
        return lambda: make_split(f"file:{path}", self.data, 0)

    def scores_npz(self, rng: Random) -> Callable[[], object]:
        """Inclusion bits and scores of a DP claim."""
        bits = np.arange(40) % 2
        path = self._put("scores.npz", edited_arrays({"bits": bits, "scores": bits + 0.5}, rng))
        return lambda: read_scores(path)

    def errors_csv(self, rng: Random) -> Callable[[], object]:
        """Nodes to repair."""
        text = "node,label\n1,0\n2,1\n3,0\n"
        path = self._put("errors.csv", edited_text(text, rng) if rng.random() < 0.6 else damaged(text.encode(), rng))
        return lambda: read_errors(path)

    def text_folder(self, rng: Random) -> Callable[[], object]:
        """Published text layouts in a data root."""
        name, files = rng.choice(tuple(self._texts().items()))
        folder = self.root / files.pop("")
        folder.mkdir(parents=True, exist_ok=True)
        chosen = rng.choice(sorted(files))
        for file, text in files.items():
            raw = text.encode() if file != chosen else edited_text(text, rng)
            (folder / file).write_bytes(damaged(raw, rng) if file == chosen and rng.random() < 0.3 else raw)
        return lambda: load_data(name, root=self.root)

    @staticmethod
    def _texts() -> dict[str, dict[str, str]]:
        ring = [(i, (i + 1) % 12) for i in range(12)]
        lines = "\n".join
        rows = lines(f"{i}\t{i % 5},{i % 7}\t{i % 2}" for i in range(12))
        dense = lines(f"{i}\t1,0,1\t{i % 2}" for i in range(12))
        arcs = "a\tb\n" + lines(f"{u}\t{v}" for u, v in ring) + "\n"
        return {
            "airports_brazil": {
                "": "airports/brazil",
                "brazil-airports.edgelist": lines(f"{10 * u} {10 * v}" for u, v in ring),
                "labels-brazil-airports.txt": "node label\n" + lines(f"{10 * i} {i % 4}" for i in range(12)),
            },
            "polblogs": {
                "": "polblogs",
                "adjacency.tsv": lines(f"{u}\t{v}\t1" for u, v in ring),
                "labels.tsv": lines(str(i % 2) for i in range(12)),
            },
            "tu_mutag": {
                "": "tudataset/MUTAG",
                "MUTAG_A.txt": lines(f"{u + 1}, {v + 1}" for u, v in ring[:5]),
                "MUTAG_graph_indicator.txt": lines(str(1 + i // 6) for i in range(12)),
                "MUTAG_graph_labels.txt": "1\n-1\n",
                "MUTAG_node_labels.txt": lines(str(i % 3) for i in range(12)),
            },
            "actor": {"": "actor", "out1_node_feature_label.txt": "h\n" + rows, "out1_graph_edges.txt": arcs},
            "webkb_texas": {
                "": "webkb/texas",
                "out1_node_feature_label.txt": "h\n" + dense,
                "out1_graph_edges.txt": arcs,
            },
        }

    def prepare_splits(self) -> None:
        """The ten splits that the readers of `actor` and `webkb_texas` look for."""
        for place, prefix in (("actor", "film"), ("webkb/texas", "texas")):
            (self.root / place).mkdir(parents=True, exist_ok=True)
            part = np.arange(12) % 3
            for i in range(10):
                masks = {f"{word}_mask": part == k for k, word in enumerate(("train", "val", "test"))}
                np.savez(self.root / place / f"{prefix}_split_0.6_0.2_{i}.npz", **masks)

    def planetoid(self, rng: Random) -> Callable[[], object]:
        """Raw pickles, with a payload in one now and then."""
        folder = self.root / "planetoid" / "Cora"
        folder.mkdir(parents=True, exist_ok=True)
        n, test = 660, 20
        x = scipy.sparse.csr_matrix((np.random.default_rng(0).random((n, 4)) < 0.5).astype(np.float32))
        y = np.eye(2, dtype=np.int32)[np.arange(n) % 2]
        ring: defaultdict[int, list[int]] = defaultdict(list, {i: [(i + 1) % n] for i in range(n)})
        parts: dict[str, Any] = {"x": x[:20], "tx": x[n - test :], "allx": x[: n - test], "graph": ring}
        parts |= {"y": y[:20], "ty": y[n - test :], "ally": y[: n - test]}
        raws = {part: pickle.dumps(value, protocol=3) for part, value in parts.items()}
        raws["test.index"] = "\n".join(str(i) for i in range(n - test, n)).encode()
        chosen = rng.choice(sorted(raws))
        if chosen == "test.index":
            raws[chosen] = edited_text(raws[chosen].decode(), rng)
        elif rng.random() < 0.3:
            raws[chosen] = pickle.dumps(Payload(self.canary), protocol=rng.choice((0, 2, 4)))
        else:
            raws[chosen] = damaged(raws[chosen], rng)
        for part, raw in raws.items():
            (folder / f"ind.cora.{part}").write_bytes(raw)
        return lambda: load_data("cora", root=self.root)

    def deeprobust(self, rng: Random) -> Callable[[], object]:
        """A graph, its split and the index of a data root."""
        n = self.data.graph.num_nodes
        ids = {f"idx_{part}": list(range(k, n, 3)) for k, part in enumerate(("train", "val", "test"))}
        index = 'format = 1\n[[deeprobust]]\nname = "cora"\nsplits = "dr/s.json"\nfile = "dr/g.npz"\n'
        chosen, still = rng.randrange(3), Still()
        raws = {
            "INDEX.toml": edited_text(index, rng if chosen == 0 else still),
            "dr/s.json": edited_json(ids, rng if chosen == 1 else still),
            "dr/g.npz": edited_arrays(self._sparse(), rng if chosen == 2 else still),
        }
        (self.root / "dr").mkdir(exist_ok=True)
        for name, raw in raws.items():
            (self.root / name).write_bytes(raw)

        def read() -> None:
            try:
                load_data("deeprobust/cora", root=self.root)
            finally:
                (self.root / "INDEX.toml").unlink()

        return read

    def _judged(self) -> Any:
        return gate(
            audit_of([cell(measurement(0.3, 0.26, 0.34)), cell(measurement(0.0, -0.1, 0.05), probe="strata")]),
            Policy(),
            as_of=TODAY,
        )

    def audit_json(self, rng: Random) -> Callable[[], object]:
        """A document; half of them say that a later minor version wrote them, whose digest is not known."""
        document = json.loads(to_bytes(self._judged()))
        if rng.random() < 0.5:
            document["schema_version"] = "2.9"
        raw = edited_json(document, rng) if rng.random() < 0.8 else damaged(json.dumps(document).encode(), rng)
        path = self._put("audit.json", raw)
        return lambda: gate(from_bytes(read_file(path)), Policy(), as_of=TODAY)

    def baseline_json(self, rng: Random) -> Callable[[], object]:
        """Accepted results."""
        judged = self._judged()
        failing = [result for result in judged.results if gates(result, Policy())]
        last = TODAY + datetime.timedelta(days=30)
        raw = baseline_bytes(accept(judged, failing, reason="r", by="b", created=TODAY, expires=last))
        raw = edited_json(json.loads(raw), rng) if rng.random() < 0.8 else damaged(raw, rng)
        path = self._put("baseline.json", raw)
        return lambda: gate(judged, Policy(), read_baseline(read_file(path)), as_of=TODAY)

    def guarantee_json(self, rng: Random) -> Callable[[], object]:
        """What a defended target promises."""
        document = json.loads(to_json(GUARANTEE))
        path = self._put("guarantee.json", edited_json(document, rng))
        return lambda: read_guarantee(read_bytes(path))
