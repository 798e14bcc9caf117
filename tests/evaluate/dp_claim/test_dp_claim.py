"""`dp-claim` end to end on toy mechanisms of known epsilon: order of the protocol, verdict words, false alarms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from auditor.compare.arms import make_defense
from auditor.defense import DefenseTask
from auditor.document import Audit, Result, canonical, from_bytes, to_bytes
from auditor.document.codes import PowerOnly
from auditor.document.facts import ClaimFacts
from auditor.errors import ConfigError
from auditor.evaluate.dp_claim.question import Question
from auditor.evaluate.dp_claim.runs import SubjectRuns
from auditor.evaluate.dp_claim.subject import Work
from auditor.evaluate.dp_claim.user_function import load_function
from auditor.runner.asked import Asked
from auditor.runner.claiming import Refused, ask_defense, ask_function, ask_parameters, ask_scores
from auditor.runner.execute import TrainedCache
from auditor.runner.record import Claimed
from auditor.targets.target import Target
from tests.evaluate.dp_claim.claims import Flips, Sums, claimed, settings
from tests.toys import sbm_graph, toy_target

NODES = toy_target(graph=sbm_graph(240), epochs=1)
GRAPHS = toy_target("graph-gin", epochs=1)


def no_tick(_fraction: float | None, _note: str) -> None:
    """No progress."""


def ask(target: Target, defense: Any, **asked: Any) -> Question:
    found = ask_defense(target, defense, Asked(**asked), models=TrainedCache(), tick=no_tick)
    assert isinstance(found, Question)
    return found


def audited(question: Question, target: Any, **how: Any) -> Audit:
    return claimed(question, target, settings(question.seeds), **how)


def judged(audit: Audit) -> Result:
    (result,) = audit.judged
    return result


def facts(audit: Audit) -> ClaimFacts:
    found = judged(audit).facts
    assert isinstance(found, ClaimFacts)
    return found


def word(audit: Audit) -> tuple[str, int]:
    return facts(audit).verdict, audit.verdict.exit_code


def why(audit: Audit) -> tuple[str, str]:
    return facts(audit).verdict, facts(audit).reason


def row(audit: Audit, name: str) -> str:
    return next(row.status for cell in audit.cells for row in cell.validity if row.id == name)


def flips(bug: float = 1.0, **asked: Any) -> Audit:
    values = {"claim": "4", "canaries": 10_000, **asked}
    return audited(ask(NODES, Flips(4.0, bug), **values), NODES)


def test_honest_randomised_response_is_consistent() -> None:
    audit = flips()
    assert word(audit) == ("CONSISTENT", 0)
    result = judged(audit)
    own, twin = result.estimate, result.control
    assert (result.metric, result.unit, result.question) == ("epsilon_lower", "epsilon", "claim")
    assert own.value == pytest.approx(4, abs=0.2)
    assert own.hi is None
    assert own.lo is not None
    assert own.lo < own.value
    assert twin is not None
    assert twin.estimate.value == pytest.approx(4.7, abs=0.3)
    assert twin.contrast is None
    assert own.n == 10_000
    assert result.limit is not None
    assert result.limit.value == 4
    assert result.access == ("released",)
    assert result.judgement is not None
    assert result.judgement.status == "pass"
    found = facts(audit)
    assert (found.size, found.unit, found.alpha) == (10_000, "canaries", 1e-3)
    decides, beside = found.bounds
    assert (decides.judged, decides.test, decides.guesses, decides.rejected) == (True, "one-run", 10_000, False)
    assert (decides.lower, decides.lower_95, decides.twin_lower_95) == (own.lo, own.value, twin.estimate.value)
    assert decides.needed is not None
    assert decides.right < decides.needed <= 10_000
    assert (beside.judged, beside.test, beside.needed, beside.twin_lower_95) == (False, "A", None, None)
    assert (row(audit, "reach"), row(audit, "preregistered"), row(audit, "delta-below-1/N")) == ("pass", "pass", "pass")


@pytest.mark.parametrize("bug", [0.5, 0.042])
def test_too_few_flips_are_violated(bug: float) -> None:
    """Half the flip probability is epsilon 4.7; the flip probability of twice the budget (7.16) is .042 of it."""
    audit = flips(bug)
    assert word(audit) == ("VIOLATED", 1)
    assert facts(audit).reason == "audit"
    assert any(bound.rejected and bound.lower > 4 for bound in facts(audit).bounds)
    judgement = judged(audit).judgement
    assert judgement is not None
    assert judgement.severity == "critical"


def test_few_canaries_are_underpowered_before_anything_runs() -> None:
    question = ask(NODES, Untouchable(4.0), claim="4", canaries=100)
    audit = audited(question, NODES)
    assert word(audit) == ("UNDERPOWERED", 3)
    assert (facts(audit).reason, facts(audit).bounds) == ("ceiling", ())
    assert (facts(audit).enough, facts(audit).size) == (381, 100)
    assert judged(audit).estimate.value is None
    assert audited(question, NODES, allow_inconclusive=True).verdict.exit_code == 0


def test_a_blind_audit_is_underpowered_by_its_own_twin() -> None:
    audit = flips(canaries=400)
    assert word(audit) == ("UNDERPOWERED", 3)
    assert facts(audit).reason == "reach"
    assert row(audit, "reach") == "warn"


@dataclass(frozen=True)
class Untouchable(Flips):
    """Nothing of it may run."""

    def released_scores(self, target: Target, pairs: Tensor, task: DefenseTask) -> Tensor:
        raise AssertionError("it was run")


def test_a_claim_below_the_own_parameters_is_violated_without_a_run() -> None:
    audit = audited(ask(NODES, Untouchable(4.0), claim="3.9", canaries=10_000), NODES)
    assert word(audit) == ("VIOLATED", 1)
    assert facts(audit).reason == "accounting"
    account = facts(audit).account
    assert account is not None
    assert account.epsilon == judged(audit).estimate.value == pytest.approx(4)
    assert account.parameters == {"flip_probability": Flips(4.0).p}
    assert judged(audit).metric == "epsilon_recomputed"


def test_power_only_stops_before_the_run_and_judges_nothing() -> None:
    audit = audited(ask(NODES, Untouchable(4.0), claim="4", canaries=10_000), NODES, power_only=True)
    assert audit.cells[0].status == "skipped"
    assert audit.cells[0].params["power"]["possible"] is True
    assert audit.cells[0].params["account"]["epsilon"] == pytest.approx(4)
    assert audit.cells[0].params["mechanism"]["epsilon"] == 4
    assert (audit.verdict.status, audit.verdict.exit_code) == ("INCOMPLETE", 0)
    assert audit.verdict.codes == (PowerOnly(possible=True),)
    assert audit.results == ()


def test_power_only_exits_3_where_no_audit_by_the_plan_could_refute_the_claim() -> None:
    question = ask(NODES, Untouchable(4.0), claim="4", canaries=20)
    blind = audited(question, NODES, power_only=True).verdict
    assert (blind.status, blind.exit_code, blind.codes) == ("INCOMPLETE", 3, (PowerOnly(possible=False),))
    assert audited(question, NODES, power_only=True, allow_inconclusive=True).verdict.exit_code == 0


def test_the_document_with_the_plan_exists_before_the_first_score() -> None:
    order: list[str] = []

    @dataclass(frozen=True)
    class Watched(Flips):
        def released_scores(self, target: Target, pairs: Tensor, task: DefenseTask) -> Tensor:
            order.append("run")
            return Flips.released_scores(self, target, pairs, task)

    documents: list[Audit] = []

    def write(audit: Audit) -> None:
        order.append("written")
        documents.append(audit)

    question = ask(NODES, Watched(4.0), claim="4", canaries=1000)
    final = claimed(question, NODES, settings(), write=write)
    assert order == ["written", "run", "run"]
    read = from_bytes(to_bytes(documents[0]))
    assert read.results == ()
    before = read.cells[0].params
    assert before["preregistration"] == final.cells[0].params["preregistration"]
    assert before["preregistration"]["guess_sizes"] == [1000]
    assert len(before["preregistration"]["canary_digest"]) == 64
    assert before["preregistration"]["claim"]["epsilon"] == 4
    assert documents[0].verdict.exit_code == 3


def test_equal_runs_give_equal_documents() -> None:
    a, b = (flips(canaries=2000) for _ in range(2))
    assert canonical(a) == canonical(b)
    assert canonical(a) != canonical(flips(canaries=2000, seed=1))


@pytest.mark.parametrize(
    ("bug", "m", "expected"), [(1.0, 40_000, "CONSISTENT"), (0.5, 40_000, "VIOLATED"), (0.0, 800, "VIOLATED")]
)
def test_noisy_sums(bug: float, m: int, expected: str) -> None:
    audit = audited(ask(GRAPHS, Sums(1.0, bug), claim="1,1e-5", canaries=m, access="mechanism"), GRAPHS)
    assert word(audit)[0] == expected
    if bug == 0.5:
        assert {bound.test for bound in facts(audit).bounds if bound.rejected} == {"G"}


def test_repeats_share_alpha_and_the_worst_word_counts() -> None:
    question = ask(NODES, Flips(4.0), claim="4", canaries=10_000, runs=3, seed=5)
    audit = audited(question, NODES)
    assert [cell.seed for cell in audit.cells] == [5, 6, 7]
    assert audit.cells[0].params["preregistration"]["alpha_share"] == pytest.approx(1e-3 / 3)
    result = judged(audit)
    assert (result.seeds, result.joined_by, len(result.by_seed)) == ((5, 6, 7), "mean", 3)
    assert sorted({bound.seed for bound in facts(audit).bounds}) == [5, 6, 7]
    assert result.estimate.value == pytest.approx(sum(each.estimate.value or 0 for each in result.by_seed) / 3)


def test_multi_run_finds_missing_noise() -> None:
    values = {"claim": "1,1e-5", "mode": "multi-run", "runs": 60, "alpha": 0.05, "access": "mechanism"}
    assert word(audited(ask(GRAPHS, Sums(1.0, 0.05), **values), GRAPHS))[0] == "VIOLATED"
    honest = audited(ask(GRAPHS, Sums(1.0), **values), GRAPHS)
    assert word(honest)[0] == "UNDERPOWERED"


@pytest.mark.parametrize("alpha", [0.05, 1e-3])
def test_honest_mechanisms_are_seldom_violated(alpha: float) -> None:
    wrong = 0
    for seed in range(60):
        question = ask(NODES, Flips(4.0), claim="4", canaries=600, seed=seed, alpha=alpha)
        wrong += "VIOLATED" in word(audited(question, NODES))
    assert wrong <= 60 * alpha + 3 * (60 * alpha) ** 0.5 + (alpha < 0.01)


def test_a_mechanism_that_fails_is_an_error_row() -> None:
    @dataclass(frozen=True)
    class Fails(Flips):
        def released_scores(self, target: Target, pairs: Tensor, task: DefenseTask) -> Tensor:
            return torch.full((pairs.shape[1],), float("nan"))

    audit = audited(ask(NODES, Fails(4.0), claim="4", canaries=1000), NODES)
    assert audit.cells[0].status == "error"
    assert "not finite" in audit.cells[0].reason
    assert audit.verdict.exit_code == 3


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"claim": "4", "level": "node"}, "speaks of edge"),
        ({"claim": "4", "relation": "flip-arc"}, "speaks of flip-pair"),
        ({"claim": "4", "access": "mechanism"}, "can be released"),
        ({"claim": "4", "canaries": 10**7}, "room for"),
        ({"claim": "4", "canaries": 1}, "at least 2"),
        ({"claim": "4", "canaries": -3}, "at least 2"),
        ({"claim": "4,0.5"}, "below 1/100"),
        ({"claim": "4", "alpha": 0.0}, "--alpha"),
    ],
)
def test_claims_that_the_mechanism_does_not_make(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ask(NODES, Flips(4.0), **asked)


def test_gaussian_noise_without_delta_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no delta"):
        ask(GRAPHS, Sums(1.0), claim="1", access="mechanism")


def test_a_defence_without_a_claim_and_one_that_does_not_apply() -> None:
    with pytest.raises(ConfigError, match="no claim of differential privacy"):
        ask_defense(NODES, make_defense("l2r"), Asked("4"), models=TrainedCache(), tick=no_tick)
    refused = ask_defense(GRAPHS, make_defense("edge-rand"), Asked("4"), models=TrainedCache(), tick=no_tick)
    assert isinstance(refused, Refused)


def test_replace_is_not_tested_by_in_and_out() -> None:
    @dataclass(frozen=True)
    class Replaces(Sums):
        def planned(self, target: Target, task: DefenseTask) -> Any:
            return Sums.planned(self, target, task).model_copy(update={"relation": "replace"})

    with pytest.raises(ConfigError, match="under-tested"):
        ask(GRAPHS, Replaces(1.0), claim="1,1e-5", access="mechanism")


def test_static_parameters_alone() -> None:
    question, target = ask_parameters("q=0.0719,sigma=1,steps=700", Asked("1,1e-3", level="graph"))
    audit = audited(question, target)
    assert word(audit) == ("VIOLATED", 1)
    assert (judged(audit).seeds, judged(audit).access) == ("fixed", ())
    assert row(audit, "accountants-agree") == "pass"
    assert row(audit, "delta-below-1/N") == "not_checked"
    assert audit.target.nodes == 0
    true, target = ask_parameters("q=0.0719,sigma=1,steps=700,units=900", Asked("10.2,1e-3", level="graph"))
    audit = audited(true, target)
    assert why(audit) == ("UNDERPOWERED", "not-run")
    assert audit.verdict.exit_code == 3
    assert row(audit, "delta-below-1/N") == "pass"


def scores_file(path: Path, epsilon: float, twin: float | None) -> Path:
    rng = np.random.default_rng(0)
    bits = rng.random(5000) < 0.5
    p = 1 / (1 + np.exp(epsilon))
    arrays = {"bits": bits, "scores": bits ^ (rng.random(5000) < p)}
    if twin is not None:
        arrays |= {"twin_bits": bits, "twin_scores": bits ^ (rng.random(5000) < twin)}
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("epsilon", "twin", "expected"),
    [
        (2.0, 0.001, ("CONSISTENT", 0)),
        (2.0, None, ("UNDERPOWERED", 3)),
        (2.0, 0.3, ("UNDERPOWERED", 3)),
        (4.0, 0.001, ("VIOLATED", 1)),
        (4.0, None, ("VIOLATED", 1)),
    ],
)
def test_scores_of_your_own(tmp_path: Path, epsilon: float, twin: float | None, expected: tuple[str, int]) -> None:
    path = scores_file(tmp_path / "s.npz", epsilon, twin)
    question, target = ask_scores(path, Asked("2", level="edge"), None, power_only=False)
    audit = audited(question, target)
    assert word(audit) == expected
    assert row(audit, "preregistered") == "not_checked"
    assert row(audit, "reach") == {None: "not_checked", 0.3: "warn", 0.001: "pass"}[twin]


def test_scores_with_a_registration(tmp_path: Path) -> None:
    first, target = ask_scores(None, Asked("2", level="edge", canaries=5000), None, power_only=True)
    plan = audited(first, target, power_only=True)
    path = scores_file(tmp_path / "s.npz", 2.0, 0.001)
    question, target = ask_scores(path, Asked("2", level="edge"), plan, power_only=False)
    assert row(audited(question, target), "preregistered") == "pass"
    for other in (Asked("1.9", level="edge"), Asked("2", level="edge", alpha=0.05), Asked("2", level="graph")):
        with pytest.raises(ConfigError, match="not pre-registered"):
            ask_scores(path, other, plan, power_only=False)


FUNCTIONS = """
from dataclasses import replace
import torch
from torch import nn

