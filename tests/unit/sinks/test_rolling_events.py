"""What a listener is told, and that it can do no harm."""

from __future__ import annotations

import dataclasses

import pytest
from support.rolling import numbers, record

from pylog_struct.sinks.rolling_file import FileEvent, RollingFileSink
from pylog_struct.testing.clock import FakeClock


def test_the_life_of_a_file(tmp_path):
    events = []
    clock = FakeClock(1_700_000_000.0)
    sink = RollingFileSink(
        tmp_path / "a.log",
        pattern=tmp_path / "a-%i.log.gz",
        max_bytes=50,
        max_files=1,
        name="main",
        clock=clock,
        on_event=events.append,
    )
    for number in range(3):
        sink.write([record(number, 40)])
    sink.close(10)
    told = {(event.kind, event.path.rpartition("/")[2], event.reason) for event in events}
    assert told >= {
        ("opened", "a.log", "start"),
        ("rolled", "a-1.log", "size"),
        ("rolled", "a-2.log", "size"),
        ("compressed", "a-2.log.gz", "gz"),
    }
    assert any(kind == "deleted" and reason == "count" for kind, _, reason in told)
    rolled = next(event for event in events if event.kind == "rolled")
    assert (rolled.sink, rolled.at, rolled.size) == ("main", 1_700_000_000.0, 40)
    with pytest.raises(dataclasses.FrozenInstanceError):
        rolled.kind = "opened"
    assert isinstance(rolled, FileEvent)


def test_a_listener_that_raises_is_contained_and_reported(tmp_path, capsys):
    def listener(event):
        raise RuntimeError("boom")

    sink = RollingFileSink(tmp_path / "a.log", max_bytes=50, max_files=1, on_event=listener)
    for number in range(5):
        sink.write([record(number, 40)])
    sink.close(5)
    assert sink.statistics().written == 5
    assert "boom" in capsys.readouterr().err


def test_a_listener_may_write_to_the_sink_that_calls_it(tmp_path):
    def listener(event):
        if event.kind in {"opened", "rolled"}:
            sink.write([record(100 + len(told), 20)])
        told.append(event.kind)

    told = []
    sink = RollingFileSink(tmp_path / "a.log", max_bytes=100, on_event=listener)
    for number in range(6):
        sink.write([record(number, 40)])
    sink.close(5)
    assert [number for number in numbers(tmp_path) if number < 100] == list(range(6))
    assert told.count("rolled") == sink.statistics().details["rollovers.size"]


@pytest.mark.parametrize("latest", [True, "current"])
def test_a_link_leads_to_the_active_file(tmp_path, latest):
    link = tmp_path / ("a-latest.log" if latest is True else "current")
    clock = FakeClock()
    sink = RollingFileSink(
        pattern=tmp_path / "%d{yyyy}" / "a-%d{MM-dd-HH}{}-%i.log".replace("{}", ""),
        utc=True,
        latest=latest if latest is True else tmp_path / latest,
        clock=clock,
    )
    for number in range(3):
        sink.write([record(number)])
        assert link.is_symlink()
        assert record(number).line in link.read_bytes()
        clock.advance(3600)
    sink.close(5)
    assert not link.readlink().is_absolute()  # the tree can be moved


def test_the_link_beside_an_active_file_with_a_fixed_path(tmp_path):
    sink = RollingFileSink(tmp_path / "a.log", latest=True)
    sink.write([record(0)])
    sink.close(5)
    assert (tmp_path / "a-latest.log").readlink().name == "a.log"


def test_something_else_in_place_of_the_link_is_left_alone(tmp_path, capsys):
    (tmp_path / "current").write_text("mine")
    sink = RollingFileSink(tmp_path / "a.log", latest=tmp_path / "current")
    sink.write([record(0)])
    sink.close(5)
    assert (tmp_path / "current").read_text() == "mine"
    assert "no symbolic link" in capsys.readouterr().err
    assert numbers(tmp_path / "a.log") == []
    assert sink.statistics().written == 1
