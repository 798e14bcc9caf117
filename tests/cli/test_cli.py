"""The command line through a real process: exit codes, bad input, import budget."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from auditor.document import canonical, from_bytes, to_bytes
from tests.cli.program import auditor, inside
from tests.reports.samples import realistic

LINKS = "posterior-similarity:negatives=2000,replicates=50"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("target") / "demo-gcn"
    words = ("--data", "demo", "--arch", "gcn", "--hidden", "8", "--epochs", "60")
    done = inside("train", *words, "-o", folder, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    assert "test accuracy" in done.stdout
    assert "always the commonest class" in done.stdout
    return folder


def test_run_writes_document_and_page_and_ends_with_the_verdict(target: Path, tmp_path: Path) -> None:
    words = ("--only", f"{LINKS},strata", "--profile", "quick", "--jobs", "1")
    done = auditor("run", target, *words, "-o", tmp_path / "out")
    assert done.returncode in (0, 1), done.stderr
    audit = from_bytes((tmp_path / "out" / "audit.json").read_bytes())
    assert audit.verdict.exit_code == done.returncode
    assert {cell.status for cell in audit.cells} == {"ok"}
    assert audit.verdict.status in done.stdout.strip().splitlines()[-1]
    assert "<html" in (tmp_path / "out" / "audit.html").read_text()[:2000]
    assert done.stdout.isascii()
    assert "posterior-similarity" in done.stderr


def test_two_runs_agree_byte_for_byte_but_for_times(target: Path, tmp_path: Path) -> None:
    options = ("--only", LINKS, "--profile", "quick", "--seeds", "0")
    auditor("run", target, *options, "--jobs", "1", "-o", tmp_path / "a")
    inside("run", target, *options, "-o", tmp_path / "b", cwd=tmp_path)
    a, b = (from_bytes((tmp_path / name / "audit.json").read_bytes()) for name in ("a", "b"))
    assert canonical(a) == canonical(b)


def test_failed_gate_exits_1_and_0_with_exit_zero(target: Path, tmp_path: Path) -> None:
    options = ("--only", "structure-evasion:cycles=1,losses=tanh", "--profile", "quick", "--fail-on", "low")
    failed = inside("run", target, *options, cwd=tmp_path)
    shown = inside("run", target, *options, "--exit-zero", cwd=tmp_path)
    assert (failed.returncode, shown.returncode) == (1, 0), failed.stdout
    assert "FAILED" in failed.stdout
    assert "FAILED" in shown.stdout


def test_interrupted_run_exits_130_and_keeps_what_is_finished(target: Path, tmp_path: Path) -> None:
    words = ["run", target, "--only", "strata,structure-evasion", "--profile", "full", "--seeds", "0"]
    words += ["-o", tmp_path]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "auditor", *map(str, words)]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    # A suite started in the background inherits an ignored SIGINT, and so would the program.
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, text=True, env=env, preexec_fn=heeds, **pipes) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("[1/2]"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "STOPPED" in out
    assert "the same command goes on" in err
    assert not (tmp_path / "audit.json").exists()
    audit = from_bytes((tmp_path / "audit.partial.json").read_bytes())
    assert [cell.probe for cell in audit.cells] == ["strata"]


def test_report_renders_again_without_computing(target: Path, tmp_path: Path) -> None:
    inside("run", target, "--only", "strata", "--profile", "quick", "-o", tmp_path, cwd=tmp_path)
    page = tmp_path / "again.html"
    assert auditor("report", tmp_path / "audit.json", "--format", "html", "-o", page).returncode == 0
    assert page.read_bytes() == (tmp_path / "audit.html").read_bytes()
    assert "strata" in inside("report", tmp_path / "audit.json", "--verbose", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    "words",
    [
        ("report", "--format", "html", "-o", "audit.json"),
        ("report", "--format", "csv,json", "--exposed", "0", "-o", "."),
        ("report", "--format", "json", "-o", "link.json"),
        ("baseline", "write", "--reason", "x", "--expires", "2026-12-31", "--as-of", "2026-12-01", "-o", "audit.json"),
    ],
    ids=" ".join,
)
def test_nothing_is_written_over_the_document_that_is_read(tmp_path: Path, words: tuple[str, ...]) -> None:
    """What was measured is in that file alone."""
    path = tmp_path / "audit.json"
    path.write_bytes(to_bytes(realistic()))
    (tmp_path / "link.json").symlink_to(path)
    before, verb = path.read_bytes(), words.index(next(word for word in words if word.startswith("-")))
    done = inside(*words[:verb], "audit.json", *words[verb:], cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "would write over audit.json" in " ".join(done.stderr.split())
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["audit.json", "link.json"]


def test_a_place_that_cannot_be_looked_at_is_one_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_bytes(to_bytes(realistic()))
    done = inside("report", "audit.json", "--format", "html", "-o", "x" * 300, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "error: cannot write xxx" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--data", "demo", "-o", "t", "--epochs", "1000001"),
        *((*words, "--seed", str(2**31)) for words in (
            ("train", "--data", "demo", "-o", "t"), ("demo", "-o", "t"), ("split", "demo"),
            ("defend", ".", "--defense", "temperature", "-o", "t"), ("repair", ".", "-o", "t"),
            ("dp-claim", "--claim", "1", "--static", "q=1,sigma=1,steps=1"),
        )),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_number_that_is_too_large_for_its_option_is_refused_by_name(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = inside(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert f"Invalid value for '{words[-2]}'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_check_shows_validity_and_plan_and_runs_no_attack(target: Path, tmp_path: Path) -> None:
    done = inside("check", target, "--verbose", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "deterministic" in done.stdout
    assert "structure-evasion" in done.stdout
    assert "can be audited: 16 of 17 checks passed, 1 warns." in done.stdout.splitlines()[0]
    one = inside("check", target, "--only", "strata", "--seeds", "0", cwd=tmp_path).stdout
    assert "1 of 1 test would run, about 5.0 s of CPU time" in one


def _npz(path: Path, **changes: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.random((60, 64), dtype=np.float32),
        "edge_index": rng.integers(0, 60, (2, 150)),
        "y": np.arange(60) % 4,
    }
    np.savez(path, **{**arrays, **changes})
    return path


class Exploit:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch SENTINEL",)


def _with_data(target: Path, folder: Path, graph: Path) -> Path:
    text = (target / "target.toml").read_text()
    head, _, rest = text.partition("[data]")
    tail = "[" + rest.partition("\n[")[2] if "\n[" in rest else ""
    folder.mkdir()
    for name in ("model.safetensors", "model.ref.safetensors"):
        (folder / name).write_bytes((target / name).read_bytes())
    (folder / "target.toml").write_text(f'{head}[data]\npath = "{graph}"\nsplit = "random:0.6/0.2/0.2"\n\n{tail}')
    return folder


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": np.full((60, 64), np.nan, dtype=np.float32)}, "finite"),
        ({"x": np.zeros((60, 7), dtype=np.float32)}, "64"),
        ({"edge_index": np.array([[0, 60], [1, 2]])}, "0, 60)"),
        ({"edge_index": np.array([[0.5, 1.0], [1.0, 2.0]])}, "int64"),
        ({"y": np.arange(60) % 9}, "labels up to 8"),
    ],
)
def test_bad_graph_exits_2_in_words(target: Path, tmp_path: Path, changes: dict[str, np.ndarray], words: str) -> None:
    folder = _with_data(target, tmp_path / "t", _npz(tmp_path / "graph.npz", **changes))
    done = inside("run", folder, "--only", "strata", cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists(), "a request that is refused leaves nothing behind"


def test_pickled_module_is_refused_and_nothing_runs(target: Path, tmp_path: Path) -> None:
    folder = _with_data(target, tmp_path / "t", _npz(tmp_path / "graph.npz"))
    (folder / "model.safetensors").write_bytes(pickle.dumps(Exploit()))
    done = inside("run", folder, "--only", "strata", cwd=tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
    assert not (tmp_path / "SENTINEL").exists()
    torch.save(torch.nn.Linear(2, 2), folder / "model.safetensors")
    whole = inside("run", folder, "--only", "strata", cwd=tmp_path)
    assert whole.returncode == 4
    assert "safetensors" in whole.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "nowhere"), 2, "does not exist"),
        (("run", "TARGET", "--only", "grafmi"), 2, 'Did you mean "graphmi"'),
        (("run", "TARGET", "--only", "strata:colour=2"), 2, "no parameter"),
        (("run", "TARGET", "--only", "structure-evasion:eps=2"), 2, "eps=2"),
        (("run", "TARGET", "--profile", "quik"), 2, "quick"),
        (("run", "TARGET", "--seeds", "0,0"), 2, "distinct"),
        (("run", "TARGET", "--policy", "stric"), 2, "strict"),
        (("run", "TARGET", "--format", "pdf", "-o", "out"), 2, "pdf"),
        (("run", "TARGET", "--threads", "0"), 2, "threads"),
        (("train", "--data", "corra", "-o", "out"), 2, "cora"),
        (("defend", "TARGET", "--defense", "l2r:mode=haed", "-o", "out"), 2, "head"),
        (("compare", "TARGET", "-o", "out"), 2, "no defence was named"),
        (("train", "--data", "demo", "--arch", "gcnn", "-o", "out"), 2, "gcn"),
        (("train", "--data", "demo", "--split", "per-clas:3", "-o", "out"), 2, "per-class"),
        (("report", "missing.json"), 2, "missing.json"),
        (("list", "probs"), 2, "probes"),
        (("explain", "grafmi"), 2, "graphmi"),
        (("frobnicate",), 2, "frobnicate"),
    ],
)
def test_wrong_input_exits_2_and_helps(
    target: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = inside(*(str(target) if word == "TARGET" else word for word in arguments), cwd=tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_key_in_target_toml_offers_the_nearest(target: Path, tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    for file in target.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    text = (folder / "target.toml").read_text().replace("hidden_channels", "hiden_channels")
    (folder / "target.toml").write_text(text)
    done = inside("run", folder, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "hiden_channels" in done.stderr
    assert "hidden_channels" in done.stderr


def test_skipped_probe_asked_for_by_name_is_no_verdict(data_root: Path, tmp_path: Path) -> None:
    root = ("--data-root", data_root)
    train = ("train", "--data", "tu_mutag", "--arch", "gin", "--epochs", "5")
    inside(*train, "-o", tmp_path / "t", *root, cwd=tmp_path)
    done = inside("run", tmp_path / "t", "--only", "graphmi", "--profile", "quick", *root, cwd=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "node classifiers" in done.stdout


@pytest.mark.parametrize(
    "words", ["--help", "list probes", "list data", "list findings", "list schema", "explain graphmi", "run --help"]
)
def test_light_verbs_import_no_torch(words: str) -> None:
    heavy = {"torch", "torch_geometric", "sklearn", "matplotlib", "numpy", "scipy"}
    if words != "list schema":  # the document itself
        heavy |= {"auditor.document", "auditor.targets.config"}
    done, modules = _modules_after(*words.split())
    assert done.returncode == 0, done.stderr
    assert heavy & modules == set()


@pytest.mark.parametrize("verb", ["gate", "report", "diff"])
def test_verbs_that_measure_nothing_import_nothing_that_measures(verb: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    path.write_bytes(to_bytes(realistic()))
    done, modules = _modules_after(verb, *[str(path)] * (2 if verb == "diff" else 1))
    assert done.returncode == (1 if verb == "gate" else 0), done.stderr
    heavy = {"torch", "torch_geometric", "sklearn", "matplotlib", "networkx", "scipy.stats", "scipy.optimize", "jinja2"}
    assert heavy & modules == set()
    assert not any(
        name.startswith(("auditor.runner", "auditor.evaluate", "attacks.", "auditor.data")) for name in modules
    )


def _modules_after(*words: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """What a command line did, and the modules that its process had imported."""
    code = (
        "import sys; from auditor.__main__ import run; code = run(sys.argv[1:]); "
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    return done, set(done.stderr.strip().rpartition("\n")[2].split())


def test_defended_target_is_saved_loaded_and_audited_like_any_other(target: Path, tmp_path: Path) -> None:
    done = inside("defend", target, "--defense", "uniform-refit", "-o", tmp_path / "defended", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "before" in done.stdout
    assert "no formal guarantee" in done.stdout
    assert "2 of 2 checks passed" in done.stdout
    options = ("--only", "strata", "--profile", "quick", "-o", tmp_path / "out")
    audited = inside("run", tmp_path / "defended", *options, cwd=tmp_path)
    assert audited.returncode in (0, 1), audited.stderr
    audit = from_bytes((tmp_path / "out" / "audit.json").read_bytes())
    assert {row.id: row.status for row in audit.validity}["clean-accuracy"] == "pass"
    text = (tmp_path / "defended" / "target.toml").read_text()
    (tmp_path / "defended" / "target.toml").write_text(text.replace('version = "1"', 'version = "99"'))
    refused = inside("check", tmp_path / "defended", cwd=tmp_path)
    assert refused.returncode == 4
    assert "99" in refused.stderr


def test_compare_ends_with_a_comparison(target: Path, tmp_path: Path) -> None:
    options = ("--defense", "l2r", "--only", "strata", "--profile", "quick", "--seeds", "0,1")
    done = inside("compare", target, *options, "-o", tmp_path, cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    audit = from_bytes((tmp_path / "audit.json").read_bytes())
    assert audit.comparison is not None
    assert [arm.arm for arm in audit.comparison.arms] == ["none", "l2r", "uniform-refit", "random-weights"]
    assert audit.coverage.ok == audit.coverage.planned == 2 * 4 * 2
    (decision,) = audit.comparison.arms[1].decisions
    assert "over-items" in {code.code for code in decision.codes}


def test_schema_is_json() -> None:
    assert json.loads(auditor("list", "schema").stdout)["title"] == "Audit"


def test_folder_with_an_attacks_package_does_not_shadow_ours(tmp_path: Path) -> None:
    (tmp_path / "attacks").mkdir()
    (tmp_path / "attacks" / "__init__.py").write_text("raise RuntimeError('theirs')")
    done = auditor("list", "probes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
