"""Mutated files of every kind are read or refused: nothing runs, nothing is an internal error, nothing takes long."""

from __future__ import annotations

import pickle
import resource
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from auditor.errors import AuditorError
from tests.hostile.corpus import Corpus, Payload
from tests.hostile.mutations import Still

SOME, MANY = 1_140, 11_400
SECONDS, MEGABYTES = 2.0, 1024


def fuzz(folder: Path, numbers: range) -> Counter[str]:
    """How each input ended: `read`, or the exit code; every other ending is a failure, told with its number."""
    corpus = Corpus(folder)
    corpus.prepare_splits()
    names = list(corpus.kinds)
    endings: Counter[str] = Counter()
    failures = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in numbers:
        name, rng = names[number % len(names)], Random(number)
        read = corpus.kinds[name](rng)
        start = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read()
            ending = "read"
        except AuditorError as error:
            ending = str(error.exit_code)
            if error.exit_code not in (2, 3, 4):
                failures.append(f"{number} {name}: exit code {error.exit_code}")
        except Exception:
            failures.append(f"{number} {name}: {traceback.format_exc(limit=-4)}")
            ending = "internal"
        if (seconds := time.process_time() - start) > SECONDS:
            failures.append(f"{number} {name}: {seconds:.1f} s")
        endings[f"{name}: {ending}"] += 1
    assert not failures, "\n".join(failures)
    assert not corpus.canary.exists(), "something in a file was executed"
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES
    return endings


def test_a_thousand_mutated_files(tmp_path: Path) -> None:
    endings = fuzz(tmp_path, range(SOME))
    assert sum(endings.values()) == SOME
    assert sum(n for name, n in endings.items() if not name.endswith(": read")) > SOME / 2, "mutations do harm"


@pytest.mark.slow
def test_ten_thousand_more(tmp_path: Path) -> None:
    fuzz(tmp_path, range(SOME, SOME + MANY))


def test_the_files_that_are_mutated_are_valid(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    corpus.prepare_splits()
    for name, make in corpus.kinds.items():
        if name != "graph.npy":  # which nothing reads
            make(Still())()


def test_the_canary_would_have_been_seen(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "canary")))
    assert (tmp_path / "canary").exists()
