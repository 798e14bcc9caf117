"""What must stay light, and what must not be shadowed: each in a process of its own."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import auditor

ROOT = Path(auditor.__file__).parents[1]
PLUGIN = "import pytest, auditor.errors; START = time.process_time(); import auditor.pytest_plugin"
HEAVY = "{'torch', 'torch_geometric', 'numpy', 'scipy', 'sklearn', 'pydantic', 'matplotlib'}"


def python(*words: str, cwd: Path, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=cwd, env=env, timeout=120)


@pytest.mark.parametrize(
    ("code", "seconds"),
    [
        ("import auditor", 0.1),
        (PLUGIN, 0.05),
    ],
)
def test_imports_are_light(code: str, seconds: float, tmp_path: Path) -> None:
    script = (
        f"import sys, time; START = time.process_time(); {code}; took = time.process_time() - START; "
        f"found = {HEAVY} & set(sys.modules); assert not found, found; assert took < {seconds}, took"
    )
    done = python("-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_help_imports_no_torch(tmp_path: Path) -> None:
    script = "import sys; from auditor.__main__ import run; run(['--help']); sys.exit('torch' in sys.modules)"
    assert python("-c", script, cwd=tmp_path).returncode == 0


def test_a_session_with_the_plugin_imports_no_torch(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it():\n    import sys\n    assert 'torch' not in sys.modules\n")
    done = python("-m", "pytest", "-q", "--auditor-profile", "quick", cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_unknown_names_are_attribute_errors() -> None:
    assert set(auditor.__all__) == set(dir(auditor))
    assert all(hasattr(auditor, name) for name in auditor.__all__)
    assert not hasattr(auditor, "audits")


@pytest.mark.parametrize("inside", ["raise RuntimeError('theirs ran')", ""])
def test_a_folder_that_shadows_our_attacks_is_an_error_with_both_paths(tmp_path: Path, inside: str) -> None:
    (tmp_path / "attacks").mkdir()
    (tmp_path / "attacks" / "__init__.py").write_text(inside)
    script = "from auditor import registry; registry.probes()"
    done = python("-c", script, cwd=tmp_path, path=os.pathsep.join((str(tmp_path), str(ROOT))))
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("auditor.errors.UsageError")
    assert str(tmp_path / "attacks") in last
    assert str(ROOT / "attacks") in last
    assert "-P" in last
    assert python("-P", "-c", script, cwd=tmp_path).returncode == 0


def taken(path: Path) -> Iterator[str]:
    """Names of what a module imports as soon as it is imported."""
    nodes = list(ast.parse(path.read_bytes()).body)
    while nodes:
        match nodes.pop():
            case ast.ImportFrom(module=str(module), names=names):
                yield from (module, *(f"{module}.{name.name}" for name in names))
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.If():  # run later, or for types alone
                pass
            case node:
                nodes += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


def test_a_worker_starts_without_what_takes_most_of_a_second() -> None:
    waiting, seen = ["auditor.runner.worker"], set()
    while waiting:
        name = waiting.pop()
        file = ROOT.joinpath(*name.split("."))
        own = next((path for path in (file.with_suffix(".py"), file / "__init__.py") if path.is_file()), None)
        if own is not None and name not in seen:
            waiting += taken(own)
        seen.add(name)
    assert "auditor.statistics.node_bootstrap" in seen
    assert {name for name in seen if name.startswith(("sklearn", "scipy.stats"))} == set()
