"""A built wheel carries what an installation needs: packages, data, and the pages that `auditor explain` prints."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("auditor", "attacks", "defenses", "reports")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the working tree."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in (*PACKAGES, "docs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(folder), str(source)]
    try:
        import setuptools  # noqa: F401

        command.insert(4, "--no-build-isolation")
    except ImportError:
        pass  # pip fetches it, as for anybody who builds from source
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_every_page_is_where_explain_looks_for_it(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path)
    data = next(tmp_path.glob("*.data/data"))  # an installer puts this folder at the environment's prefix
    for page in (
        page for folder in ("probes", "defenses", "findings") for page in (ROOT / "docs" / folder).glob("*.md")
    ):
        installed = data / "share" / "gnn-auditor" / "docs" / page.parent.name / page.name
        assert installed.read_bytes() == page.read_bytes()
    assert not any(name.startswith("tests/") for name in names)
    # The unpacked packages and pages, in the layout of an environment, answer without the checkout.
    script = (
        "import sys, sysconfig; sysconfig.get_path = lambda name: sys.argv[1]; "
        "from auditor.cli import pages; print(pages.__file__); print(pages.page('findings', 'shift-gap'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(data)], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout.startswith(str(tmp_path)), done.stderr
    assert "# shift-gap" in done.stdout


@pytest.mark.slow
def test_every_module_and_data_file_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):
            if path.suffix in (".py", ".typed", ".npz", ".sha256", ".j2", ".css"):
                assert path.relative_to(ROOT).as_posix() in names


@pytest.mark.slow
def test_the_install_line_gives_a_program_that_answers(wheel: Path, tmp_path: Path) -> None:
    """An empty environment with this wheel alone; what it depends on is lent by the one that runs the test."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    python = tmp_path / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lent = {"PYTHONPATH": sysconfig.get_path("purelib"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    for words in (["--version"], ["list", "probes"], ["explain", "strata"]):
        done = subprocess.run(
            [python.with_name("auditor"), *words], cwd=tmp_path, capture_output=True, text=True, env=lent
        )
        assert done.returncode == 0, done.stderr
    place = "import auditor, attacks; print(auditor.__file__, attacks.__file__)"
    found = subprocess.run([python, "-c", place], cwd=tmp_path, capture_output=True, text=True, env=lent).stdout
    assert found.count(str(tmp_path / "env")) == 2
