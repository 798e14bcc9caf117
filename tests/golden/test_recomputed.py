"""Numbers of a golden audit recomputed from outside: the documented rule of the random streams, NumPy and the model.

Nothing here draws or measures with the program's own code; see docs/methods/random-streams.md.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from auditor.__main__ import run
from auditor.targets.load import load_target
from auditor.targets.target import Target
from tests.golden import stored
from tests.golden.scenarios import EVASION, LINKS, TRAIN, nodes
from tests.golden.table import Row

Ints = NDArray[np.int64]
SEEDS = (0, 1, 2)
BUDGETS = ("0.05", "0.1")
DRAWS, NEGATIVES = 5, 300


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    """The target of the scenario `node`."""
    folder = tmp_path_factory.mktemp("recomputed")
    nodes(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(f"{TRAIN} --epochs 40 -o target".split()) == 0
    return load_target(folder / "target")


@pytest.mark.parametrize("seed", SEEDS)
def test_the_control_of_random_edits(target: Target, seed: int) -> None:
    x, y, test = target.graph.x, target.graph.y.numpy(), target.split.test.numpy()
    n, edges = target.graph.num_nodes, _edges(target)
    budgets = [max(1, int(float(eps) * len(edges) + 1e-9)) for eps in BUDGETS]
    rng, right = _generator(seed, "random"), np.zeros((DRAWS, len(BUDGETS)))
    for draw in range(DRAWS):
        flips = _distinct(rng.integers(0, n * (n - 1), 2 * max(budgets) + 16), n)
        for at, budget in enumerate(budgets):
            edited = edges ^ set(flips[:budget])
            ends = np.array(sorted(edited)).T
            arcs = torch.from_numpy(np.concatenate([ends, ends[::-1]], axis=1))
            with torch.no_grad():
                said = target.logits(x, arcs).argmax(dim=1).numpy()
            right[draw, at] = (said == y)[test].mean()
    evasion = f"{EVASION},eps=0.05/0.1".removeprefix("structure-evasion:").split(",")
    probe = f"structure-evasion:{','.join(sorted(evasion))}"
    known = [
        _stored(probe, seed, "robustness-structure", "robust_accuracy", f"eps={eps}")["controls"]["random"][0]
        for eps in BUDGETS
    ]
    np.testing.assert_allclose(right.mean(axis=0), known, rtol=0, atol=stored.OTHER_MACHINE)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_auc_of_sampled_non_edges(target: Target, seed: int) -> None:
    n, y, edges = target.graph.num_nodes, target.graph.y.numpy(), _edges(target)
    rng, found = _generator(0, "links", "pairs"), dict[tuple[int, int], None]()  # one draw for all seeds of a run
    while len(found) < NEGATIVES:
        count = int(1.2 * (NEGATIVES - len(found))) + 64
        u, v = rng.integers(0, n, count), rng.integers(0, n - 1, count)
        v = v + (v >= u)
        found |= {pair: None for pair in _pairs(u, v) if pair not in edges}
    positive, negative = np.array(sorted(edges)), np.array(list(found)[:NEGATIVES])
    answers = target.clean_logits().double().log_softmax(dim=1).numpy()
    alike = np.corrcoef(answers)
    same = (y[:, None] == y[None, :]).astype(float)
    row = _stored(LINKS, seed, "privacy-link-stealing", "auc", "prior")
    for scores, known in ((alike, row["value"][0]), (same, row["controls"]["labels"][0])):
        assert _auc(scores[tuple(positive.T)], scores[tuple(negative.T)]) == pytest.approx(
            known, abs=stored.OTHER_MACHINE
        )


def _generator(seed: int, method: str, *draw: str) -> np.random.Generator:
    """The rule: a stream depends on the seed, the method's fixed name and the draw's name, and on nothing else."""
    words = json.dumps([method, *draw]).encode()
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence([seed, int(hashlib.sha256(words).hexdigest(), 16)]))
    )


def _edges(target: Target) -> set[tuple[int, int]]:
    return set(_pairs(*target.graph.edge_index.numpy()))


def _pairs(u: Ints, v: Ints) -> list[tuple[int, int]]:
    return [(min(a, b), max(a, b)) for a, b in zip(u.tolist(), v.tolist(), strict=True)]


def _distinct(places: Ints, n: int) -> list[tuple[int, int]]:
    """Pairs at places in the list of ordered pairs without the diagonal, each once, in the order they came."""
    u, v = places // (n - 1), places % (n - 1)
    return list(dict.fromkeys(_pairs(u, v + (v >= u))))


def _auc(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Share of pairs of an edge and a non-edge in which the edge stands higher; ties count half."""
    apart = positive[:, None] - negative[None, :]
    return float(((apart > 0) + 0.5 * (apart == 0)).mean())


def _stored(probe: str, seed: int, *names: str) -> Row:
    _, rows = stored.read("node")
    return rows[" | ".join(("run", "number", "none", probe, str(seed), *names))]