class Table(nn.Module):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def forward(self, x, edge_index, edge_weight=None, batch=None):
        firsts = [int((batch == b).nonzero()[0]) for b in range(int(batch[-1]) + 1)]
        out = torch.zeros(len(firsts), 2)
        for row, first in enumerate(firsts):
            label = self.seen.get(x[first].numpy().tobytes())
            if label is not None:
                out[row, label] = 5.0
        return out

def learn(data, seed, noise=True):
    assert not hasattr(data, "canaries")
    seen = {}
    for item in data.split.train.nonzero().flatten().tolist():
        first = int((data.graph.batch == item).nonzero()[0])
        if not noise or torch.rand(()) < KEEP:
            seen[data.graph.x[first].numpy().tobytes()] = int(data.graph.y[item])
    return Table(seen)

def silent(data, seed):
    return learn(data, seed, noise=False)

def fails(data, seed):
    raise RuntimeError("no such luck")

def text(data, seed):
    return "a model"
"""


def function(tmp_path: Path, name: str, keep: float) -> Any:
    module = f"own_{tmp_path.name.replace('-', '_')}_{int(100 * keep)}"
    (tmp_path / f"{module}.py").write_text(FUNCTIONS.replace("KEEP", str(keep)))
    asked = Asked("1,1e-3", level="graph", canaries=400, alpha=0.05, seed=1)
    return ask_function(GRAPHS, f"{module}.py:{name}", asked, folder=tmp_path, tick=no_tick)


@pytest.mark.parametrize(
    ("name", "keep", "expected"),
    [
        ("learn", 0.3, ("CONSISTENT", 0)),
        ("learn", 1.0, ("VIOLATED", 1)),
        ("silent", 1.0, ("VIOLATED", 1)),
    ],
)
def test_a_training_function_of_your_own(tmp_path: Path, name: str, keep: float, expected: tuple[str, int]) -> None:
    assert word(audited(function(tmp_path, name, keep), GRAPHS)) == expected


def test_a_function_without_noise_has_no_reach(tmp_path: Path) -> None:
    question = function(tmp_path, "silent", 1.0)
    assert isinstance(question.runs, SubjectRuns)
    assert question.runs.subject.twin_scale is None


@pytest.mark.parametrize(("name", "words"), [("fails", "no such luck"), ("text", "returned a str")])
def test_a_function_that_fails_is_an_error_row(tmp_path: Path, name: str, words: str) -> None:
    audit = audited(function(tmp_path, name, 1.0), GRAPHS)
    assert audit.cells[0].status == "error"
    assert words in audit.cells[0].reason
    assert audit.verdict.exit_code == 3


@pytest.mark.parametrize("spec", ["nowhere", "none.py:fn", "no.such.module:fn", "own.py:lern", "own.py:1", "bad.py:fn"])
def test_functions_that_cannot_be_found(tmp_path: Path, spec: str) -> None:
    (tmp_path / "own.py").write_text("def learn(data, seed): ...\n")
    (tmp_path / "bad.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError, match="--train"):
        load_function(spec, tmp_path)


def test_the_caller_s_random_state_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    audited(function(tmp_path, "learn", 0.5), GRAPHS)
    assert torch.equal(torch.rand(4), expected)


def test_a_document_reads_back_with_its_facts() -> None:
    for audit in (flips(canaries=1000), flips(canaries=100)):
        assert from_bytes(to_bytes(audit)) == audit


def test_with_an_alpha_above_five_percent_the_interval_holds_its_value() -> None:
    audit = flips(canaries=2000, alpha=0.2)
    (bound,) = [bound for bound in facts(audit).bounds if bound.judged]
    assert bound.lower > bound.lower_95
    assert judged(audit).estimate.lo == judged(audit).estimate.value == bound.lower_95


def test_an_honest_pure_mechanism_keeps_a_claim_with_delta_too() -> None:
    """Test G would reject it at its own epsilon: randomised response has no Gaussian shape."""
    question = ask(NODES, make_defense("edge-rand:epsilon=4"), claim="4,1e-5", canaries=10_000)
    assert question.plan is not None
    assert question.plan.tests == ("A",)
    assert word(audited(question, NODES))[0] != "VIOLATED"


def test_replace_has_no_static_account() -> None:
    with pytest.raises(ConfigError, match="--relation replace costs more"):
        ask_parameters("q=.01,sigma=1,steps=1000", Asked("2,1e-5", level="graph", relation="replace"))


def test_answers_of_gap_come_from_its_cache_and_are_no_access() -> None:
    with pytest.raises(ConfigError, match="--access"):
        ask(NODES, make_defense("gap"), claim="4,1e-5", access="posteriors")


def test_edge_rand_without_a_flip_is_refused() -> None:
    make_defense("edge-rand:epsilon=36")
    with pytest.raises(ConfigError, match="true graph would be released"):
        make_defense("edge-rand:epsilon=800")


def test_an_audit_that_saw_scores_is_no_registration(tmp_path: Path) -> None:
    path = scores_file(tmp_path / "s.npz", 2.0, 0.001)
    question, target = ask_scores(path, Asked("2", level="edge"), None, power_only=False)
    seen = audited(question, target)
    with pytest.raises(ConfigError, match="seen scores"):
        ask_scores(path, Asked("2", level="edge"), seen, power_only=False)


def test_black_box_canaries_leave_delta_alone_and_the_document_says_what_ran() -> None:
    """Added graphs raise N: q, σ and T of the audited run follow, its (ε, δ) must stay the planned one."""
    question = ask(
        GRAPHS,
        make_defense("dp-graph:epsilon=0.9,epochs=1,batch=8"),
        claim="1,1e-3",
        access="posteriors",
        canaries=40,
        alpha=0.5,
    )
    assert question.planned is not None
    audit = audited(question, GRAPHS)
    ran = facts(audit).audited
    assert ran is not None
    assert ran.units > question.planned.units
    assert ran.delta == question.planned.delta
    sigma = next(result.estimate.value for result in audit.results if result.metric == "noise_sigma")
    assert sigma == ran.mechanism["sigma"] != question.planned.mechanism["sigma"]
    assert ran.mechanism["q"] == 8 / ran.units
    assert audit.cells[0].params["mechanism"]["units"] == question.planned.units


def test_an_account_of_the_whole_graph_is_judged_without_canaries() -> None:
    """There is no second graph to put in: arithmetic answers, whatever is claimed."""
    low = ask(NODES, make_defense("graphmi-noise"), claim="8,1e-5")
    assert low.plan is None
    assert word(audited(low, NODES)) == ("VIOLATED", 1)
    high = ask(NODES, make_defense("graphmi-noise"), claim="200000,1e-5")
    assert word(audited(high, NODES)) == ("UNDERPOWERED", 3)
    with pytest.raises(ConfigError, match="Leave out --access"):
        ask(NODES, make_defense("graphmi-noise"), claim="8,1e-5", canaries=7)


def test_other_scores_are_another_audit(tmp_path: Path) -> None:
    digests = set()
    for epsilon, twin in ((2.0, None), (1.9, None), (2.0, 0.001)):
        path = scores_file(tmp_path / "s.npz", epsilon, twin)
        question, target = ask_scores(path, Asked("2", level="edge"), None, power_only=False)
        (cell,) = audited(question, target).cells
        digests.add((target.digest, cell.key))
    assert len({digest for digest, _ in digests}) == len({key for _, key in digests}) == 3


@pytest.mark.parametrize(
    ("target", "spec", "asked"),
    [
        (NODES, "edge-rand:epsilon=4", {"claim": "4", "access": "released"}),
        (NODES, "edge-rand:epsilon=1", {"claim": "1", "access": "posteriors", "canaries": 70, "alpha": 0.5}),
        (GRAPHS, "dp-graph:epsilon=0.9,epochs=1,batch=8", {"claim": "1,1e-3", "access": "mechanism", "alpha": 0.5}),
    ],
)
def test_what_the_runs_will_take_is_said_before_them(target: Target, spec: str, asked: dict[str, Any]) -> None:
    said: list[Claimed] = []
    question = ask(target, make_defense(spec), **asked)
    audited(question, target, power_only=True, notify=said.append)
    (cost,) = said
    assert cost.runs == 2
    assert cost.seconds is not None
    assert cost.seconds > 0


def test_nobody_knows_what_a_function_takes(tmp_path: Path) -> None:
    said: list[Claimed] = []
    (tmp_path / "mine_cost.py").write_text("def train(data, seed, noise=True):\n    raise RuntimeError\n")
    question = ask_function(
        GRAPHS, "mine_cost:train", Asked("1", level="graph", canaries=40, alpha=0.2), folder=tmp_path, tick=no_tick
    )
    audited(question, GRAPHS, power_only=True, notify=said.append)
    assert [(cost.runs, cost.seconds) for cost in said] == [(2, None)]


def test_a_model_that_ignores_its_features_has_no_estimate() -> None:
    class ById(torch.nn.Module):
        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            return torch.zeros(len(x), 3)

    assert Work(10.0).seconds(replace(NODES, model=ById())) is None
    assert (Work(10.0).seconds(NODES) or 0.0) > 0
