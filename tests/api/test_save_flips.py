"""Files of verified edits: off by default, plain arrays, the same bytes every time, part of the run's transaction."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import auditor
from auditor.data.edits import EdgeSpace
from auditor.errors import ConfigError
from auditor.runner.record import read_run
from auditor.targets.target import Target
from tests.toys import toy_target

PROBES = "structure-evasion,local-evasion:targets=5,feature-evasion,injection"
WHAT: dict[str, Any] = {"only": PROBES, "profile": "quick", "seeds": [0]}


@pytest.fixture(scope="module")
def target() -> Target:
    return toy_target()


@pytest.fixture(scope="module")
def saved(target: Target, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, auditor.Report]:
    out = tmp_path_factory.mktemp("saved")
    return out, auditor.audit(target, save_flips=True, out=out, formats=["markdown", "sarif"], **WHAT)


def files_of(report: auditor.Report) -> dict[str, str]:
    """Paths of the files by probe."""
    return {cell.probe.partition(":")[0]: cell.params["perturbations"]["file"] for cell in report.cells}


def arrays_of(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    return json.loads(arrays.pop("header").tobytes()), arrays


def test_every_cell_with_edits_has_a_file_of_plain_arrays(target: Target, saved: tuple[Path, auditor.Report]) -> None:
    out, report = saved
    space = EdgeSpace.of(target.graph)
    kinds = {
        "structure-evasion": {"keys"},
        "local-evasion": {"keys"},
        "feature-evasion": {"node", "column", "change"},
        "injection": {"x", "edges"},
    }
    assert set(files_of(report)) == set(kinds)
    for probe, name in files_of(report).items():
        header, arrays = arrays_of(out / name)
        assert (header["probe"], header["seed"], header["nodes"]) == (probe, 0, target.graph.num_nodes)
        assert header["graph"] == space.graph.digest()
        assert header["directed"] == space.directed
        assert header["points"]
        assert set(arrays) == {f"{kind}_{i}" for kind in kinds[probe] for i in range(len(header["points"]))}
        assert not {"random", "local-random", "feature-random"} & {point["attack"] for point in header["points"]}
    header, arrays = arrays_of(out / files_of(report)["structure-evasion"])
    for i, point in enumerate(header["points"]):
        keys = arrays[f"keys_{i}"]
        assert keys.dtype == np.int64
        assert 0 < len(np.unique(keys)) == len(keys) <= point["budget"]
    least = min(point["accuracy"] for point in header["points"])
    judged = [r for r in report.document.results if r.metric == "robust_accuracy" and r.probe == "structure-evasion"]
    assert least == pytest.approx(min(r.estimate.value for r in judged))


def test_the_row_names_the_file_and_its_digest_and_the_manifest_has_it(saved: tuple[Path, auditor.Report]) -> None:
    out, report = saved
    manifest = read_run(out)
    assert manifest is not None
    for cell in report.cells:
        said = cell.params["perturbations"]
        raw = (out / said["file"]).read_bytes()
        assert said["file"] == f"perturbations/{cell.key}.npz"
        assert said["sha256"] == hashlib.sha256(raw).hexdigest()
        assert said["file"] in manifest.files
        with zipfile.ZipFile(out / said["file"]) as archive:
            assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_second_run_writes_the_same_bytes(target: Target, saved: tuple[Path, auditor.Report], tmp_path: Path) -> None:
    out, report = saved
    auditor.audit(target, save_flips=True, out=tmp_path, **WHAT)
    for name in files_of(report).values():
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes()


def test_by_default_nothing_is_kept_and_keeping_changes_no_number(
    target: Target, saved: tuple[Path, auditor.Report], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    once = {**WHAT, "only": "injection"}
    auditor.audit(target, save_flips=True, out=tmp_path, **once)
    assert caplog.text.count("edits that name true edges of the graph") == 1
    (tmp_path / "perturbations" / "mine.txt").write_text("mine", encoding="utf-8")
    caplog.clear()
    plain = auditor.audit(target, out=tmp_path, **once)
    assert [path.name for path in (tmp_path / "perturbations").iterdir()] == ["mine.txt"]
    assert "true edges" not in caplog.text
    (cell,) = plain.cells
    assert "perturbations" not in cell.params
    kept = {result.fingerprint: result.estimate for result in saved[1].document.results}
    assert all(kept[result.fingerprint] == result.estimate for result in plain.document.results)
    assert cell.key not in {other.key for other in saved[1].cells}, (
        "a run that goes on takes no cell that lacks its file"
    )


def test_no_report_holds_an_edit(saved: tuple[Path, auditor.Report]) -> None:
    out, report = saved
    _, arrays = arrays_of(out / files_of(report)["structure-evasion"])
    keys = {str(key) for key in arrays["keys_0"].tolist() if key > 1000}
    assert keys
    for name in ("audit.json", "audit.md", "audit.sarif"):
        text = (out / name).read_text(encoding="utf-8")
        assert not {key for key in keys if f" {key}," in text or f"[{key}," in text}


def test_without_a_folder_it_is_refused(target: Target) -> None:
    with pytest.raises(ConfigError, match="save_flips came without a folder"):
        auditor.audit(target, save_flips=True, **WHAT)


def test_a_folder_of_edits_that_is_a_link_is_not_followed(target: Target, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "perturbations").symlink_to(elsewhere)
    with pytest.raises(auditor.errors.UsageError, match="is a link"):
        auditor.audit(target, save_flips=True, out=tmp_path / "out", **{**WHAT, "only": "injection"})
    assert not list(elsewhere.iterdir())
