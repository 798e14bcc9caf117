"""What a loader is given, and what it hands back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from json import dumps
from pathlib import Path
from typing import Any

from torch import nn

from auditor.errors import ConfigError, LoadError
from auditor.targets.config import TargetFile
from auditor.targets.fitting import fit_weights
from auditor.targets.weights import Weights, read_bytes, read_weights


@dataclass(frozen=True, slots=True)
class Request:
    """One target to load.

    Attributes:
        file: the checked tables.
        folder: what relative paths in them are relative to.
        trust_pickle: set by the command line alone.
        dry_forward: runs a model once on the target's graph, for layers that take their sizes from it.
    """

    file: TargetFile
    folder: Path
    trust_pickle: bool = False
    dry_forward: Callable[[nn.Module], None] | None = None

    def weights_path(self) -> Path:
        """Where the weights lie.

        Raises:
            LoadError: `[target]` names none.
        """
        if self.file.target.weights is None:
            raise LoadError(
                '[target] names no weights; expected weights = "model.safetensors" or a state dict. '
                "Save the trained weights and name the file."
            )
        return self.folder / self.file.target.weights

    def weights_bytes(self) -> bytes:
        """The bytes of the weights, their sha256 checked when `[target]` gives one."""
        return read_bytes(self.weights_path(), expected_sha256=self.file.target.sha256)

    def weights(self) -> Weights:
        """The weights, read as `[target]` says.

        Raises:
            LoadError: missing, malformed, or not one state dict.
            RefusedError: they would have to be unpickled to be read.
        """
        return read_weights(
            self.weights_bytes(),
            self.weights_path().name,
            key=self.file.target.weights_key,
            trust_pickle=self.trust_pickle,
        )

    def fit(self, model: nn.Module, weights: Weights, *, table: str, run: nn.Module | None = None) -> dict[str, Any]:
        """Puts the weights into `model`; `run` is what is called in its place. A defence fits its own tensors."""
        if self.file.defense is not None:
            return {}
        dry = self.dry_forward
        return fit_weights(
            model,
            weights.tensors,
            file=self.weights_path().name,
            table=table,
            prefix=self.file.target.strip_prefix,
            dry_forward=None if dry is None else lambda: dry(model if run is None else run),
        )

    def model_table(self) -> Mapping[str, Any]:
        """The `[model]` table.

        Raises:
            ConfigError: there is none.
        """
        if self.file.model is None:
            raise ConfigError(
                "there is no [model] table; expected the class and sizes these weights belong to, as in "
                'class = "GCN", in_channels, hidden_channels, num_layers, out_channels. Any other model is given by '
                "[target] factory."
            )
        return self.file.model


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model with its weights in.

    Attributes:
        model: as saved.
        build: makes a fresh one, untrained; None when that is impossible.
        kind: what the target was given as.
        digest: over the weights' bytes and what builds the model.
        provenance: plain values for the report: file names, hashes, casts. No absolute path, no user name.
    """

    model: nn.Module
    build: Callable[[], nn.Module] | None
    kind: str
    digest: str
    provenance: Mapping[str, Any] = field(default_factory=dict)


def digest_of(sha256: str, builder: Mapping[str, Any]) -> str:
    """sha256 over the weights' own digest and the canonical form of what builds the model."""
    canonical = dumps(builder, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{sha256}\n{canonical}".encode()).hexdigest()


def describe_weights(path: Path, weights: Weights) -> dict[str, Any]:
    """Provenance of one file of weights."""
    notes: dict[str, Any] = {"file": path.name, "sha256": weights.sha256}
    if weights.cast:
        notes["cast_to_float32"] = dict(weights.cast)
    if weights.key:
        notes["weights_key"] = weights.key
    if weights.kind == "pickled_module":
        notes["trusted_pickle"] = True
    return notes
