"""Attacks as registered, and what they are asked."""

from __future__ import annotations

import numpy as np
import torch

from auditor import registry
from auditor.probe import Attempt, Registered


def attack(id_: str, **settings) -> Registered:
    entry = registry.find("attacks", id_)
    return Registered(entry, entry.load()(**settings))


def attempt(*budgets: int, seed: int = 0, **more) -> Attempt:
    return Attempt(np.random.default_rng(seed), torch.Generator(), budgets=budgets, **more)
