from dataclasses import dataclass

import numpy as np
import torch

from auditor.shared import Shared, content, size_of


@dataclass(frozen=True)
class Record:
    rows: torch.Tensor
    name: str


def counted(value):
    calls = []

    def make():
        calls.append(1)
        return value

    return make, calls


def test_a_value_is_made_once_for_a_key():
    shared = Shared()
    make, calls = counted("found")
    assert [shared.once(("a", 1), make) for _ in range(3)] == ["found"] * 3
    assert len(calls) == 1
    shared.once(("a", 2), make)
    assert len(calls) == 2


def test_what_was_used_least_lately_is_forgotten_beyond_the_limit():
    shared = Shared(limit=2000)
    makers = {name: counted(np.zeros(100)) for name in "abc"}  # 800 bytes each
    for name in "abac":
        shared.once(name, makers[name][0])
    assert {name: len(calls) for name, (_, calls) in makers.items()} == {"a": 1, "b": 1, "c": 1}
    for name in "acb":
        shared.once(name, makers[name][0])
    assert {name: len(calls) for name, (_, calls) in makers.items()} == {"a": 1, "b": 2, "c": 1}


def test_a_value_beyond_the_limit_is_given_and_not_kept():
    shared = Shared(limit=100)
    make, calls = counted(torch.zeros(100))
    assert shared.once("large", make).shape == (100,)
    assert shared.once("large", make).shape == (100,)
    assert len(calls) == 2


def test_the_size_is_that_of_every_array_behind_a_value():
    rows = torch.zeros(10, dtype=torch.float64)

    def score(pairs):
        return rows[pairs]

    assert size_of([rows, {"x": np.zeros(5, np.float32)}, (rows,)]) == 80 + 20  # the same rows count once
    assert size_of(Record(rows, "r")) == 80
    assert size_of(score) == 80


def test_content_tells_shapes_kinds_and_values_apart():
    zeros = np.zeros((2, 3))
    others = [zeros.T, zeros.astype(np.float32), zeros + 1, torch.zeros(6), None, "0"]
    assert len({content(each) for each in (zeros, *others)}) == len(others) + 1
    assert content(torch.zeros(2, 3), 1) == content(torch.zeros(2, 3), 1) != content(torch.zeros(2, 3), 2)
    assert content(zeros.T) == content(np.ascontiguousarray(zeros.T))
