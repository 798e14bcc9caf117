"""Loader `pickled_module`: a whole module, which only unpickling can read: refused, unless the user says otherwise."""

from __future__ import annotations

import hashlib
import io

import torch
from torch import nn

from auditor.errors import LoadError
from auditor.targets.fitting import as_float32
from auditor.targets.in_place import kept_fresh
from auditor.targets.loaded import LoadedModel, Request, digest_of
from auditor.targets.rng import forked_rng
from auditor.targets.user_imports import UserImports, contain
from auditor.targets.weights import kind_of, refusal


def load(request: Request) -> LoadedModel:
    """The module, when the command line said `--trust-pickle`; it can be evaluated, not retrained.

    Raises:
        RefusedError: nobody said so.
        LoadError: the file holds no module, or its classes are not importable.
    """
    path, raw = request.weights_path(), request.weights_bytes()
    if not request.trust_pickle:
        raise refusal(raw, path.name, kind_of(raw, path.name))
    user_imports = UserImports.of(request.folder / (request.file.target.root or "."))
    try:
        with forked_rng(), user_imports.entered():
            model = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=False)
    except Exception as error:  # the file runs its own code: anything may be raised
        raise LoadError(
            f"{path.name} could not be unpickled: {type(error).__name__}: {error}. Expected a module whose classes can "
            "be imported from [target] root. Save the state dict and give a factory instead."
        ) from None
    if not isinstance(model, nn.Module):
        raise LoadError(f"{path.name} holds a {type(model).__name__}; expected a torch module. Save the state dict.")
    sha256 = hashlib.sha256(raw).hexdigest()
    provenance = {"file": path.name, "sha256": sha256, "trusted_pickle": True} | as_float32(model)
    return LoadedModel(
        contain(kept_fresh(model), user_imports), None, "pickled_module", digest_of(sha256, {}), provenance
    )
