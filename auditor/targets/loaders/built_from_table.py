"""What the two table-built kinds share: read the weights, build the table, fit one into the other."""

from __future__ import annotations

from functools import partial

from auditor.targets.loaded import LoadedModel, Request, describe_weights, digest_of
from auditor.targets.models import build_model, check_size
from auditor.targets.rng import forked_rng


def load_from_table(request: Request, *, kind: str) -> LoadedModel:
    """The model of `[model]` with the weights of `[target]`; RETRAIN comes from `[target.train]`."""
    weights = request.weights()
    table = dict(request.model_table())
    held = sum(value.nbytes for value in weights.tensors.values())
    check_size(table, held, request.weights_path().name)
    with forked_rng():
        model = build_model(table)
    notes = request.fit(model, weights, table="[model]")
    return LoadedModel(
        model=model,
        build=partial(build_model, table),
        kind=kind,
        digest=digest_of(weights.sha256, {"model": table}),
        provenance=describe_weights(request.weights_path(), weights) | notes,
    )
