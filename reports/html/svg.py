"""From a matplotlib figure to a piece of inline SVG that takes its colours and fonts from the page.

The figure is drawn in sentinel colours, one odd hex value per role, which become `var(--role)` afterwards, so that one
drawing serves the light and the dark scheme. Text stays text. Same figure, same bytes: no date, salted ids.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Final

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

ROLES: Final = {
    "ink": "#010203",  # never pure black: the SVG writer leaves default black out
    "muted": "#010305",
    "line": "#010407",
    "card": "#010509",
    "value": "#01060b",
    "control": "#01070d",
    "reference": "#01080f",
    "worst": "#010911",
    "series-2": "#010e1b",
    "series-3": "#010f1d",
    "series-4": "#01101f",
    "series-5": "#011121",
    "series-6": "#011223",
    "fail": "#010a13",
    "inconclusive": "#010b15",
    "accepted": "#010c17",
    "pass": "#010d19",
}
_FONT = 11.5
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a $ in a name is a dollar sign
    "text.usetex": False,
    "font.size": _FONT,
    "axes.titlesize": _FONT,
    "axes.labelsize": _FONT,
    "xtick.labelsize": _FONT - 1,
    "ytick.labelsize": _FONT - 1,
    "legend.fontsize": _FONT - 0.5,
    "text.color": ROLES["ink"],
    "axes.edgecolor": ROLES["line"],
    "axes.labelcolor": ROLES["muted"],
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "grid.color": ROLES["line"],
    "grid.linewidth": 0.7,
    "xtick.color": ROLES["line"],
    "xtick.labelcolor": ROLES["muted"],
    "ytick.color": ROLES["line"],
    "ytick.labelcolor": ROLES["muted"],
    "legend.frameon": False,
    "lines.linewidth": 2.0,
}
_ROLE_OF = {value: role for role, value in ROLES.items()}
_COLOR = re.compile(r"#[0-9a-fA-F]{6}\b")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_URL = re.compile(r"url\(#([^)]+)\)")
_FONT_FAMILY = re.compile(r"font-family:[^;]*;?\s*")
_NO_TURN = re.compile(r"rotate\(-?0 [-\d. ]+\)")
_FONT_SHORTHAND = re.compile(r"font:\s*(?:[a-z]+\s+|\d{3}\s+)*([\d.]+)px[^;]*;?\s*")
_HREF = "{http://www.w3.org/1999/xlink}href"


def draw(
    chart_id: str, title: str, description: str, size: tuple[float, float], paint: Callable[[Figure], None]
) -> str:
    """Inline SVG of a chart.

    Args:
        chart_id: prefix of every id inside, unique on the page: letters, digits and hyphens.
        title: what the chart shows.
        description: what it says, in one sentence.
        size: width and height in SVG units (points); the page scales it.
        paint: draws on the figure, in the colours of `ROLES` only.

    Raises:
        ValueError: a colour that is no role.
    """
    # rc_context restores what a host program may have set; nothing here goes through pyplot.
    with mpl.rc_context({**mpl.rcParamsDefault, **_STYLE, "svg.hashsalt": chart_id, "backend": "svg"}):
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        paint(figure)
        raw = io.BytesIO()
        FigureCanvasSVG(figure).print_svg(raw, metadata={"Date": None})
    root = ET.fromstring(raw.getvalue())
    _strip(root)
    _own_ids(root, chart_id)
    _own_colors(root)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    label, text = ET.Element("title"), ET.Element("desc")
    label.set("id", f"{chart_id}-title")
    text.set("id", f"{chart_id}-desc")
    label.text, text.text = title, description
    root.insert(0, text)
    root.insert(0, label)
    root.set("role", "img")
    root.set("class", "chart")
    root.set("aria-labelledby", f"{chart_id}-title {chart_id}-desc")
    return ET.tostring(root, encoding="unicode")


def _strip(root: ET.Element) -> None:
    """Without metadata, without the writer's style sheet (its `*` would restyle the page), without namespaces."""
    for parent in list(root.iter()):
        for child in list(parent):
            name = child.tag.rpartition("}")[2] if isinstance(child.tag, str) else ""
            if name in ("metadata", "style", ""):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        # The XML library would write a prefix for it; HTML knows href without one.
        if _HREF in element.attrib:
            element.set("href", element.attrib.pop(_HREF))
        # Indentation between elements is not part of the drawing.
        if element.tag != "text":
            element.text = None if element.text is None or not element.text.strip() else element.text
        element.tail = None


def _own_ids(root: ET.Element, chart_id: str) -> None:
    """Ids that something refers to get the chart's prefix, the others go: charts on one page would share them."""
    used = {match for element in root.iter() for value in element.attrib.values() for match in _URL.findall(value)}
    used |= {element.get("href", "").removeprefix("#") for element in root.iter()}
    names = {old: f"{chart_id}-{index}" for index, old in enumerate(sorted(used - {""}))}
    for element in root.iter():
        if "id" in element.attrib:
            old = element.attrib.pop("id")
            if old in names:
                element.set("id", names[old])
        for key, value in element.attrib.items():
            if key == "href":
                element.set(key, f"#{names[value.removeprefix('#')]}")
            elif "url(#" in value:
                element.set(key, _URL.sub(lambda found: f"url(#{names[found[1]]})", value))


def _own_colors(root: ET.Element) -> None:
    for element in root.iter():
        if _NO_TURN.fullmatch(element.get("transform", "")):
            del element.attrib["transform"]
        for key, value in list(element.attrib.items()):
            if key in ("href", "id") or "url(#" in value:
                continue
            if key == "style":
                # The page's font, not the drawing's: a family named here would win over the style sheet.
                value = (
                    _FONT_FAMILY.sub("", _FONT_SHORTHAND.sub(r"font-size:\1px;", value))
                    .replace("; ", ";")
                    .replace(": ", ":")
                )
            value = _COLOR.sub(_role, value)
            if key in ("d", "transform", "points", "x", "y", "style"):
                value = _NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)
            element.set(key, value)


def _role(found: re.Match[str]) -> str:
    color = found[0].lower()
    if color not in _ROLE_OF:
        raise ValueError(f"{color} is not the colour of a role; charts are drawn in {', '.join(ROLES)} only")
    return f"var(--{_ROLE_OF[color]})"
