"""Models that the recipe trains anew: audited beside the target, joined over trainings, never mixed with it."""

from dataclasses import replace

import pytest

import auditor
from auditor.errors import ConfigError
from tests.toys import toy_target


@pytest.fixture(scope="module")
def target():
    return toy_target("gcn")


def test_new_trainings_are_an_arm_of_their_own(target):
    report = auditor.audit(target, only="strata", seeds=[0], training_seeds=3)
    found = {(each.arm, each.metric): each for each in report.document.results if each.judged}
    own, anew = found["none", "over_confidence"], found["recipe", "over_confidence"]
    assert len(own.by_seed) == 1
    assert [each.seed for each in anew.by_seed] == [0, 1, 2]
    assert anew.joined_by == "mean"
    values = {each.estimate.value for each in anew.by_seed}
    assert len(values) == 3  # three trainings, not one model three times
    for each in anew.by_seed:
        alone = auditor.audit(target.retrained(seed=each.seed), only="strata", seeds=[each.seed]).document.results
        (same,) = [result for result in alone if result.metric == "over_confidence"]
        assert same.estimate.value == pytest.approx(each.estimate.value)
    assert report.document.coverage.planned == len(report.document.cells) == 4
    assert "new trainings of its recipe" in report.summary()


def test_another_training_is_not_held_to_the_accuracy_that_the_target_is_claimed_to_have(target):
    claimed = replace(target, claimed_accuracy=target.accuracy())
    report = auditor.audit(claimed, only="strata", seeds=[0], training_seeds=3)
    assert report.verdict.exit_code == 0, report.summary()
    assert not [row.id for cell in report.cells for row in cell.validity if row.status == "fail"]


def test_a_training_that_breaks_leaves_the_target_its_numbers(target):
    class Broken:
        def describe(self):
            return {"seed": 0}

        def fit(self, graph, split, seed):
            raise RuntimeError(f"no luck with seed {seed}")

    report = auditor.audit(replace(target, recipe=Broken()), only="strata", seeds=[0], training_seeds=3)
    status = {(cell.arm, cell.seed): (cell.status, cell.reason) for cell in report.cells}
    assert status["none", 0][0] == "ok"
    for seed in (1, 2, 3):  # seed 0 is the target's own: it would be trained again
        assert status["recipe", seed] == (
            "error",
            f"the recipe was not trained anew: RuntimeError: no luck with seed {seed}",
        )
    assert (report.verdict.status, report.verdict.exit_code) == ("INCOMPLETE", 3)


def test_too_few_trainings_say_nothing_of_a_recipe(target):
    with pytest.raises(ConfigError, match="at least 3"):
        auditor.audit(target, only="strata", training_seeds=2)


def test_without_a_recipe_nothing_can_be_trained_anew(target):
    with pytest.raises(ConfigError, match="cannot be trained anew"):
        auditor.audit(replace(target, recipe=None), only="strata", training_seeds=3)
