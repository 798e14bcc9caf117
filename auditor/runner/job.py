"""What a worker is told: which target to load, and what is asked of it. Plain values, since processes share nothing."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from auditor.records import Model
from auditor.registry import Profile
from auditor.runner.asked import Asked


class Job(Model):
    """One run, one comparison (`arms`) or one claim (`asked`).

    Attributes:
        path: of the target, absolute.
        data, split: what replaces the target's own.
        trust_pickle: unpickles a whole module.
        data_root: folder of raw data sets; None for the environment's.
        threads: of torch.
        device: `cpu` or `cuda:i`.
        only, skip, family, profile: which probes.
        seeds: of the attacks.
        training_seeds: models to train anew.
        side: `[access]`.
        exposed: how many of the most exposed edges or items may be named.
        save_flips: verified edits are kept as files.
        arms: of a comparison: `none` and every defence, in canonical form.
        group: named column that defences are told of.
        asked: a claim about the `defense` or about the function `train`, which is found from `folder`.
        models: folder of the models that are trained on the way, absolute; empty where none is kept.
    """

    path: str
    data: str | None = None
    split: str | None = None
    trust_pickle: bool = False
    data_root: str | None = None
    threads: int = 1
    device: str = "cpu"
    only: str = ""
    skip: str = ""
    family: str = ""
    profile: Profile = "standard"
    seeds: tuple[int, ...] = (0,)
    training_seeds: int = 0
    side: dict[str, Any] = Field(default_factory=dict)
    exposed: int = 0
    save_flips: bool = False
    arms: tuple[str, ...] = ()
    group: str | None = None
    asked: Asked | None = None
    defense: str = ""
    train: str = ""
    folder: str = ""
    models: str = ""
