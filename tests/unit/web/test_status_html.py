"""Elements and plots: nothing that comes from outside can become markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from pylog_struct.web._status.html import Html, element, join
from pylog_struct.web._status.svg import bar, sparkline

HOSTILE = "<script>alert('x')</script>\"&\x00\x1b[31m\u202e\ud800"


def test_text_and_attributes_are_escaped_whatever_is_in_them():
    made = element("p", HOSTILE, title=HOSTILE)
    assert "<script" not in made
    assert made.count("&lt;script&gt;") == 2
    assert not {"\x00", "\x1b", "\u202e", "\ud800"} & set(made)
    made.encode()
    assert ET.fromstring(made).get("title").startswith("<script>alert('x')")


def test_what_is_html_already_stays_as_it_is():
    inner = element("b", "x")
    assert element("p", inner, None, Html("<i>y</i>")) == "<p><b>x</b><i>y</i></p>"
    assert join(["<", inner]) == "&lt;<b>x</b>"


def test_attributes_can_be_left_out_or_have_no_value():
    made = element("input", class_="a", aria_label="b", hidden=True, id=None, checked=False)
    assert made == '<input class="a" aria-label="b" hidden>'


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(100.0, 5.0)],
        [(100.0, 0.0), (102.0, 0.0)],
        [(1.0, 1e12), (102.0, 0.5), (104.0, 3.0)],
    ],
    ids=["none", "one", "zeros", "gap"],
)
def test_a_plot_is_well_formed_and_says_in_words_what_it_shows(points):
    plot = ET.fromstring(sparkline(points, 104.0, "so < much", "out"))
    assert plot.get("role") == "img"
    assert plot.get("aria-label") == "so < much"
    assert "style" not in plot.attrib  # the page's policy allows none
    lines = [path for path in plot if path.get("class") == "line"]
    assert len(lines) == {0: 0, 1: 1, 2: 1, 3: 2}[len(points)]  # a gap is not drawn across
    tone = "out" if any(value for _, value in points) else "none"
    assert plot.get("class") == f"plot {tone}"


@pytest.mark.parametrize(
    ("fraction", "tone", "width"),
    [(0, "fine", "0.0%"), (0.0001, "fine", "0.6%"), (0.5, "fine", "50.0%"), (0.8, "high", "80.0%"),
     (1.0, "full", "100.0%")],
)  # fmt: skip
def test_a_bar_shows_how_full_something_is(fraction, tone, width):
    shown = ET.fromstring(bar(fraction, 0.8, "full"))
    assert shown.get("class") == f"bar {tone}"
    fill = next(part for part in shown if part.get("class") == "fill")
    assert fill.get("width") == width
