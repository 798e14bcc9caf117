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
        own, new = stored.machine(), tables.of(name)
        if own == machine:
            found = stored.differences(old, new, stored.SAME_MACHINE)
        else:
            with capsys.disabled():
                print(f"\n{name}: stored with {machine}, this is {own}: compared as on another machine")  # noqa: T201
            found = stored.differences_elsewhere(old, new)
        if found:
            shown = "\n".join(found[: stored.SHOWN])
            pytest.fail(f"{name}: {len(found)} values differ, stored -> now:\n{shown}", pytrace=False)

    return check
