"""Roll-over by size, in bytes, before a record is written."""

from __future__ import annotations

import json

import pytest
from support.rolling import content, files, numbers, record

from pylog_struct.errors import SinkClosedError
from pylog_struct.record import Record
from pylog_struct.sinks.rolling_file import RollingFileSink
from pylog_struct.testing.clock import FakeClock


def make(directory, **options):
    options.setdefault("clock", FakeClock())
    return RollingFileSink(directory / "a.jsonl", utc=True, **options)


def test_the_newest_archives_and_the_active_file_remain(tmp_path):
    sink = RollingFileSink(tmp_path / "a.jsonl", max_bytes=1000, max_files=3)
    for number in range(200):
        sink.write([record(number, 100)])
    sink.close(5)
    assert len(files(tmp_path)) == 4
    assert numbers(tmp_path) == list(range(160, 200))
    details = sink.statistics().details
    assert details["rollovers.size"] == 19
    assert details["archives_deleted.count"] == 16


def test_no_file_is_larger_than_the_limit_and_none_is_left_half_empty(tmp_path):
    sink = make(tmp_path, max_bytes=1000)
    for number in range(0, 400, 40):  # batches larger than a file are split
        sink.write([record(n, 60) for n in range(number, number + 40)])
    sink.close(5)
    sizes = [(tmp_path / name).stat().st_size for name in files(tmp_path)]
    assert max(sizes) == 960
    assert sorted(sizes)[1:] == [960] * (len(sizes) - 1)
    assert numbers(tmp_path) == list(range(400))


def test_the_newline_counts(tmp_path):
    sink = make(tmp_path, max_bytes=190)
    sink.write([record(n, 20) for n in range(30)])
    sink.close(1)
    assert max((tmp_path / name).stat().st_size for name in files(tmp_path)) == 180


def test_a_file_may_be_exactly_as_large_as_the_limit(tmp_path):
    sink = make(tmp_path, max_bytes=300)
    sink.write([record(n, 100) for n in range(3)])
    sink.write([])
    assert files(tmp_path) == ["a.jsonl"]
    sink.write([record(3, 100)])
    assert len(files(tmp_path)) == 2
    sink.close(1)


def test_a_record_larger_than_the_limit_gets_a_file_of_its_own(tmp_path):
    sink = make(tmp_path, max_bytes=100)
    sink.write([record(0, 50), record(1, 500), record(2, 50), record(3, 50)])
    sink.close(1)
    sizes = [(tmp_path / name).stat().st_size for name in files(tmp_path)]
    assert sorted(sizes) == [50, 100, 500]


def test_size_is_counted_in_bytes_not_in_characters(tmp_path):
    sink = make(tmp_path, max_bytes=130)
    for _ in range(6):
        sink.write([Record(20, json.dumps("é" * 15, ensure_ascii=False).encode())])
    sink.close(1)
    assert max((tmp_path / name).stat().st_size for name in files(tmp_path)) <= 130


def test_what_an_earlier_run_left_counts(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"n":0}\n' * 12)
    sink = make(tmp_path, max_bytes=100)
    sink.write([record(1, 50)])
    sink.close(1)
    assert len(files(tmp_path)) == 2
    assert content(tmp_path / "a.jsonl") == record(1, 50).line + b"\n"


def test_the_index_grows_and_starts_again_with_a_new_period(tmp_path):
    clock = FakeClock(time=1_700_000_000)  # 22:13:20 UTC
    sink = make(
        tmp_path, pattern=tmp_path / "a-%d{yyyy-MM-dd-HH}-%03i.log", max_bytes=20, clock=clock
    )
    for number in range(3):
        sink.write([record(number, 20)])
    clock.advance(3600)
    for number in range(3, 6):
        sink.write([record(number, 20)])
    sink.close(1)
    assert files(tmp_path) == [
        "a-2023-11-14-22-001.log",
        "a-2023-11-14-22-002.log",
        "a-2023-11-14-22-003.log",
        "a-2023-11-14-23-001.log",
        "a-2023-11-14-23-002.log",
        "a.jsonl",
    ]
    assert sink.statistics().details["rollovers.time"] == 1


