"""The conformance table: what becomes of every shape that public models have. See tests/targets/shapes."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import pytest

from auditor.document import ValidityRow
from auditor.runner.describe import check_validity
from auditor.targets.load import load_target
from auditor.targets.target import Target
from tests.cli.program import inside
from tests.targets.shapes import SHAPES, SILENT, Built, Refused, Shape, Unknown, Works, build


class Table:
    """Projects and what the program says of them, each made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: dict[str, Built] = {}
        self._seen: dict[str, Seen] = {}

    def built(self, shape: Shape) -> Built:
        """The project folder of a shape."""
        if shape.needs is not None and importlib.util.find_spec(shape.needs) is None:
            pytest.skip(f"no {shape.needs} here")
        if shape.id not in self._built:
            self._built[shape.id] = build(shape, self._folder / shape.id)
        return self._built[shape.id]

    def seen(self, shape: Shape) -> Seen:
        """What `auditor check` says of it, and the target itself where it loads."""
        folder = self.built(shape).folder
        if shape.id not in self._seen:
            done = inside("check", ".", "--only", "strata", "--profile", "quick", *shape.flags, cwd=folder)
            said, target, rows = " ".join((done.stdout + done.stderr).split()), None, ()
            if done.returncode in (0, 3) and "internal error" not in said:
                target = load_target(folder, trust_pickle="--trust-pickle" in shape.flags)
                rows = check_validity(target, ())
            self._seen[shape.id] = Seen(done.returncode, said, target, rows)
        return self._seen[shape.id]


@dataclass(frozen=True)
class Seen:
    """An exit code, everything printed, and what was loaded."""

    code: int
    said: str
    target: Target | None
    rows: tuple[ValidityRow, ...]

    @property
    def right(self) -> int | None:
        """Test items that the program counts as right; None where it names no accuracy."""
        if self.target is None or not getattr(self.target.split, "is_known", True):
            return None
        correct = self.target.task.correct(self.target.clean_logits(), self.target.graph.y)
        return int(correct[self.target.split.test].sum())

    def failing(self) -> set[str]:
        """Integrity rows that fail."""
        return {row.id for row in self.rows if row.kind == "integrity" and row.status == "fail"}

    def words(self) -> str:
        """All that is said: printed, in the rows, and of the call."""
        call = "" if self.target is None else str(self.target.provenance.get("call", ""))
        return " ".join([self.said, *(row.evidence for row in self.rows), call])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return Table(tmp_path_factory.mktemp("shapes"))


@pytest.mark.parametrize("id_", SHAPES)
def test_every_shape_works_or_is_refused_by_name(id_: str, table: Table) -> None:
    shape = SHAPES[id_]
    seen = table.seen(shape)
    assert "internal error" not in seen.said
    match shape.must:
        case Refused() as must:
            _refused(must, seen)
        case Unknown() as must:
            _unknown(must, seen, table.built(shape))
        case Works() as must:
            _works(must, seen, table.built(shape))


def missing(words: tuple[str, ...], text: str) -> list[str]:
    """Those of `words` that `text` does not hold."""
    return [word for word in words if word.casefold() not in text.casefold()]


def _refused(must: Refused, seen: Seen) -> None:
    assert seen.code in must.codes, seen.said
    assert not missing(must.says, seen.said), seen.said


def _unknown(must: Unknown, seen: Seen, built: Built) -> None:
    assert seen.code in (0, 3), seen.said
    assert seen.right is None
    done = inside("run", ".", "--only", "strata", "--profile", "quick", "--seeds", "0", "-o", "out", cwd=built.folder)
    assert done.returncode == 3, done.stdout + done.stderr
    said = " ".join((done.stdout + done.stderr).split())
    assert not missing(must.says, said), said


def _works(must: Works, seen: Seen, built: Built) -> None:
    assert seen.target is not None, seen.said
    failing = seen.failing()
    assert set(must.fails) <= failing <= {*must.fails, *must.explained}
    assert seen.code == (3 if failing else 0), seen.said
    warned = {row.id for row in seen.rows if row.status == "warn"}
    assert set(must.warns) <= warned
    assert not missing(must.says, seen.words()), seen.words()
    if must.fixed_nodes:
        assert "row per node" in seen.words()
    if must.counts:
        assert (seen.right, seen.target.split.sizes[2]) == (built.right, built.tested)
        assert seen.target.accuracy() == pytest.approx(built.accuracy, abs=1e-12)


@pytest.mark.parametrize("id_", SILENT)
def test_a_number_is_the_truth_or_there_is_none(id_: str, table: Table) -> None:
    shape = SHAPES[id_]
    seen, built = table.seen(shape), table.built(shape)
    if seen.code == 0 and seen.right is not None:
        assert seen.target is not None
        assert seen.target.accuracy() == pytest.approx(built.accuracy, abs=1e-12)


@pytest.mark.parametrize("id_", [id_ for id_, shape in SHAPES.items() if shape.steps])
def test_the_training_script_measures_something_that_could_be_missed(id_: str, table: Table) -> None:
    built = table.built(SHAPES[id_])
    assert 1 / built.tested < 1 - built.accuracy  # not so easy that any way to call it is right
    for name, accuracy in built.decoys.items():
        assert abs(accuracy - built.accuracy) > 1 / built.tested, name


def test_every_row_of_the_table_is_there() -> None:
    assert {shape.number for shape in SHAPES.values()} == set(range(1, 54))
