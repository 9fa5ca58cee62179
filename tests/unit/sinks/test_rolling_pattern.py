"""The names of archives: what a pattern makes, what it recognises, what is refused."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylog_struct.errors import ConfigError
from pylog_struct.sinks._rolling.pattern import NO_DATE, parse_pattern

WHEN = datetime(2024, 3, 5, 7, 8, 9)


@pytest.mark.parametrize(
    ("text", "index", "made"),
    [
        ("/l/app-%d{yyyy-MM-dd-HH-mm-ss}-%i.jsonl", 3, "/l/app-2024-03-05-07-08-09-3.jsonl"),
        ("/l/app-%d{yyyyMMdd}-%03i.log", 7, "/l/app-20240305-007.log"),
        ("/l/app-%d{yyyyMMdd}-%03i.log", 1234, "/l/app-20240305-1234.log"),
        ("/l/%d{yyyy}/%d{MM}/app-%d{dd}.log", 0, "/l/2024/03/app-05.log"),
        ("/l/%d{yyyy/MM}/app-%d{dd}.log", 0, "/l/2024/03/app-05.log"),
        ("/l/a-%d{yyyy-MM-dd'T'HH}.log", 0, "/l/a-2024-03-05T07.log"),
        ("/l/a-%d{yyyy-MM-dd 'o''clock' HH}.log", 0, "/l/a-2024-03-05 o'clock 07.log"),
        ("/l/a-%d{yyyy''MM}.log", 0, "/l/a-2024'03.log"),
        ("/l/a-%d{yy-M-d}.log", 0, "/l/a-24-3-5.log"),
        ("/l/a-%d{yyyy-DDD}.log", 0, "/l/a-2024-065.log"),
        ("/l/a-%d{YYYY-'W'ww}.log", 0, "/l/a-2024-W10.log"),
        ("/l/a-100%%-%i.log", 2, "/l/a-100%-2.log"),
        ("/l/a-%i.log.gz", 2, "/l/a-2.log"),
        ("/l/a-%d{yyyy-MM-dd}.log", 2, "/l/a-2024-03-05.log.2"),
    ],
)
def test_a_pattern_makes_names_and_recognises_them(text, index, made):
    pattern = parse_pattern(text, "x")
    assert pattern.format(WHEN, index) == made
    assert pattern.match(made) == (pattern.key(WHEN), index, False)
    packed = pattern.match(made + ".gz")
    assert packed == ((pattern.key(WHEN), index, True) if text.endswith(".gz") else None)


@pytest.mark.parametrize(
    "path",
    [
        "/l/app-2024-03-05-1.log.bak",
        "/l/app-2024-03-05-1.log.gz",  # not asked for
        "/l/app-2024-03-05-01.log",  # not how %i counts
        "/l/app-2024-03-05-0.log",
        "/l/app-2024-13-05-1.log",
        "/l/app-2024-02-30-1.log",
        "/l/app-2024-3-5-1.log",
        "/l/app2-2024-03-05-1.log",
        "/l/sub/app-2024-03-05-1.log",
        "/m/app-2024-03-05-1.log",
        "/l/app-2024-03-05-1.logs",
        "/l/app.log",
        "/l/app-2024-03-05-١.log",
        "/l",
    ],
)
def test_only_whole_names_that_the_pattern_could_have_made_are_recognised(path):
    assert parse_pattern("/l/app-%d{yyyy-MM-dd}-%i.log", "x").match(path) is None


def test_a_date_written_twice_must_agree_with_itself():
    pattern = parse_pattern("/l/%d{yyyy}/app-%d{yyyy-MM}.log", "x")
    assert pattern.match("/l/2024/app-2024-03.log") is not None
    assert pattern.match("/l/2023/app-2024-03.log") is None


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("a-%d{yyyy}", "year"),
        ("a-%d{yyyy-MM}", "month"),
        ("a-%d{YYYY-ww}", "week"),
        ("a-%d{yyyy-DDD}", "day"),
        ("a-%d{yyyy-MM-dd}", "day"),
        ("a-%d{yyyy-MM-dd-HH}", "hour"),
        ("a-%d{yyyy-MM-dd-HH-mm}", "minute"),
        ("a-%d{yyyy-MM-dd-HH-mm-ss}", "second"),
        ("%d{yyyy}/%d{MM}/%d{dd}/a-%d{HH}", "hour"),
        ("a-%d{yyyy-MM-dd 'hms'}", "day"),  # letters in quotes are no fields
        ("a-%i", None),
    ],
)
def test_the_finest_unit_is_found(text, unit):
    assert parse_pattern(text, "x").unit == unit


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/l/app.log", "names one file only"),
        ("/l/app-%d{dd}.log", "without the month"),
        ("/l/app-%d{HH}.log", "without the day"),
        ("/l/app-%d{MM-dd}.log", "without the year"),
        ("/l/app-%d{yyyy-MM-dd-mm}.log", "without the hour"),
        ("/l/app-%d{yyyy-MM-dd-HH-ss}.log", "without the minute"),
        ("/l/app-%d{yyyy-ww}.log", "without the year of the week"),
        ("/l/app-%d{YYYY-MM}.log", "without the year"),
        ("/l/app-%d{YYYY}-%i.log", "without ww"),
        ("/l/app-%d{DDD}.log", "without the year"),
        ("/l/app-%d{yyyy-MM-dd-hh}.log", "use HH"),
        ("/l/app-%d{yyyy-MMM-dd}.log", "'MMM'"),
        ("/l/app-%d{yyyy-MM-dd EEE}.log", "'EEE'"),
        ("/l/app-%d.log", "means nothing"),
        ("/l/app-%q.log", "'%q.l'"),
        ("/l/app-%i-%i.log", "2 times"),
        ("/l/app-%d{yyyy-MM-dd}{Mars/Base}.log", "Mars/Base"),
        ("/l/%d{yyyy}{UTC}/%d{MM}{Europe/Berlin}", "mixes time zones"),
        ("", "no file name"),
        ("/l/%i/", "no file name"),
        (7, "no file name"),
    ],
)
def test_patterns_that_could_collide_or_mean_nothing_are_refused(text, words):
    with pytest.raises(ConfigError, match=r"^Sink\.pattern: ") as caught:
        parse_pattern(text, "Sink.pattern")
    assert words in str(caught.value)
    assert repr(text) in str(caught.value)


def test_zones_are_understood():
    assert str(parse_pattern("a-%d{yyyy}{UTC}", "x").zone) == "UTC"
    assert str(parse_pattern("a-%d{yyyy}{Europe/Berlin}", "x").zone) == "Europe/Berlin"
    assert parse_pattern("a-%d{yyyy}", "x").zone is None


def test_a_pattern_without_a_date_has_no_date():
    assert parse_pattern("/l/a-%i", "x").match("/l/a-4") == (NO_DATE, 4, False)


@given(
    when=st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(
        lambda moment: moment.replace(microsecond=0)
    ),
    index=st.integers(1, 10**6),
    text=st.sampled_from(
        [
            "/l/a-%d{yyyy-MM-dd-HH-mm-ss}-%i.log.gz",
            "/l/%d{yyyy}/%d{MM}/%d{dd}/a-%d{HH}-%04i.log",
            "/l/a-%d{YYYY-'W'ww}-%i",
            "/l/a%i-%d{yyyy-D H:m:s}",
            "/l/%i/a-%d{yy-M-d}",
        ]
    ),
)
def test_every_name_made_is_recognised_with_its_date_and_index(when, index, text):
    pattern = parse_pattern(text, "x")
    assert pattern.match(pattern.format(when, index)) == (pattern.key(when), index, False)
    assert pattern.key(pattern.key(when)) == pattern.key(when)
    assert pattern.key(when) <= when
