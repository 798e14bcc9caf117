"""Loader `state_dict`: a torch state dict, read by the weights-only loader alone, and a `[model]` table."""

from __future__ import annotations

from auditor.targets.loaded import LoadedModel, Request
from auditor.targets.loaders.built_from_table import load_from_table


def load(request: Request) -> LoadedModel:
    """The model of `[model]` with the tensors of a state dict.

    Raises:
        RefusedError: the file would have to be unpickled to be read.
        LoadError: missing, malformed, not finite, or not what the table builds.
        ConfigError: there is no `[model]` table, or it cannot be built.
    """
    return load_from_table(request, kind="state_dict")
