"""Fixtures: the tables of this session, and their comparison with what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.golden import stored
from tests.golden.running import Tables


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tables]:
    with Tables(tmp_path_factory.mktemp("golden")) as made:
        yield made


@pytest.fixture
def agrees(tables: Tables, capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Fails with the first differences between a scenario as it runs now and as it is stored."""

    def check(name: str) -> None:
        machine, old = stored.read(name)
        own, within = stored.machine(), stored.SAME_MACHINE
        if own != machine:
            within = stored.OTHER_MACHINE
            with capsys.disabled():
                print(f"\n{name}: stored with {machine}, this is {own}: compared within {within:g}")  # noqa: T201
        found = stored.differences(old, tables.of(name), within)
        if found:
            shown = "\n".join(found[: stored.SHOWN])
            pytest.fail(
                f"{name}: {len(found)} values differ (within {within:g}), stored -> now:\n{shown}", pytrace=False
            )

    return check
