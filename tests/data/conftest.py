"""A tiny data root in the Planetoid layout, and guards: no network, no writes."""

from __future__ import annotations

import hashlib
import pickle
import socket
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every attempt to open a connection or look a name up fails, and is written down."""
    attempts: list[str] = []

    def refuse(*args: object, **kwargs: object) -> None:
        attempts.append(repr(args))
        raise OSError("the network is blocked in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return attempts


@pytest.fixture
def planetoid_root(tmp_path: Path) -> Path:
    """A root that holds "cora" in PyG's own layout: 640 nodes on a ring, 4 features, 2 classes, 20 test nodes."""
    root = tmp_path / "root"
    raw = root / "Cora" / "raw"
    raw.mkdir(parents=True)
    n, train, test = 640, 20, 20
    rng = np.random.default_rng(0)
    x = scipy.sparse.csr_matrix((rng.random((n, 4)) < 0.5).astype(np.float32))
    y = np.eye(2, dtype=np.int32)[np.arange(n) % 2]
    ring: defaultdict[int, list[int]] = defaultdict(list)
    for i in range(n):
        ring[i] = [(i + 1) % n, (i - 1) % n]
    parts = {
        "x": x[:train], "tx": x[n - test :], "allx": x[: n - test],
        "y": y[:train], "ty": y[n - test :], "ally": y[: n - test], "graph": ring,
    }  # fmt: skip
    for part, value in parts.items():
        (raw / f"ind.cora.{part}").write_bytes(pickle.dumps(value, protocol=3))
    (raw / "ind.cora.test.index").write_text("\n".join(str(i) for i in range(n - test, n)) + "\n")
    return root


def tree_digest(folder: Path) -> str:
    """Names, sizes, times and bytes of everything below `folder`."""
    sha = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        sha.update(f"{path.relative_to(folder)} {stat.st_mode} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        if path.is_file():
            sha.update(path.read_bytes())
    return sha.hexdigest()
