"""Random streams: the same words give the same draws for ever, other words others."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from auditor.statistics import draws

STORED = {"integer": 1225997007, "numpy": [240, 599, 404, 619], "torch": [487, 248, 202, 683]}


def test_a_stream_follows_from_seed_method_and_draw_alone() -> None:
    """Recomputed from the definition: SHA-256 of the words as JSON, beside the seed."""
    words = hashlib.sha256(b'["graphmi", "pairs", "prior"]').digest()
    expected = np.random.default_rng(np.random.SeedSequence([3, int.from_bytes(words, "big")]))
    assert np.array_equal(draws.generator(3, "graphmi", "pairs", "prior").random(5), expected.random(5))


def test_stored_draws_do_not_move() -> None:
    assert draws.integer(0, "graphmi") == STORED["integer"]
    assert draws.generator(0, "graphmi", "pairs").integers(0, 1000, 4).tolist() == STORED["numpy"]
    words = torch.randint(1000, (4,), generator=draws.torch_generator(0, "graphmi", "pairs"))
    assert words.tolist() == STORED["torch"]


@pytest.mark.parametrize("make", [draws.generator, draws.sequence, draws.torch_generator, draws.integer])
def test_no_global_seed_is_touched(make) -> None:
    numpy_before, torch_before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    make(5, "method", "draw")
    assert np.array_equal(np.random.get_state()[1], numpy_before[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


def test_every_word_counts_and_none_runs_into_the_next() -> None:
    words = [
        (0, "a"),
        (1, "a"),
        (0, "b"),
        (0, "a", "b"),
        (0, "a", "b", "c"),
        (0, "a", "bc"),
        (0, "ab"),
        (0, "a", ""),
        (0, 'a", "b'),
    ]
    assert len({draws.integer(*each) for each in words}) == len(words)


def test_whole_numbers_fit_a_signed_32_bit_seed() -> None:
    found = [draws.integer(seed, "method") for seed in range(300)]
    assert min(found) >= 0
    assert max(found) < 2**31
    assert np.mean(found) == pytest.approx(2**30, rel=0.1)