def test_more_than_nine_archives_keep_their_order(tmp_path):
    sink = make(tmp_path, pattern=tmp_path / "a-%i.log", max_bytes=20, max_files=2)
    for number in range(14):
        sink.write([record(number, 20)])
    sink.close(1)
    assert files(tmp_path) == ["a-12.log", "a-13.log", "a.jsonl"]


def test_no_name_is_given_twice_after_archives_were_moved_away(tmp_path):
    clock = FakeClock()
    seen = set()
    for _ in range(3):
        sink = make(tmp_path, pattern=tmp_path / "a-%i.log", max_bytes=20, clock=clock)
        sink.write([record(1, 20), record(2, 20), record(3, 20)])
        sink.close(1)
        for path in tmp_path.glob("a-*.log"):
            assert path.name not in seen
            seen.add(path.name)
            path.unlink()  # a shipper took it
    assert len(seen) == 8


@pytest.mark.parametrize("obstacle", ["directory", "link", "file", "compressed"])
def test_what_has_the_next_name_already_is_left_alone(tmp_path, obstacle):
    target = tmp_path / "a-1.log"
    if obstacle == "directory":
        target.mkdir()
    elif obstacle == "link":
        target.symlink_to(tmp_path / "nowhere")
    elif obstacle == "file":
        target.write_text("mine")
    else:
        (tmp_path / "a-1.log.gz").write_bytes(b"mine")
    ending = ".gz" if obstacle == "compressed" else ""
    sink = make(tmp_path, pattern=f"{tmp_path}/a-%i.log{ending}", max_bytes=20)
    sink.write([record(1, 20), record(2, 20)])
    sink.close(5)
    assert content(tmp_path / f"a-2.log{ending}") == record(1, 20).line + b"\n"
    if obstacle == "file":
        assert target.read_text() == "mine"
    elif obstacle == "compressed":
        assert (tmp_path / "a-1.log.gz").read_bytes() == b"mine"


def test_without_a_trigger_it_is_a_plain_file(tmp_path):
    clock = FakeClock()
    sink = make(tmp_path, clock=clock)
    for number in range(50):
        clock.advance(86_400)
        sink.write([record(number)])
    sink.close(1)
    assert files(tmp_path) == ["a.jsonl"]
    assert numbers(tmp_path) == list(range(50))


def test_directories_are_created_and_text_paths_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sink = RollingFileSink("x/y/a.jsonl", pattern="z/%d{yyyy}/a-%d{MM-dd}-%i.log", max_bytes=20)
    monkeypatch.chdir("/")  # a daemon may change its directory; the paths are meant as they were
    sink.write([record(1, 20), record(2, 20)])
    sink.close(1)
    assert len(files(tmp_path / "z")) == 1
    assert files(tmp_path / "x") == ["y/a.jsonl"]


def test_the_ledger_balances_and_a_closed_sink_refuses(tmp_path):
    sink = make(tmp_path, max_bytes=100)
    for number in range(20):
        sink.write([record(number, 40)] * 3)
    statistics = sink.statistics()
    assert statistics.balanced
    assert (statistics.received, statistics.written) == (60, 60)
    sink.close(1)
    sink.close(1)
    batch = [record(1)]
    with pytest.raises(SinkClosedError) as caught:
        sink.write(batch)
    assert caught.value.unwritten == tuple(batch)
    assert sink.poll(0.0) is None


def test_a_path_that_is_a_symbolic_link_rolls_the_file_it_leads_to(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "real" / "b.jsonl")
    sink = make(tmp_path, pattern=tmp_path / "old" / "a-%i.log", max_bytes=20)
    sink.write([record(1, 20), record(2, 20), record(3, 20)])
    sink.close(1)
    assert (tmp_path / "a.jsonl").is_symlink()
    assert content(tmp_path / "real" / "b.jsonl") == record(3, 20).line + b"\n"
    assert files(tmp_path / "old") == ["a-1.log", "a-2.log"]


def test_a_device_is_written_to_and_never_rolled():
    sink = RollingFileSink("/dev/null", pattern="/nowhere/a-%d{yyyy-MM-dd-HH}-%i", max_bytes=20)
    for number in range(5):
        sink.write([record(number, 20)])
    assert sink.poll(1e9) is not None
    sink.close(1)
    assert "rollovers.size" not in sink.statistics().details
