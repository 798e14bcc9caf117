"""Planetoid raw files: pickles, scanned opcode by opcode before PyG may read them."""

from __future__ import annotations

import pickle
import pickletools
import warnings
from pathlib import Path

from torch_geometric.io import read_planetoid_data

from auditor.data.npz import check_rows
from auditor.data.raw import Raw
from auditor.errors import DataError, RefusedError
from auditor.reading.archives import check_expansion
from auditor.reading.files import MAX_TEXT, bytes_of, reading

# The genuine files name these and nothing else; the second spelling is what newer writers emit.
ALLOWED_GLOBALS = frozenset(
    {
        "numpy.core.multiarray _reconstruct",
        "numpy._core.multiarray _reconstruct",
        "numpy ndarray",
        "numpy dtype",
        "scipy.sparse.csr csr_matrix",
        "scipy.sparse._csr csr_matrix",
        "collections defaultdict",
        "__builtin__ list",
        "builtins list",
    }
)
# Opcodes that name or fetch an object in another way than GLOBAL: no genuine file has them.
FORBIDDEN_OPCODES = frozenset({"STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"})

_EXPECTED = "the raw files as published. Fetch them again."


def read_planetoid(folder: Path, prefix: str) -> Raw:
    """Cora, CiteSeer or PubMed with its public split.

    Raises:
        RefusedError: a raw file holds anything but numpy arrays, SciPy CSR matrices and lists.

    Source: Yang et al., "Revisiting Semi-Supervised Learning with Graph Embeddings", ICML 2016; read by PyG.
    """
    for part in ("x", "tx", "allx", "y", "ty", "ally", "graph"):
        scan_pickle(folder / f"ind.{prefix}.{part}")
    _check_test_ids(folder / f"ind.{prefix}.test.index")
    with warnings.catch_warnings():
        # The pickles were written by Python 2: they name modules that numpy and SciPy have moved since.
        warnings.filterwarnings("ignore", message=r".*(scipy\.sparse\.csr|numpy\.core|align)")
        for part in ("x", "tx", "allx"):
            _check_features(folder / f"ind.{prefix}.{part}")
        data = read_planetoid_data(str(folder), prefix)
    masks = {"train": data.train_mask, "val": data.val_mask, "test": data.test_mask}
    return Raw(data.edge_index, data.y, data.x, masks=masks)


def _check_features(path: Path) -> None:
    """Raises DataError for a matrix whose indices lie outside of it: making it dense would end the process."""
    raw = bytes_of(path, error=DataError, expected=_EXPECTED)
    with reading(path.name, error=DataError, expected=_EXPECTED):
        matrix = pickle.loads(raw, encoding="latin1")  # names nothing but arrays and matrices: scanned before
        check_rows(matrix.data, matrix.indices, matrix.indptr)
        matrix.check_format(full_check=True)
        check_expansion(
            4 * matrix.shape[0] * matrix.shape[1],
            len(raw),
            f"{path.name}: dense features of {matrix.shape[0]} × {matrix.shape[1]}",
            error=DataError,
            remedy="Fetch the raw files again.",
        )


def _check_test_ids(path: Path) -> None:
    """Raises DataError where ids of test nodes lie so far apart that the rows between would fill the memory."""
    ids = [int(word) for word in bytes_of(path, error=DataError, cap=MAX_TEXT, expected=_EXPECTED).split()]
    if ids and max(ids) - min(ids) > 2 * len(ids) + 100:  # CiteSeer lacks 15 of 1,015
        raise DataError(f"{path.name} names nodes {min(ids)} to {max(ids)}, {len(ids)} of them; expected {_EXPECTED}")


def scan_pickle(path: Path) -> None:
    """Reads opcodes only and executes nothing.

    Raises:
        RefusedError: a name outside the allow-list, an opcode that fetches objects otherwise, or a broken stream.
    """
    content = bytes_of(path, error=DataError, expected=_EXPECTED)
    try:
        for opcode, argument, found_at in pickletools.genops(content):
            position = found_at or 0  # None only for streams without tell
            if opcode.name in FORBIDDEN_OPCODES:
                raise _refused(path, f"opcode {opcode.name} at byte {position}")
            if opcode.name == "GLOBAL" and argument not in ALLOWED_GLOBALS:
                raise _refused(path, f'"{str(argument).replace(" ", ".")}" at byte {position}')
            if opcode.name == "STOP" and position + 1 != len(content):
                raise _refused(path, f"{len(content) - position - 1} bytes after its end")
    except (ValueError, IndexError, UnicodeError) as error:
        raise _refused(path, f"a broken stream ({error})") from error


def _refused(path: Path, found: str) -> RefusedError:
    return RefusedError(
        f"{path.name} holds {found}; expected a pickle of numpy arrays, SciPy CSR matrices and lists of neighbours, "
        "since anything else could run code on loading. Fetch the raw files again from their source, or save the graph "
        "as .npz."
    )
