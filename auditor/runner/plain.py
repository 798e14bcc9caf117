"""What is found on one model and needed elsewhere, as plain values that travel between processes. Imports no torch."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from auditor.records import Model


def packed(values: NDArray[np.int64] | NDArray[np.bool_]) -> str:
    """Whole numbers in base64."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<i8").tobytes()).decode()


def unpacked(text: str) -> NDArray[np.int64]:
    """The numbers of a text.

    Raises:
        ValueError: it is no such text.
    """
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), dtype="<i8").astype(np.int64)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _is_packed(text: str) -> str:
    unpacked(text)
    return text


Packed = Annotated[str, AfterValidator(_is_packed)]


class Edits(Model):
    """One flip set; see `auditor.outcomes.FlipSet`."""

    budget: int
    keys: Packed
    claimed_accuracy: float | None = None


class Scores(Model):
    """What one arm gets right; see `auditor.compare.gain.ArmScores`. Items that are right are ones."""

    clean: Packed
    predicted: Packed
    worst: dict[int, Packed]
    attacks: dict[int, int]


class Ground(Model):
    """What every arm of a comparison is measured on.

    Attributes:
        labels: of the test items.
        parts: sets of test items whose accuracy is measured on its own, ones by name.
        constant: accuracy of the best constant guess on them.
        poisoned: attack and rate of the graph that everything is fitted on; empty for a clean one.
    """

    labels: Packed
    parts: dict[str, Packed]
    constant: float
    poisoned: str = ""
