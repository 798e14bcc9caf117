"""Files of a few kilobytes that ask for gigabytes or for ever, each with the function that reads it.

Run as a program, it makes them in the folder that it is given, reads each in a fork of its own, and prints a line of
JSON for each: what was raised, its exit code, seconds of CPU time, and the most memory held.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import signal
import socket
import struct
import sys
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from safetensors.torch import save, save_file
from torch_geometric.data import Data

from auditor.api.files import read_file
from auditor.api.options import read_tables, resolve
from auditor.data.sources import load_data
from auditor.data.splits import make_split
from auditor.document import from_bytes
from auditor.errors import AuditorError
from auditor.policy.baseline import read_baseline
from auditor.targets.load import load_target
from defenses.repair.errors_file import read_errors
from tests.hostile.mutations import npy, saved, zipped
from tests.targets.projects import Project
from tests.toys import sbm_graph

Read = Callable[[], object]
HANGS = 20  # seconds of wall time after which a reader is taken to wait for ever
SIZES = {"in_channels": 8, "hidden_channels": 8, "num_layers": 2, "out_channels": 3}


class Bombs:
    """One method a role; each gives names and readers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.graph = sbm_graph(n=60)
        self.arrays: dict[str, Any] = {
            "x": self.graph.x.numpy(), "edge_index": self.graph.edge_index.numpy(), "y": self.graph.y.numpy()
        }  # fmt: skip

    def all(self) -> dict[str, Read]:
        """Every bomb, by role and name."""
        roles = (self.graphs, self.archives, self.weights, self.tables, self.texts, self.pipes)
        return {name: read for role in roles for name, read in role().items()}

    def _file(self, suffix: str, raw: bytes) -> Path:
        self.count += 1
        path = self.folder / f"{self.count}{suffix}"
        path.write_bytes(raw)
        return path

    def _data(self, suffix: str, raw: bytes) -> Read:
        path = str(self._file(suffix, raw))
        return lambda: load_data(path)

    def _project(self) -> Project:
        self.count += 1
        return Project(self.folder / f"p{self.count}", self.graph)

    def graphs(self) -> dict[str, Read]:
        """Graphs whose numbers stand for far more than there are."""
        one = {key: torch.from_numpy(value) for key, value in self.arrays.items()}
        bare = {key: one[key] for key in ("edge_index", "y")}
        far = torch.sparse_coo_tensor(torch.tensor([[0], [0]]), torch.ones(1), (200_000, 200_000))
        forms: dict[str, Any] = {
            "repeated": one | {"x": torch.ones(1).expand(100_000_000, 8)},
            "repeated field": one | {"z": torch.ones(1, 8).expand(60, 8)},
            "counted nodes": bare | {"num_nodes": 10**9},
            "counted graphs": [bare | {"num_nodes": 10**9}, bare | {"num_nodes": 10**9}],
            "sparse features": one | {"x": far},
            "a list of lists": one | {"z": functools.reduce(lambda inner, _: [inner] * 2000, range(4), 1)},
            "one graph again and again": [Data(**(one | {"z": torch.rand(60, 2000)}))] * 20_000,
            "words": one | {"split": [f"w{i}" for i in range(30_000)]},
            "many fields": one | {f"f{i}": one["y"] for i in range(5_000)},
            "pointer": bare | {"ptr": torch.tensor([0, 2**40])},
            "empty rows": one | {"z": torch.zeros(10**12, 0)},
            "labels": one | {"y": one["y"] * 10**12},
        }
        found = {f"graph.pt {name}": self._data(".pt", saved(content)) for name, content in forms.items()}
        found["graph.safetensors empty rows"] = self._data(".safetensors", save(one | {"z": torch.zeros(10**12, 0)}))
        labels = self._file(".npz", zipped(arrays_of(self.arrays | {"y": self.arrays["y"] * 10**12})))
        found["graph.npz labels"] = lambda: make_split("per-class:2", load_data(str(labels)), 0)
        return found

    def archives(self) -> dict[str, Read]:
        """Archives that unpack to more, or speak of more than they hold."""
        plain = arrays_of(self.arrays)
        empty = plain | {"x.npy": header("(1000000000, 64)")}
        row = {"adj_data": np.ones(1), "adj_indices": np.zeros(1, int), "adj_indptr": np.array([0] + [1] * 60)}
        wide = {"attr_data": np.ones(1), "attr_indices": np.zeros(1, int), "attr_indptr": np.array([0] + [1] * 60)}
        sparse = row | wide | {"adj_shape": np.array([60, 60]), "attr_shape": np.array([60, 10**8])}
        members = {
            "speaks of 256 GB": zipped(empty),
            "zeros": zeros_zipped(300 << 20),
            "zeros for ever": zeros_zipped(300 << 20, claimed=1 << 40),
            "packed twice as hard": zipped(plain | {"z.npy": npy(np.zeros(10_000_000))}, method=zipfile.ZIP_BZIP2),
            "true rows": zipped(plain | {"x.npy": header("(True, 64)")}),
            "rows beyond 64 bits": zipped(plain | {"x.npy": header("(2305843009213693952, 64)")}),
            "sparse features": zipped(arrays_of(sparse | {"labels": np.arange(60) % 3})),
            "rows below zero": zipped(arrays_of(sparse | {"labels": np.arange(60) % 3, "adj_indptr": -np.arange(61)})),
        }
        return {f"graph.npz {name}": self._data(".npz", raw) for name, raw in members.items()}

    def weights(self) -> dict[str, Read]:
        """Weights that repeat, that are holes, and references of nothing."""
        many = {f"w{i}": torch.ones(1).expand(10_000_000) for i in range(200)}
        share = torch.ones(250_000)
        files = {
            "repeated": saved({"w": torch.ones(1).expand(800_000_000)}),
            "many repeated": saved(many),
            "views of one": saved({f"w{i}": share[i:] for i in range(3000)}),
            "one again and again": saved(dict.fromkeys((f"w{i}" for i in range(3000)), share)),
            "many state dicts": saved({f"part{i}": {"w": share[:1]} for i in range(5000)}),
            "empty rows": save({"w": torch.zeros(10**12, 0)}),
        }
        found: dict[str, Read] = {}
        for name, raw in files.items():
            project = self._project()
            (project.folder / "model.safetensors").write_bytes(raw)
            found[f"weights {name}"] = lambda folder=project.folder: load_target(folder)  # type: ignore[misc]
        for name, speaks in (("hole", 64), ("hole that is spoken of", 4 << 30)):
            project = self._project()
            text = json.dumps({"w": {"dtype": "F32", "shape": [speaks // 4], "data_offsets": [0, speaks]}}).encode()
            with (project.folder / "model.safetensors").open("wb") as file:
                file.write(struct.pack("<Q", len(text)) + text)
                file.truncate(8 + len(text) + (4 << 30))
            found[f"weights {name}"] = lambda folder=project.folder: load_target(folder)  # type: ignore[misc]
        for name, tensors in (
            ("infinite", {"logits": torch.full((4, 3), float("inf"))}),
            ("without a row", {"x": torch.zeros(0, 8), "logits": torch.zeros(0, 3)}),
            ("of words", {"logits": torch.zeros(4, 3, dtype=torch.bool)}),
        ):
            project = self._project()
            plain = {"x": torch.zeros(4, 8), "edge_index": torch.zeros(2, 1).long()}
            save_file(plain | tensors, project.folder / "r.safetensors")
            project.write(reference="r.safetensors")
            found[f"reference {name}"] = lambda folder=project.folder: load_target(folder)  # type: ignore[misc]
        return found

    def tables(self) -> dict[str, Read]:
        """Tables that are deep, long or speak of large models."""
        texts = {
            "dotted key": ".".join("a" * 50_000) + " = 1",
            "dotted header": "[" + ".".join("a" * 50_000) + "]",
            "braces": "a = " + "{a = " * 20_000,
            "brackets": "a = " + "[" * 20_000,
            "long key": "k" * 100_000 + " = 1",
            "long number": "[run]\nthreads = 0x" + "f" * 100_000,
            "threads": "[run]\nthreads = 100000000",
            "trainings": "[run]\ntraining_seeds = 1000000000",
            "epochs": "[target.train]\nepochs = 10000000000",
            "zero byte": '[target]\nweights = "a\\u0000b"',
            "unfinished text": '"' * 100_001,
        }
        found: dict[str, Read] = {}
        for name, text in texts.items():
            path = self._file(".toml", text.encode())
            found[f"toml {name}"] = lambda path=path: resolve({}, read_tables(path))  # type: ignore[misc]
        models: dict[str, dict[str, Any]] = {
            "layers": {"class": "GCN", "num_layers": 1_000_000},
            "width": {"class": "GCN", "hidden_channels": 10**9},
            "width and layers": {"class": "GCN", "hidden_channels": 65_536, "num_layers": 50},
            "width within the limit": {"class": "GCN", "hidden_channels": 40_000, "num_layers": 3},
            "inputs": {"class": "GCN", "in_channels": 10**12},
            "heads": {"class": "GAT", "heads": 10**9},
            "hops": {"stack": "TAGConv", "K": 10**6},
            "layers of hops": {"stack": "ChebConv", "K": 1000, "num_layers": 1000},
        }
        for name, changes in models.items():
            project = self._project()
            project.tables["model"] = SIZES | {"in_channels": self.graph.num_features} | changes
            project.write()
            found[f"toml model {name}"] = lambda folder=project.folder: load_target(folder)  # type: ignore[misc]
        return found

    def texts(self) -> dict[str, Read]:
        """Text layouts in which one number asks for a matrix without end."""
        root = self.folder / "root"
        ring = "\n".join(f"{u}\t{(u + 1) % 12}" for u in range(12))
        (root / "actor").mkdir(parents=True)
        rows = "\n".join(f"{i}\t{10**11 if i == 5 else i}\t{i % 2}" for i in range(12))
        (root / "actor" / "out1_node_feature_label.txt").write_text(f"h\n{rows}")
        (root / "actor" / "out1_graph_edges.txt").write_text(f"h\n{ring}")
        for i in range(10):
            np.savez(root / "actor" / f"film_split_0.6_0.2_{i}.npz", train_mask=np.ones(12, bool))
        tu = root / "tudataset" / "MUTAG"
        tu.mkdir(parents=True)
        parts = {"A": "1, 2", "graph_indicator": "1\n1\n2", "graph_labels": "0\n1", "node_labels": "0\n1\n100000000000"}
        for part, text in parts.items():
            (tu / f"MUTAG_{part}.txt").write_text(text)
        errors = self._file(".csv", b"node,label\n" + b"9" * 100_000 + b",1\n")
        return {
            "text features": lambda: load_data("actor", root=root),
            "text node labels": lambda: load_data("tu_mutag", root=root),
            "csv number": lambda: read_errors(errors),
        }

    def pipes(self) -> dict[str, Read]:
        """What is no file, in every place of a file."""
        odd: dict[str, Path] = {"folder": self.folder / "folder", "pipe": self.folder / "pipe"}
        odd["folder"].mkdir()
        os.mkfifo(odd["pipe"])
        with socket.socket(socket.AF_UNIX) as listener:
            odd["socket"] = self.folder / "s"
            here = Path.cwd()
            os.chdir(self.folder)  # a socket's path is short
            listener.bind("s")
            os.chdir(here)
        for device in ("zero", "urandom", "full"):
            odd[device] = self.folder / device
            odd[device].symlink_to(f"/dev/{device}")
        graph = self._file(".npz", zipped(arrays_of(self.arrays)))
        found: dict[str, Read] = {}
        for name, path in odd.items():
            project, by_reference = self._project(), self._project()
            project.write(weights=str(path))
            by_reference.write(reference=str(path))
            readers: dict[str, Read] = {
                "graph.npz": lambda path=path: load_data(str(path)),  # type: ignore[misc]
                "weights": lambda folder=project.folder: load_target(folder),  # type: ignore[misc]
                "reference": lambda folder=by_reference.folder: load_target(folder),  # type: ignore[misc]
                "split.npz": lambda path=path: make_split(f"file:{path}", load_data(str(graph)), 0),  # type: ignore[misc]
                "toml": lambda path=path: read_tables(path),  # type: ignore[misc]
                "csv": lambda path=path: read_errors(path),  # type: ignore[misc]
            }
            if name != "pipe":
                readers["audit"] = lambda path=path: from_bytes(read_file(path))  # type: ignore[misc]
                readers["baseline"] = lambda path=path: read_baseline(read_file(path))  # type: ignore[misc]
            found |= {f"{role} is a {name}": read for role, read in readers.items()}
        return found


def arrays_of(arrays: dict[str, Any]) -> dict[str, bytes]:
    """Members of an .npz."""
    return {f"{key}.npy": npy(value) for key, value in arrays.items()}


def header(shape: str) -> bytes:
    """The header of an array of floats, and nothing behind it."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def zeros_zipped(size: int, claimed: int | None = None) -> bytes:
    """An .npz whose only array is `size` bytes of zeros, deflated; its directory says `claimed`."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = header(f"({size // 256}, 64)")
    content, check = pack.compress(head), zlib.crc32(head)
    chunk = bytes(1 << 20)
    for _ in range(size >> 20):
        content, check = content + pack.compress(chunk), zlib.crc32(chunk, check)
    content += pack.flush()
    whole = min(claimed or size + len(head), 0xFFFFFFFE)
    sizes = struct.pack("<III", check, len(content), whole)
    local = b"PK\x03\x04" + struct.pack("<HHHHH", 20, 0, 8, 0, 33) + sizes + struct.pack("<HH", 5, 0) + b"x.npy"
    place = len(local) + len(content)
    entry = b"PK\x01\x02" + struct.pack("<HHHHHH", 20, 20, 0, 8, 0, 33) + sizes
    entry += struct.pack("<HHHHHII", 5, 0, 0, 0, 0, 0, 0) + b"x.npy"
    return local + content + entry + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), place, 0)


def outcome(read: Read) -> dict[str, Any]:
    """What reading did, in a process of its own."""
    inbox, outbox = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(inbox)
        signal.alarm(HANGS)
        start = time.process_time()
        found: dict[str, Any] = {"code": 0, "said": ""}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read()
        except AuditorError as error:
            found = {"code": error.exit_code, "said": str(error)}
        except BaseException as error:
            found = {"code": -1, "said": f"{type(error).__name__}: {error}"}
        found["seconds"] = time.process_time() - start
        os.write(outbox, json.dumps(found).encode()[:60_000])
        os._exit(0)
    os.close(outbox)
    with os.fdopen(inbox, "rb") as stream:
        raw = stream.read()
    _, _, used = os.wait4(pid, 0)
    found = json.loads(raw) if raw else {"code": -2, "said": "killed, or did not end", "seconds": HANGS}
    return found | {"megabytes": used.ru_maxrss / 1024}


def main(folder: Path) -> None:
    """Prints a line for each bomb."""
    torch.set_num_threads(1)
    project = Project(folder / "first")
    load_target(project.folder)  # what is imported on first use
    tomli_w.dumps({})
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))  # for the machine, should one go off
    for name, read in Bombs(folder).all().items():
        sys.stdout.write(json.dumps({"name": name} | outcome(read)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
