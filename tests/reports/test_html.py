"""The page without a browser: no script, nothing fetched, colours by role only, every drawn number in a table."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from html.parser import HTMLParser

import pytest

from auditor.document import Curve, Series
from auditor.guarantee import Guarantee
from reports import views
from reports.html import pictures
from reports.html.charts import POINTS, number, series_drawing
from reports.html.report import HtmlReport, guarantee_facts
from reports.html.svg import ROLES, draw
from reports.sentences.compose import nearness
from tests.reports import samples
from tests.reports.compared import AUDITS
from tests.reports.reading import rendered

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Tags, ids, references and text of a page; checks that what opens is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._open.append(tag)
        self._seen(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._seen(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text.append(data)

    def _seen(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.references.append((value or "").removeprefix("#"))
            if name in ("aria-labelledby",):
                self.references += (value or "").split()
            self.references += re.findall(r"url\(#([^)]+)\)", value or "")


@pytest.fixture(scope="module", params=AUDITS)
def html(request: pytest.FixtureRequest) -> str:
    return rendered("html", request.param)


def test_no_script_and_nothing_fetched(html: str) -> None:
    page = Page(html)
    assert not page.tags["script"]
    assert not {"iframe", "object", "embed", "link", "img", "form", "base"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    for tag, name, value in page.attributes:
        if name in ("href", "src", "action", "data", "style", "content"):
            assert not re.search(r"(https?|ftp|javascript|data|file):(?!;|$)", value.replace("img-src data:", "")), (
                tag,
                value,
            )
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    assert "Content-Security-Policy" in html
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in html


def test_ids_are_unique_and_references_resolve(html: str) -> None:
    page = Page(html)
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []
    assert set(page.references) <= set(page.ids)


def test_no_literal_colour_in_any_chart(html: str) -> None:
    for svg in re.findall(r"<svg.*?</svg>", html, re.S):
        assert not re.findall(r"(?<![\w-])#[0-9a-fA-F]{3,8}\b(?=[;\"])|rgb\(|hsl\(", re.sub(r'href="#[^"]*"', "", svg))
        drawn = re.findall(r"(?:fill|stroke|color): ?([^;\"]+)", svg)
        assert drawn
        assert {color for color in drawn if not color.startswith("var(--")} <= {"none"}


def test_page_has_landmarks_one_h1_and_scoped_headers(html: str) -> None:
    page = Page(html)
    assert page.tags["h1"] == page.tags["main"] == page.tags["header"] == page.tags["footer"] == 1
    assert sum(name == "scope" for tag, name, _ in page.attributes if tag == "th") == page.tags["th"]
    assert page.tags["title"] == 1 + page.tags["svg"]
    assert page.tags["desc"] == page.tags["svg"]
    assert sum((tag, name, value) == ("svg", "role", "img") for tag, name, value in page.attributes) == page.tags["svg"]


def test_verdict_comes_first_and_size_stays_small(html: str) -> None:
    assert html.index('id="verdict"') < html.index('id="trust"') < html.index('id="how"')
    assert len(html.encode()) < 300_000


def test_every_chart_kind_is_drawn_with_its_table() -> None:
    html = rendered("html", "realistic")
    figures = re.findall(r"<figure>.*?</figure>", html, re.S)
    assert len(figures) == 5  # one chart per kind
    for figure in figures:
        assert figure.count("<svg") == figure.count("<details>") == figure.count("<table>") == 1


@pytest.mark.parametrize("audit", ["realistic", "hostile"])
def test_every_number_of_a_chart_is_in_its_table(audit: str) -> None:
    for cell in AUDITS[audit]().cells:
        for series in cell.series:
            drawing = series_drawing("c", series)
            listed = {item for row in drawing.rows for item in row}
            for curve in series.curves:
                for x, y in zip(curve.x, curve.y, strict=True):
                    if y is not None and len(curve.x) <= POINTS:
                        assert number(y) in listed
                        assert curve.labels or number(x) in listed


def test_what_is_drawn_is_what_the_table_lists() -> None:
    """The points of a line, read back from the SVG path, are the listed ones up to one linear map per axis."""
    y = [0.9, 0.7, 0.75, 0.2]
    series = Series(
        id="s",
        kind="budget",
        title="t",
        x_label="x",
        y_label="y",
        curves=(Curve(name="c", x=(0, 1, 2, 4), y=tuple(y)),),
    )
    drawing = series_drawing("c", series)
    assert [row[1:3] for row in drawing.rows] == [(number(a), number(b)) for a, b in zip((0, 1, 2, 4), y, strict=True)]
    root = ET.fromstring(drawing.svg)
    paths = [
        p.get("d", "")
        for p in root.iter("path")
        if "var(--value)" in p.get("style", "") and p.get("d", "").count("L") == 3
    ]
    points = [tuple(map(float, pair)) for pair in re.findall(r"[ML] ?([-\d.]+) ([-\d.]+)", paths[0])]
    scale = (points[3][1] - points[0][1]) / (y[3] - y[0])
    for (_, drawn), value in zip(points, y, strict=True):
        assert drawn - points[0][1] == pytest.approx(scale * (value - y[0]), abs=0.1)
    step = (points[3][0] - points[0][0]) / 4
    assert points[1][0] - points[0][0] == pytest.approx(step, abs=0.1)


def test_long_curves_are_thinned_in_chart_and_table_alike() -> None:
    x = tuple(i / 1000 for i in range(1001))
    series = Series(id="s", kind="roc", title="t", x_label="x", y_label="y", curves=(Curve(name="c", x=x, y=x),))
    drawing = series_drawing("c", series)
    assert len(drawing.rows) == POINTS
    assert drawing.rows[0][1:3] == ("0.000", "0.000")
    assert drawing.rows[-1][1:3] == ("1.000", "1.000")
    assert "941 further points" in drawing.note


@pytest.mark.parametrize("kind", ["roc", "budget", "strata", "reliability", "severity"])
@pytest.mark.parametrize(
    "curve",
    [
        Curve(name="", x=(), y=()),
        Curve(name="_hidden", x=(0.0,), y=(0.5,)),
        Curve(name="$x$ \\frac", x=(0.0, None, 1.0), y=(0.5, 0.6, None)),
        Curve(name="a", x=(1.0, 2.0), y=(0.5, 0.5), lo=(0.4, None), hi=(0.6, None), labels=("$a$", "<b>")),
    ],
    ids=["empty", "one point", "holes", "open bounds"],
)
def test_odd_curves_draw(kind: str, curve: Curve) -> None:
    series = Series(id="s", kind=kind, title="$t$", x_label="x_1", y_label="y^2", curves=(curve,))  # type: ignore[arg-type]
    drawing = series_drawing("c", series)
    text = " ".join(ET.fromstring(drawing.svg).itertext())
    assert "$t$" in text, "mathtext must be off"


def test_strata_of_several_properties_stand_under_headings() -> None:
    curves = (
        Curve(name="degree", x=(0, 1), y=(0.7, 0.8), labels=("degree 1", "degree 2")),
        Curve(name="homophily", x=(2, 3), y=(0.4, 0.9), labels=("homophily 0", "homophily 1")),
        Curve(name="all", role="reference", x=(0, 3), y=(0.8, 0.8)),
    )
    drawing = series_drawing("c", Series(id="s", kind="strata", title="t", x_label="x", y_label="y", curves=curves))
    texts = [element.text for element in ET.fromstring(drawing.svg).iter("text")]
    assert texts.count("degree") == texts.count("homophily") == texts.count("all") == 1
    assert "degree 1" not in texts, "a heading's name is not repeated in its rows"
    assert len(drawing.rows) == 6


def test_curves_of_one_role_can_be_told_apart() -> None:
    x = (0.0, 1.0, 2.0)
    curves = tuple(Curve(name=f"c{i}", x=x, y=(0.9, 0.8, 0.7 - i / 10)) for i in range(6))
    drawing = series_drawing("c", Series(id="s", kind="severity", title="t", x_label="x", y_label="y", curves=curves))
    paths = [p for p in ET.fromstring(drawing.svg).iter("path") if (p.get("d") or "").count("L") == 2]
    strokes = {found[1] for p in paths if (found := re.search(r"stroke:(var[^;]+)", p.get("style", "")))}
    assert len({stroke for stroke in strokes if "value" in stroke or "series" in stroke}) == 6


def test_a_colour_outside_the_roles_is_an_error() -> None:
    with pytest.raises(ValueError, match="#abcdef is not the colour of a role"):
        draw("c", "t", "d", (100, 100), lambda figure: figure.text(0.5, 0.5, "x", color="#abcdef"))


def test_every_role_has_a_colour_in_both_schemes_with_enough_contrast() -> None:
    html = rendered("html", "empty")
    light, dark = (_palette(block) for block in re.findall(r":root \{(.*?)\}", html, re.S)[:2])
    for palette in (light, {**light, **dark}):
        assert set(ROLES) <= set(palette)
        for text in ("ink", "muted", "value", "control", "reference", "worst"):
            assert _contrast(palette[text], palette["card"]) >= 4.5, text
        assert _contrast(palette["ink"], palette["bg"]) >= 4.5
        assert _contrast(palette["muted"], palette["bg"]) >= 4.5
        for status in ("fail", "inconclusive", "accepted", "pass"):
            assert _contrast(palette[status], palette[f"{status}-bg"]) >= 4.5, status
            assert _contrast(palette["ink"], palette[f"{status}-bg"]) >= 4.5
            assert _contrast(palette["muted"], palette[f"{status}-bg"]) >= 4.5
            assert _contrast(palette[status], palette["card"]) >= 4.5, status
    assert light != dark


def test_hostile_names_stay_text() -> None:
    page = Page(rendered("html", "hostile"))
    assert "<script>alert(1)</script>" in "".join(page.text)


def test_a_hundred_charts_leave_some_to_the_document() -> None:
    audit = samples.realistic()
    cell = next(cell for cell in audit.cells if cell.series)
    many = tuple(series.model_copy(update={"id": f"roc/{i}"}) for series in cell.series for i in range(100))
    cells = tuple(c.model_copy(update={"series": many}) if c.key == cell.key else c for c in audit.cells)
    html = HtmlReport().render(audit.model_copy(update={"cells": cells}))
    assert len(html.encode()) < 300_000
    assert re.search(r"<summary>\d+ more charts, \d+ of them in audit.json alone</summary>", html)


def test_defences_are_compared_and_guarantees_shown_in_full() -> None:
    text = "".join(Page(rendered("html", "several seeds")).text)
    assert "With and without defences" in text
    for fact in ("epsilon", "delta", "1e−05", "edge", "gaussian-exact", "flip-pair", "secret"):
        assert fact in text
    assert "<dt>epsilon</dt><dd>4</dd>" in rendered("html", "several seeds")
    assert "With and without defences" not in rendered("html", "realistic")


def test_guarantee_facts_start_with_the_level_and_lose_nothing() -> None:
    guarantee = samples.guarantee(caveats=("edges between test nodes are not covered",), noise_seed="recorded")
    facts = guarantee_facts(guarantee)
    assert [label for label, _ in facts][:4] == ["guarantee", "level", "relation", "epsilon"]
    assert len(facts) == 1 + len(Guarantee.model_fields)
    assert dict(facts)["caveats"].startswith("edges between test nodes are not covered, hyper-parameters")
    assert dict(facts)["does not cover"] == "features, labels"


def test_a_sentence_stands_above_its_numbers_in_small_print() -> None:
    html = rendered("html", "realistic")
    said = html[html.index("That is 30.4 points more (between 28.4 and 32.4)") :].partition("</p>")[0]
    assert "<small>posterior-similarity" in said
    assert "privacy-link-stealing · AML.T0024.001" in said


def test_cards_show_what_can_be_counted_and_never_an_id() -> None:
    html = rendered("html", "realistic")
    cards = html[html.index('class="answers"') :].partition("</section>")[0]
    assert cards.count('class="big"') == 3
    assert "352 in 1,000" in cards
    assert not re.search(r"AUC|SCE|TPR|privacy-|shift-|robustness-|posterior-similarity", cards)


def test_pictures_lie_where_their_numbers_are() -> None:
    audit = samples.realistic()
    tracks, left_out = pictures.overview(audit)
    near = [result for result in views.nearest(views.undefended(audit)) if nearness(result) is not None]
    assert len(tracks) + left_out == len(near)
    for track, result in zip(tracks, near, strict=False):
        assert result.judgement is not None
        assert result.excess is not None
        over = (result.excess.value or 0.0) - (result.judgement.threshold or 0.0)
        assert ((track.at or 0.0) - pictures.limit_marks()[1]) * over >= 0, "right of the limit is over it"
        assert track.lo <= (track.at or 0.0) <= track.hi
        assert f"{track.label}</span>" in rendered("html", "realistic").replace("&#39;", "'")
    bars = pictures.links(audit)
    assert bars is not None
    widths = {bar.value: bar.width for bar in bars.bars}
    assert widths["135"] / widths["78"] == pytest.approx(135 / 78, rel=0.02)
    assert [bar.label for bar in bars.bars][-2:] == ["Without the model", "Blindly"]


def test_where_no_effect_is_the_limit_both_are_one_place() -> None:
    audit = samples.realistic()
    result = next(r for r in audit.results if r.judgement is not None and r.judgement.threshold)
    judgement = result.judgement.model_copy(update={"threshold": 0.0})  # type: ignore[union-attr]
    scaled = nearness(result.model_copy(update={"judgement": judgement}))
    assert scaled is not None
    assert scaled.value is not None
    assert scaled.value == pytest.approx(1 + (result.excess.value or 0.0) / 0.1)  # type: ignore[union-attr]


def test_a_claim_has_its_bounds_and_no_card_of_the_three_questions() -> None:
    page = Page(rendered("html", "claim"))
    text = " ".join("".join(page.text).split())
    assert "The claim and its audit" in text
    assert "not refuted" in text
    assert "CONSISTENT: this audit could have refuted the claim and did not" in text
    assert "How far does it fall" not in text
    assert "1,000 canaries, 200 and 750 guesses" in " ".join(
        "".join(Page(rendered("html", "planned claim")).text).split()
    )


def _palette(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


def _contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours. Source: WCAG 2.2, relative luminance."""

    def luminance(color: str) -> float:
        channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)
