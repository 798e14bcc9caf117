"""Folders that are named by the user."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from auditor.api.files import check_folder, prepare_folder
from auditor.errors import UsageError


def test_many_may_try_one_folder_at_the_same_time(tmp_path: Path) -> None:
    refused: list[UsageError] = []

    def tries() -> None:
        try:
            for _ in range(200):
                check_folder(tmp_path / "out")
        except UsageError as error:
            refused.append(error)

    threads = [threading.Thread(target=tries) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not refused
    assert not list(tmp_path.iterdir())


def test_what_lies_in_the_folder_stays(tmp_path: Path) -> None:
    for name in (".auditor-write-test", "notes.txt"):
        (tmp_path / name).write_text("mine")
    prepare_folder(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        ".auditor-write-test": "mine",
        "notes.txt": "mine",
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot write to"):
        prepare_folder(tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="cannot write to"):
        prepare_folder(tmp_path / "out")
