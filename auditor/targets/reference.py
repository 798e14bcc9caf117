"""The reference file: logits of the saved model on a synthetic graph, which prove that the rebuilt model is the same.

Synthetic by rule: a reference on the private graph would publish it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from auditor.errors import LoadError
from auditor.targets.target import ModelHandle
from auditor.targets.weights import write_tensors
from auditor.tasks import Level

NODES, DENSITY, GRAPHS = 32, 0.12, 4
TOLERANCE = 1e-4
_NAMES = frozenset({"x", "edge_index", "edge_weight", "batch", "logits"})


@dataclass(frozen=True, slots=True)
class Comparison:
    """Stored against recomputed logits: the largest difference, and the scale max(1, max |logit|) it is read on."""

    difference: float
    scale: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is within 1e-4 of the scale."""
        return self.difference <= TOLERANCE * self.scale


def synthetic_inputs(num_features: int, level: Level, *, seed: int = 0) -> dict[str, Tensor]:
    """32 nodes with Gaussian features on an Erdős–Rényi graph (p = 0.12), the last node isolated; four graphs of 8.

    Graph-level inputs keep the edges inside each block, by a `batch`.
    """
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(NODES, num_features, generator=rng)
    pairs = torch.combinations(torch.arange(NODES - 1)).T  # the last node stays isolated
    keep = torch.rand(pairs.shape[1], generator=rng) < DENSITY
    batch = torch.arange(NODES) // (NODES // GRAPHS)
    if level == "graph":
        keep = (torch.rand(pairs.shape[1], generator=rng) < 4 * DENSITY) & (batch[pairs[0]] == batch[pairs[1]])
    kept = pairs[:, keep]
    inputs = {"x": x, "edge_index": torch.cat([kept, kept.flip(0)], dim=1)}
    return inputs | ({"batch": batch} if level == "graph" else {})


def write_reference(path: Path, handle: ModelHandle, num_features: int, level: Level) -> None:
    """Saves synthetic inputs and the model's logits on them."""
    inputs = synthetic_inputs(num_features, level)
    with torch.no_grad():
        logits = handle.logits(inputs["x"], inputs["edge_index"], None, inputs.get("batch"))
    write_tensors(path, {**inputs, "logits": logits})


def compare_reference(path: Path, handle: ModelHandle, *, num_features: int) -> Comparison:
    """Recomputes the logits of a reference file.

    Raises:
        LoadError: missing, malformed, for another number of features, or the model's answers differ.
    """
    if not path.is_file():
        raise LoadError(
            f"the reference {path.name} does not exist beside the config file; expected x, edge_index and logits. "
            "Add the file, or drop the key."
        )
    try:
        stored = load_safetensors(path.read_bytes())
    except OSError as error:
        raise LoadError(f"{path} cannot be read ({error.strerror}); expected a reference. Check its mode.") from None
    except (SafetensorError, ValueError, OverflowError, KeyError, RuntimeError) as error:
        raise LoadError(f"{path.name} is not a valid safetensors file: {error}. Write the reference again.") from None
    if not {"x", "edge_index", "logits"} <= set(stored) <= _NAMES:
        raise LoadError(
            f"{path.name} holds {', '.join(sorted(stored)) or 'nothing'}; expected x, edge_index, logits and at most "
            "edge_weight and batch. Write the reference again."
        )
    x, edges, expected = stored["x"], stored["edge_index"], stored["logits"]
    fits = x.dim() == 2 and edges.dim() == 2 and edges.shape[0] == 2 and not torch.is_floating_point(edges)
    if (
        not fits
        or x.shape[1] != num_features
        or (edges.numel() and not 0 <= int(edges.min()) <= int(edges.max()) < x.shape[0])
    ):
        raise LoadError(
            f"{path.name} holds x {list(x.shape)} and edge_index {edges.dtype} {list(edges.shape)}; expected "
            f"{num_features} features and ids of its own nodes. Write the reference again for this model."
        )
    try:
        with torch.no_grad():
            found = handle.logits(x.float(), edges.long(), stored.get("edge_weight"), stored.get("batch"))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise LoadError(
            f"the model cannot be run on {path.name}: {error}. Write the reference again for this model."
        ) from None
    if found.shape != expected.shape:
        raise LoadError(
            f"{path.name} stores logits {list(expected.shape)}, the model gives {list(found.shape)}. "
            "The model was rebuilt with other sizes: correct [model], or write the reference again."
        )
    comparison = Comparison(
        float((found - expected).abs().nan_to_num(float("inf")).max()), max(1.0, float(expected.abs().max()))
    )
    if not comparison.agrees:
        raise LoadError(
            f"the logits differ from {path.name} by {comparison.difference:.3g} on a scale of {comparison.scale:.3g}; "
            f"expected at most {TOLERANCE * comparison.scale:.3g}. The rebuilt model is not the saved one: a flag that "
            "no weight shows (activation, aggregation, normalize, add_self_loops) is another."
        )
    return comparison
