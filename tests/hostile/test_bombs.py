"""Small files that ask for gigabytes or for ever: refused by name, with the code of their role, in time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SECONDS, MEGABYTES = 2.0, 1024
FOUR = ("weights", "reference")  # roles of model files; every other is data or configuration
READ = ("graph.pt a list of lists", "graph.pt words")  # no tensors nor numbers: noted, and not passed on
WORDS = {
    "graph.pt repeated": "reaches beyond the numbers",
    "graph.pt repeated field": "again and again",
    "graph.pt counted nodes": "holds a row for none",
    "graph.pt sparse features": "would take 160000000000 bytes",
    "graph.pt one graph again and again": "z of its 20000 graphs would take",
    "graph.pt many fields": "5003 fields; expected at most 1000",
    "weights one again and again": "names 3000000000 bytes of weights",
    "graph.pt pointer": "ptr is",
    "graph.pt labels": "expected class indices below 65536",
    "graph.npz speaks of 256 GB": "256000000000 bytes",
    "graph.npz zeros": "would take",
    "graph.npz packed twice as hard": "unusual way",
    "graph.npz true rows": "the shape (True, 64)",
    "graph.npz sparse features": "would take 24000000000 bytes",
    "graph.npz rows below zero": "pointers do not rise",
    "weights many repeated": "again and again",
    "weights many state dicts": "more than 200 state dicts",
    "weights hole": "the rest is a hole",
    "weights hole that is spoken of": "the rest is a hole",
    "reference infinite": "NaN or infinity",
    "reference without a row": "a row for each node",
    "reference of words": "floating numbers",
    "toml dotted key": "nested deeper than 16",
    "toml dotted header": "nested deeper than 16",
    "toml braces": "nested deeper than 16",
    "toml long key": "has 100000 characters",
    "toml threads": "threads is 100000000; expected at least 1 and at most",
    "toml model layers": "num_layers is 1000000; expected at most 1000",
    "toml model width": "hidden_channels is 1000000000; expected at most 65536",
    "toml model width within the limit": "[model] builds weights of",
    "text features": "would take",
    "text node labels": "would take",
    "audit is a zero": "it is a device",
    "graph.npz is a pipe": "it is a named pipe",
    "weights is a socket": "it is a socket",
    "csv is a folder": "it is a folder",
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What reading each did, by name."""
    folder = tmp_path_factory.mktemp("bombs")
    command = [sys.executable, "-W", "ignore", "-m", "tests.hostile.bombs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr
    return {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}


def test_each_is_refused_within_time_and_memory(outcomes: dict[str, dict[str, Any]]) -> None:
    assert len(outcomes) > 90
    for name, found in outcomes.items():
        assert found["code"] == (0 if name in READ else 4 if name.startswith(FOUR) else 2), (name, found)
        assert found["seconds"] <= SECONDS, (name, found)
        assert found["megabytes"] <= MEGABYTES, (name, found)
        assert name in READ or any(words in found["said"] for words in ("xpected", "is not valid TOML", "should be")), (
            name,
            found,
        )


@pytest.mark.parametrize("name", WORDS)
def test_the_message_names_what_came(name: str, outcomes: dict[str, dict[str, Any]]) -> None:
    assert WORDS[name] in outcomes[name]["said"]
