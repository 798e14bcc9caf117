"""Raw pickles: nothing inside them is executed, whatever they hold."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import pytest

from auditor.data.planetoid import scan_pickle
from auditor.data.sources import load_data
from auditor.errors import RefusedError


class _Call:
    """Pickles as a call of any function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.recipe = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.recipe  # type: ignore[return-value]


def _live(sentinel: Path) -> dict[str, bytes]:
    """Payloads that create `sentinel` when they are unpickled."""
    command = f"touch {sentinel}"
    text = command.encode()
    short = b"U" + struct.pack("<B", len(text)) + text
    by_eval = f"open({str(sentinel)!r}, 'w').close()"
    return {
        "reduce-protocol-0": pickle.dumps(_Call(os.system, command), protocol=0),
        "reduce-protocol-2": pickle.dumps(_Call(os.system, command), protocol=2),
        "reduce-protocol-4": pickle.dumps(_Call(os.system, command), protocol=4),
        "builtins-eval": pickle.dumps(_Call(eval, by_eval), protocol=2),
        "inside-a-list": pickle.dumps([[1, 2], _Call(os.system, command)], protocol=3),
        "inst": b"(" + b"S" + repr(command).encode() + b"\n" + b"iposix\nsystem\n.",
        "obj": b"(" + b"cposix\nsystem\n" + short + b"o.",
        "getattr-chain": b"c__builtin__\ngetattr\n(c__builtin__\n__import__\n(S'os'\ntRS'system'\ntR(" + short + b"tR.",
    }


LIVE = sorted(_live(Path("x")))


@pytest.mark.parametrize("kind", LIVE)
def test_a_pickle_that_would_run_code_is_refused_unread(kind: str, planetoid_root: Path, tmp_path: Path) -> None:
    sentinel = tmp_path / "executed"
    payload = _live(sentinel)[kind]
    (planetoid_root / "Cora" / "raw" / "ind.cora.graph").write_bytes(payload)
    with pytest.raises(RefusedError, match="expected a pickle of numpy arrays") as caught:
        load_data("cora", root=planetoid_root)
    assert caught.value.exit_code == 4
    assert not sentinel.exists()
    pickle.loads(payload, encoding="latin1")
    assert sentinel.exists(), "the payload itself is harmless, so that the test would show nothing"


INERT = {
    "payload-after-stop": pickle.dumps([1], protocol=2) + pickle.dumps(_Call(os.system, "true"), protocol=2),
    "truncated": pickle.dumps([list(range(100))], protocol=2)[:-7],
    "not-a-pickle": b"hello",
    "empty": b"",
    "extension-registry": b"\x80\x02\x82\x01.",
    "persistent-id": b"\x80\x02Pabc\n.",
    "other-global": pickle.dumps(_Call(struct.pack, "<B", 1), protocol=2),
    "near-miss-of-an-allowed-name": b"cnumpy\nndarray.ctypeslib\n.",
}


@pytest.mark.parametrize("kind", sorted(INERT))
def test_a_stream_that_no_genuine_file_has_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "ind.cora.x"
    path.write_bytes(INERT[kind])
    with pytest.raises(RefusedError):
        scan_pickle(path)


def test_the_benign_twin_loads(planetoid_root: Path) -> None:
    data = load_data("CORA", root=planetoid_root)
    assert (data.graph.num_nodes, data.graph.num_edges, data.graph.num_features) == (640, 1280, 4)
    assert [int(data.masks[part].sum()) for part in ("train", "val", "test")] == [20, 500, 20]


def test_every_genuine_raw_file_passes_the_scan(data_root: Path) -> None:
    for path in sorted(data_root.glob("planetoid/*/raw/ind.*")):
        if not path.name.endswith("index"):
            scan_pickle(path)
