"""The page in headless Chromium: nothing overflows, charts are visible, dark is dark, hostile names stay text."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reports.reading import rendered

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

AUDITS = ("realistic", "hostile", "several seeds", "claim", "comparison", "hostile comparison")
WIDTHS = (360, 400, 800, 1400)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        missing = "no chromium and chromedriver here"
        if os.environ.get("AUDITOR_REQUIRE_BROWSER"):
            pytest.fail(missing)
        pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync", f"user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    with webdriver.Chrome(options=options, service=service) as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    paths = {}
    for name in AUDITS:
        paths[name] = folder / f"{name.replace(' ', '-')}.html"
        paths[name].write_text(rendered("html", name), encoding="utf-8")
    return paths


def open_page(browser: Any, path: Path, *, width: int = 1400, dark: bool = False) -> None:
    """Loads the page in a viewport of exactly `width` CSS pixels."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    browser.get(path.as_uri())


@pytest.mark.parametrize("name", AUDITS)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows(browser: Any, pages: dict[str, Path], name: str, width: int) -> None:
    open_page(browser, pages[name], width=width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    inner, needed = browser.execute_script("return [window.innerWidth, document.documentElement.scrollWidth]")
    assert inner == width
    assert needed <= width
    wide = browser.execute_script(
        "return [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') && !e.closest('svg')"
        " && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert wide == []


@pytest.mark.parametrize("name", ["realistic", "comparison"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_charts_are_visible_and_legible(browser: Any, pages: dict[str, Path], dark: bool, name: str) -> None:
    open_page(browser, pages[name], width=400, dark=dark)
    charts = browser.execute_script(
        "return [...document.querySelectorAll('svg.chart')].map(s => {const b = s.getBoundingClientRect();"
        " const t = [...s.querySelectorAll('text')];"
        " return [b.width, b.height, t.length, getComputedStyle(t[0]).fill,"
        " Math.min(...t.map(e => e.getBoundingClientRect().height))]})"
    )
    assert len(charts) == 5
    background = browser.execute_script(
        "return getComputedStyle(document.querySelector('.card:not(.verdict)')).backgroundColor"
    )
    for width, height, words, fill, smallest in charts:
        assert width > 250
        assert height > 60
        assert words > 3
        assert abs(_brightness(fill) - _brightness(background)) > 80
        assert smallest >= 8


@pytest.mark.parametrize("name", ["realistic", "comparison", "hostile comparison"])
def test_text_in_charts_does_not_leave_the_chart(browser: Any, pages: dict[str, Path], name: str) -> None:
    open_page(browser, pages[name], width=1400)
    outside = browser.execute_script(
        "return [...document.querySelectorAll('svg.chart')].flatMap(s => {const b = s.getBoundingClientRect();"
        " return [...s.querySelectorAll('text')].filter(t => {const r = t.getBoundingClientRect();"
        " return r.left < b.left - 2 || r.right > b.right + 2 || r.top < b.top - 2 || r.bottom > b.bottom + 2})"
        ".map(t => t.textContent)})"
    )
    assert outside == []


def test_dark_scheme_is_dark(browser: Any, pages: dict[str, Path]) -> None:
    read = "return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    open_page(browser, pages["realistic"])
    light = [_brightness(color) for color in browser.execute_script(read)]
    open_page(browser, pages["realistic"], dark=True)
    dark = [_brightness(color) for color in browser.execute_script(read)]
    assert light[0] > 200 > 60 > light[1]
    assert dark[0] < 60 < 200 < dark[1]


@pytest.mark.parametrize("name", AUDITS)
def test_console_stays_silent_and_nothing_runs(browser: Any, pages: dict[str, Path], name: str) -> None:
    browser.get_log("browser")
    open_page(browser, pages[name])
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.scripts.length") == 0
    fetched = browser.execute_script("return performance.getEntriesByType('resource').length")
    assert fetched == 0


def test_hostile_name_is_the_heading_as_text(browser: Any, pages: dict[str, Path]) -> None:
    open_page(browser, pages["hostile"])
    heading = browser.execute_script("return document.querySelector('h1').textContent")
    assert "<script>alert(1)</script>" in heading
    assert browser.execute_script("return document.querySelectorAll('h1 *').length") == 0


def _brightness(color: str) -> float:
    channels = [float(c) for c in color[color.index("(") + 1 : -1].split(",")[:3]]
    return sum(channels) / 3
