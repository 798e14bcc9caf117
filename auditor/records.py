"""The base of every record that is written to a document: frozen, strict, without NaN."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _finite(value: object) -> object:
    """NaN and infinities become None: JSON has neither."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite)]


class Model(BaseModel):
    """Frozen; unknown fields are refused when we write and kept when we read a later minor version."""

    # Built when first used: of the many codes and facts a process uses few, and a gate starts a fifth faster.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null", defer_build=True)
