"""`check_split`: what `auditor split` calls. Loads no model and trains none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.api.session import LOG
from auditor.errors import UsageError
from auditor.targets.config import config_file

if TYPE_CHECKING:
    from auditor.data.graph import Split
    from auditor.data.sources import LoadedData
    from auditor.split_report import SplitReport
    from auditor.targets.target import Target

    Place = str | os.PathLike[str]


def check_split(
    data: Any,
    *,
    against: Target | Place | None = None,
    split: str | None = None,
    split_seed: int | None = 0,
    chronological: bool | None = None,
    data_root: Place | None = None,
) -> SplitReport:
    """What of the test data was visible in training. What `auditor split` calls; no model is built or run.

    Args:
        data: a data set's name, a file of a graph, of a link split, of heterogeneous data or of events, the folder of
            a target, a Target, or the PyG object itself: `Data`, `HeteroData`, `TemporalData`, or a list
            [train, val, test] of them.
        against: a target, or its folder: its train items take the place of the data's own.
        split: which split of the data, as `auditor train --split` takes it; None for the one that the data name.
        split_seed: of a split that is drawn.
        chronological: whether train was meant to lie before test, so that an overlap in time is a leak; None for what
            the data say: events in a stream, and pairs with times of their own, are.
        data_root: folder of raw data sets.

    Raises:
        UsageError: data or options that cannot be understood, malformed, or of a form that is not checked.
        RefusedError: reading a file would run what is inside.
    """
    from auditor.data.hygiene.check import data_report, stored_report
    from auditor.data.hygiene.stored import stored

    if (found := stored(data)) is not None:
        given = {"against": against, "split": split, "split_seed": split_seed or None}
        if unused := [name for name, value in given.items() if value is not None]:
            raise UsageError(f"{', '.join(unused)} came with {found.name}, which holds its parts itself. Leave it out.")
        return stored_report(found, chronological=chronological)
    if against is None:
        return data_report(*_loaded(data, split, split_seed or 0, data_root), chronological=chronological)
    if chronological is not None:
        raise UsageError("chronological came with against, which compares items and no times. Leave one of them out.")
    trained = _trained(against, data_root)
    name, loaded, own = _loaded(data, split, split_seed or 0, data_root, transform=trained[1].transform)
    return data_report(name, loaded, own, against=(trained[0], trained[1].graph, trained[2]))


def _loaded(
    data: Any, spec: str | None, seed: int, data_root: Place | None, *, transform: str = "none"
) -> tuple[str, LoadedData, Split]:
    """What the data are called, the data, and their split."""
    from auditor.data.splits import is_drawn, make_split
    from auditor.targets.live import read_data
    from auditor.targets.target import Target

    if isinstance(data, Target) or _is_target(data):
        if spec is not None:
            raise UsageError(f"split came with a target, which has its own: {spec}. Leave it out.")
        if seed:
            raise UsageError(f"seed {seed} came with a target, whose split is drawn already. Leave it out.")
        return _trained(data, data_root)
    loaded = read_data(
        os.fspath(data) if isinstance(data, os.PathLike) else data,
        transform=transform,
        data_root=_root(data_root),
        notify=LOG.warning,
    )
    split = make_split(spec or "", loaded, seed)
    if seed and not is_drawn(spec or loaded.default_split):
        raise UsageError(f"seed {seed} is of a split that is drawn, and that of {loaded.name} is given. Leave it out.")
    return loaded.name, loaded, split


def _trained(target: Target | Place, data_root: Place | None) -> tuple[str, LoadedData, Split]:
    """A target's name, data and split, without its model."""
    from auditor.data.sources import LoadedData
    from auditor.targets.load import load_data_of
    from auditor.targets.target import Target

    if isinstance(target, Target):
        graph = target.graph if target.private is None else target.private
        data = LoadedData(graph, {}, target.split.spec, target.name, graph.digest(), transform=target.transform)
        return target.name, data, target.split
    if not isinstance(target, str | os.PathLike):
        raise UsageError(f"{type(target).__name__} is no target; expected a Target or its folder.")
    return load_data_of(Path(target), data_root=_root(data_root), notify=LOG.warning)


def _is_target(data: object) -> bool:
    """Whether that is the folder or the tables of a target, and not a data set that is called so."""
    from auditor.data.catalogue import is_known

    if not isinstance(data, str | os.PathLike):
        return False
    path = Path(data)
    return path.suffix == ".toml" or (path.is_dir() and (config_file(path) is not None or not is_known(str(data))))


def _root(given: Place | None) -> Path | None:
    from auditor.data.sources import resolve_root

    return resolve_root(None if given is None else os.fspath(given))
