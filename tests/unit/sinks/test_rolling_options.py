"""Nonsense is refused when the sink is built, and building one touches nothing."""

from __future__ import annotations

import sys

import pytest

from pylog_struct.errors import ConfigError
from pylog_struct.sinks.rolling_file import RollingFileSink

DAILY = "app-%d{yyyy-MM-dd}.jsonl"


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"path": None}, "path"),
        ({"path": ""}, "path"),
        ({"path": "logs/"}, "path"),
        ({"path": ".."}, "path"),
        ({"path": b"app"}, "path"),
        ({"path": 3}, "path"),
        ({"path": "a\0b"}, "path"),
        ({"path": "half of a pair \ud800"}, "path"),
        ({"pattern": "half of a pair \ud800-%d{yyyy}"}, "pattern"),
        ({"latest": "half of a pair \ud800"}, "latest"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_bytes": -1}, "max_bytes"),
        ({"max_bytes": "many"}, "max_bytes"),
        ({"max_bytes": True}, "max_bytes"),
        ({"max_files": 0}, "max_files"),
        ({"max_files": -3}, "max_files"),
        ({"max_files": 1.5}, "max_files"),
        ({"max_files": True}, "max_files"),
        ({"max_age": 0}, "max_age"),
        ({"max_age": "old"}, "max_age"),
        ({"max_total_bytes": 0}, "max_total_bytes"),
        ({"interval": "sometimes"}, "interval"),
        ({"at": "25:00"}, "at"),
        ({"at": "03:00", "interval": "day"}, "at"),
        ({"on_start": "x"}, "on_start"),
        ({"on_start": 0}, "on_start"),
        ({"utc": "yes"}, "utc"),
        ({"utc": True, "pattern": "a-%d{yyyy}{Asia/Tokyo}"}, "utc"),
        ({"mode": 0o444}, "mode"),
        ({"mode": 0o240}, "mode"),
        ({"mode": 0o755}, "mode"),
        ({"mode": 0o10640}, "mode"),
        ({"mode": -1}, "mode"),
        ({"mode": "rw-r-----"}, "mode"),
        ({"mode": None}, "mode"),
        ({"owner": "no such user here"}, "owner"),
        ({"owner": -1}, "owner"),
        ({"owner": "a\0b"}, "owner"),
        ({"owner": "half of a pair \ud800"}, "owner"),
        ({"group": "no such group here"}, "group"),
        ({"group": 1.0}, "group"),
        ({"group": "a\0b"}, "group"),
        ({"fsync": 1}, "fsync"),
        ({"dry_run": None}, "dry_run"),
        ({"create_parents": 0}, "create_parents"),
        ({"lock_dir": 5}, "lock_dir"),
        ({"lock_dir": "half of a pair \ud800"}, "lock_dir"),
        ({"compression_level": 6}, "compression_level"),
        ({"compression_level": 10, "pattern": "a-%i.gz", "max_bytes": 9}, "compression_level"),
        ({"compression_level": "9", "pattern": "a-%i.gz", "max_bytes": 9}, "compression_level"),
        ({"compress_delay": -1}, "compress_delay"),
        ({"retention_interval": 0}, "retention_interval"),
        ({"on_event": 5}, "on_event"),
        ({"latest": "app.jsonl"}, "latest"),
        ({"latest": "app-2024-03-05.jsonl", "pattern": DAILY}, "latest"),
        ({"pattern": DAILY, "max_bytes": 10}, "pattern"),
        ({"pattern": DAILY, "on_start": True}, "pattern"),
        ({"pattern": DAILY, "interval": "hour"}, "pattern"),
        ({"pattern": "app-%d{YYYY-ww}", "at": "03:00"}, "pattern"),
        ({"pattern": "a-%i"}, "pattern"),
        ({"pattern": "app.jsonl"}, "pattern"),
        ({"pattern": DAILY, "path": "app-2024-03-05.jsonl"}, "pattern"),
        ({"pattern": "app-%d{yyyy-MM-dd-hh}-%i"}, "pattern"),
        ({"name": "a b"}, "name"),
    ],
)
def test_nonsense_is_refused_with_one_clear_error(options, argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        RollingFileSink(**{"path": "app.jsonl", **options})
    assert str(caught.value).startswith(f"RollingFileSink.{argument}: ")
    assert "\n" not in str(caught.value)
    if argument in options and options[argument] is not None and len(options) == 1:
        assert repr(options[argument]) in str(caught.value) or argument == "mode"
    assert list(tmp_path.iterdir()) == []


def test_an_archive_format_without_its_module_is_refused_when_built(monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ConfigError, match=r"pylog-struct\[zstd\]"):
        RollingFileSink("a.jsonl", pattern="a-%i.jsonl.zst", max_bytes=10)


@pytest.mark.parametrize(
    "options",
    [
        {"path": "logs/app.jsonl", "pattern": "logs/app-%d{yyyy-MM-dd-HH}-%i.jsonl.gz",
         "max_bytes": "100 MB", "max_files": 14},
        {"path": "app"},
        {"path": "app.jsonl", "mode": "0600"},
        {"path": "app.jsonl", "mode": "0o660", "owner": 0, "group": 0},
        {"path": "app.jsonl", "at": "monday 03:00", "utc": True},
        {"path": "app.jsonl", "pattern": DAILY, "at": "03:00"},
        {"path": "app.jsonl", "pattern": DAILY, "interval": "2 days"},
        {"path": "100%.log", "max_bytes": 5},
        {"path": "old.gz", "max_bytes": 5},
        {"pattern": "a-%i", "max_bytes": 5},
        {"pattern": "a-%d{yyyy-MM-dd}{UTC}.log", "utc": True},
        {"path": "app.jsonl", "max_age": "30 days", "max_total_bytes": "1 GB", "on_start": "1 KB"},
    ],
)  # fmt: skip
def test_building_one_opens_and_creates_nothing(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sink = RollingFileSink(**options)
    sink.flush(1)
    assert sink.poll(0.0) is None
    sink.close(1)
    assert list(tmp_path.iterdir()) == []
