"""The table of data sets: complete, quick, and helpful about typing errors."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from auditor.data.catalogue import CATALOGUE, find
from auditor.data.sources import READERS, load_data
from auditor.errors import ConfigError, DataError

OWN_WAY = {"demo", "karate", "deeprobust", "rdkit", "synthetic"}


def test_ids_are_unique_and_lower_case() -> None:
    ids = [entry.id for entry in CATALOGUE]
    assert len(ids) == len(set(ids))
    assert all(id == id.lower() for id in ids)


def test_every_entry_has_a_reader_and_says_which_files_it_needs() -> None:
    for entry in CATALOGUE:
        assert entry.reader in READERS or entry.reader in OWN_WAY
        assert bool(entry.files) == (entry.reader not in {"demo", "karate", "deeprobust", "synthetic"})
        assert entry.summary


def test_the_table_imports_neither_torch_nor_numpy() -> None:
    code = "import sys, auditor.data.catalogue; print(sorted({'torch', 'torch_geometric', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_set_of_the_index_is_known(data_root: Path) -> None:
    index = tomllib.loads((data_root / "INDEX.toml").read_text())
    names = [entry["name"] for entry in index["dataset"]] + [f"deeprobust/{e['name']}" for e in index["deeprobust"]]
    assert {find(name).id for name in names} == set(names)


def test_names_are_found_in_any_case() -> None:
    assert find(" CiteSeer ").id == "citeseer"


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(DataError, match='Did you mean "cora"'):
        load_data("corra")


def test_a_variant_of_a_set_without_variants_is_an_error() -> None:
    with pytest.raises(DataError, match="cora has no variants"):
        load_data("cora:metattack=0.25")


def test_a_set_that_needs_rdkit_says_so() -> None:
    with pytest.raises(DataError, match="rdkit"):
        load_data("hiv")


def test_an_unknown_transform_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match='Did you mean "row-normalize"'):
        load_data("demo", transform="row-normalise")
