"""Access `scores`: inclusion bits and scores from a file that somebody else may have written."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from auditor.data.npz import read_arrays, read_header
from auditor.errors import DataError
from auditor.evaluate.dp_claim.subject import Observation
from auditor.reading.files import measure, reading

MAX_CANARIES = 2_000_000
_EXPECTED = "an .npz with the arrays bits and scores. Write it with numpy.savez."
KEYS = ("bits", "scores", "twin_bits", "twin_scores")


def read_scores(path: Path) -> tuple[Observation, Observation | None]:
    """The run, and the reach twin where the file has one.

    Args:
        path: an .npz with `bits` [m] of 0 and 1 and finite `scores` [m]; `twin_bits` and `twin_scores` [m'] of the
            same mechanism without its noise.

    Raises:
        DataError: no such file, not plain arrays, more than two million entries, a missing array, another length,
            constant bits, a score that is not finite.
    """
    measure(path, error=DataError, expected=_EXPECTED)
    _check_sizes(path)
    arrays = read_arrays(path, KEYS)
    run = _observation(arrays, "bits", "scores", path.name)
    if ("twin_bits" in arrays) != ("twin_scores" in arrays):
        raise DataError(f"{path.name} has one of twin_bits and twin_scores; expected both, or neither.")
    twin = _observation(arrays, "twin_bits", "twin_scores", path.name) if "twin_bits" in arrays else None
    if twin is not None and len(twin.scores) != len(run.scores):
        raise DataError(
            f"{path.name}: the twin has {len(twin.scores)} canaries, the run {len(run.scores)}; expected as many, so "
            "that both are audited alike."
        )
    return run, twin


def _check_sizes(path: Path) -> None:
    """Refuses an array by what its header says, before memory is taken for it."""
    with reading(path.name, error=DataError, expected=_EXPECTED), zipfile.ZipFile(path) as archive:
        for key in set(KEYS) & {name.removesuffix(".npy") for name in archive.namelist()}:
            with archive.open(f"{key}.npy") as member:
                shape, _ = read_header(member)
            if math.prod(shape) > MAX_CANARIES:
                raise DataError(
                    f"{path.name}: {key} has the shape {list(shape)}; expected at most {MAX_CANARIES} entries."
                )


def _observation(arrays: dict[str, npt.NDArray[Any]], bits: str, scores: str, name: str) -> Observation:
    missing = [key for key in (bits, scores) if key not in arrays]
    if missing:
        raise DataError(
            f"{name} lacks {', '.join(missing)} and holds {', '.join(sorted(arrays)) or 'nothing that is read'}; "
            "expected bits [m] and scores [m], and where there is one twin_bits and twin_scores. Save them so."
        )
    b, s = arrays[bits], arrays[scores]
    if b.ndim != 1 or s.ndim != 1 or len(b) != len(s) or len(b) < 2:
        raise DataError(
            f"{name}: {bits} {list(b.shape)} and {scores} {list(s.shape)} differ; expected one bit and one score for "
            "each of two or more canaries."
        )
    if b.dtype.kind not in "biuf" or s.dtype.kind not in "biuf":
        raise DataError(f"{name}: {bits} is {b.dtype} and {scores} is {s.dtype}; expected numbers.")
    if not np.isin(b, (0, 1)).all():
        raise DataError(f"{name}: {bits} holds values other than 0 and 1; expected 1 for a canary that was included.")
    included = b.astype(bool)
    if included.all() or not included.any():
        raise DataError(
            f"{name}: every entry of {bits} is {int(included[0])}; expected each canary to be in or out by its own "
            "fair coin. Nothing can be told from scores without the other kind."
        )
    values = s.astype(np.float64)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        first = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(f"{name}: {bad} of {scores} are not finite (first: {first}); expected finite numbers.")
    return Observation(included, values)
