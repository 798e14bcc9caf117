from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from auditor.errors import ConfigError, UsageError
from auditor.targets.config import (
    DataTable,
    TargetFile,
    TargetTable,
    TrainTable,
    parse_target_file,
    read_target_file,
    write_target_file,
)

BAD = [
    ({"target": {"wieghts": "m.safetensors"}}, '"wieghts"', 'Did you mean "weights"?'),
    ({"target": {"train": {"lerning_rate": 0.1}}}, "[target.train]", '"lerning_rate"'),
    ({"data": {"nmae": "cora"}}, "[data]", 'Did you mean "name"?'),
    ({"traget": {}}, 'unknown table "traget"', 'Did you mean "target"?'),
    ({"target": {"train": {"epochs": "200"}}}, "epochs is '200'", "expected a whole number"),
    ({"target": {"train": {"epochs": True}}}, "epochs is true", "expected a whole number"),
    ({"target": 3}, "target is 3", "expected a table"),
    ({"data": {"molecules": 1}}, "[data] molecules is 1", "expected true or false"),
    ({"data": {"node_fields": ["a", 1]}}, "node_fields is 1 in entry 2 of the list", "expected text in quotes"),
    ({"call": {"x": 1.5}}, "[call] x is 1.5", "expected text in quotes or a whole number"),
    ({"target": {"train": {"epochs": 0}}}, "epochs is 0", "greater than or equal to 1"),
    ({"target": {"train": {"lr": float("nan")}}}, "lr is nan", "finite"),
    ({"target": {"train": {"optimizer": "lbfgs"}}}, "optimizer is 'lbfgs'", "'adam' or 'sgd'"),
    ({"target": {"claimed_accuracy": 81.5}}, "claimed_accuracy is 81.5", "less than or equal to 1"),
    ({"target": {"sha256": "abc"}}, "sha256 is 'abc'", "match"),
    ({"target": {"trust_pickle": True}}, 'unknown key "trust_pickle"', "Known"),
    ({"data": {"name": "cora", "path": "g.npz"}}, "both name and path", "Remove"),
    ({"data": {"transform": "log"}}, "transform is 'log'", "'row-normalize'"),
]


@pytest.mark.parametrize(("document", "seen", "remedy"), BAD, ids=[b[1] for b in BAD])
def test_a_wrong_key_or_value_is_named_with_what_was_expected(document, seen, remedy) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_target_file(document, where="target.toml")
    message = str(caught.value)
    assert message.startswith("target.toml: ")
    assert seen in message
    assert remedy in message
    assert "pydantic" not in message
    assert caught.value.exit_code == 2


def test_written_tables_read_back_equal(tmp_path: Path) -> None:
    file = TargetFile(
        target=TargetTable(name="t", weights="w.safetensors", claimed_accuracy=0.5, train=TrainTable(seed=3)),
        model={"class": "GCN", "in_channels": 3, "dropout": 0.5},
        data=DataTable(name="cora", split="public", transform="row-normalize"),
    )
    write_target_file(tmp_path / "target.toml", file)
    assert read_target_file(tmp_path / "target.toml") == file


def test_pyproject_holds_the_same_tables_under_tool_auditor(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n[tool.auditor.data]\nname = "cora"\n')
    assert read_target_file(tmp_path / "pyproject.toml").data.name == "cora"


def test_tables_of_the_run_are_kept_for_whoever_reads_them() -> None:
    file = parse_target_file({"run": {"only": "graphmi"}, "suppress": [{"id": "x"}]}, where="audit.toml")
    assert file.run == {"only": "graphmi"}


@pytest.mark.parametrize("content", ["[target", "a = 'x", "\x00"])
def test_what_is_not_toml_is_a_config_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "target.toml").write_text(content)
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_target_file(tmp_path / "target.toml")


def test_a_missing_file_and_a_folder_are_usage_errors(tmp_path: Path) -> None:
    for path, word in ((tmp_path / "no.toml", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(UsageError, match=word):
            read_target_file(path)


def test_reading_tables_imports_no_torch() -> None:
    code = "import sys, auditor.targets.config, auditor.targets.table; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
