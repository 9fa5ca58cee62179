from __future__ import annotations

import errno
import gzip
import io
import os
import sys

import pytest
from support.wrappers import names, record, records

from pylog_struct.errors import (
    ConfigError,
    SinkClosedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.record import Record
from pylog_struct.sinks import StreamSink
from pylog_struct.testing import check_sink


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stream": "stdin"}, "StreamSink.stream: 'stdin' is no stream"),
        ({"stream": None}, "StreamSink.stream: None is no stream"),
        ({"stream": 1}, "StreamSink.stream: 1 is no stream"),
        ({"timeout": None}, "StreamSink.timeout: None is no duration"),
        ({"timeout": "soon"}, "StreamSink.timeout: 'soon'"),
        ({"name": ""}, None),
    ],
)
def test_refuses_nonsense(arguments, message):
    if message is None:
        with pytest.raises(ConfigError, match=r"StreamSink\.name"):
            StreamSink(**arguments)
        return
    with pytest.raises(ConfigError, match=message):
        StreamSink(**arguments)


def test_keeps_the_contract(tmp_path):
    opened = []

    def make():
        opened.append((tmp_path / str(len(opened))).open("wb", buffering=0))
        return StreamSink(opened[-1])

    def read():
        return (tmp_path / str(len(opened) - 1)).read_bytes().splitlines()

    check_sink(make, read=read)
    for file in opened:
        file.close()


def test_is_named_after_its_stream():
    assert StreamSink().name == "stdout"
    assert StreamSink("stderr").name == "stderr"
    assert StreamSink(io.StringIO()).name == "stream"
    assert StreamSink("stderr", name="mine").name == "mine"


def test_follows_sys_stdout_at_the_time_of_the_write(monkeypatch):
    sink = StreamSink("stdout")
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", first)
    sink.write(records(1))
    monkeypatch.setattr(sys, "stdout", second)
    sink.write(records(1, first=1))
    assert first.getvalue() == '{"event":"0"}\n'
    assert second.getvalue() == '{"event":"1"}\n'


def test_is_seen_by_capsys(capsys):
    StreamSink("stderr").write(records(2))
    assert capsys.readouterr().err == '{"event":"0"}\n{"event":"1"}\n'


def test_is_seen_by_capfd_in_order_with_print(capfd):
    sink = StreamSink("stdout")
    print("before", end="\n")
    sink.write(records(1))
    print("after")
    sink.flush()
    assert capfd.readouterr().out == 'before\n{"event":"0"}\nafter\n'


@pytest.mark.parametrize("mode", ["w", "wb", "wb0"])
def test_writes_to_files_of_all_kinds_in_order_with_the_owners_writes(tmp_path, mode):
    path = tmp_path / "out"
    with path.open(mode.rstrip("0"), **({"buffering": 0} if mode == "wb0" else {})) as file:
        sink = StreamSink(file)
        file.write("mine\n" if mode == "w" else b"mine\n")
        sink.write([Record(20, "é".encode()), Record(20, b"two")])
        file.write("mine\n" if mode == "w" else b"mine\n")
        sink.flush()
        sink.close()
        assert not file.closed
    assert path.read_bytes() == b"mine\n\xc3\xa9\ntwo\nmine\n"
    assert sink.statistics().written == 2


def test_writes_bytes_as_they_are_whatever_the_files_encoding(tmp_path):
    path = tmp_path / "out"
    with path.open("w", encoding="ascii") as file:
        StreamSink(file).write([Record(20, "é".encode())])
    assert path.read_bytes() == "é\n".encode()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (io.BytesIO, "é\n".encode()),
        (lambda: io.BufferedWriter(io.BytesIO()), "é\n".encode()),
        (lambda: io.TextIOWrapper(io.BytesIO(), "utf-8"), "é\n".encode()),
        (lambda: io.TextIOWrapper(io.BytesIO(), "ascii"), b"\\xe9\n"),
    ],
)
def test_writes_to_objects_without_a_descriptor(make, expected):
    stream = make()
    sink = StreamSink(stream)
    sink.write([Record(20, "é".encode())])
    bottom = stream
    while not isinstance(bottom, io.BytesIO):
        bottom = bottom.raw if isinstance(bottom, io.BufferedWriter) else bottom.buffer
    assert bottom.getvalue() == expected
    sink.flush()


class Sticky:
    """Something with a ``write`` of its own, as in a notebook; perhaps with somebody's descriptor."""

    def __init__(self, kind=str):
        self.kind = kind
        self.got = []
        self.flushed = 0

    def write(self, data):
        if not isinstance(data, self.kind):
            raise TypeError(f"{self.kind} wanted")
        self.got.append(data)

    def fileno(self):
        raise AssertionError("not asked")

    def flush(self):
        self.flushed += 1


@pytest.mark.parametrize(("kind", "expected"), [(str, "{0}\n"), (bytes, b"{0}\n")])
def test_writes_through_the_write_of_a_foreign_object(kind, expected):
    stream = Sticky(kind)
    StreamSink(stream).write([Record(20, b"{0}")])
    assert stream.got == [expected]
    assert stream.flushed == 1


def test_needs_nothing_but_write():
    class Bare:
        def write(self, text):
            self.text = text

    stream = Bare()
    sink = StreamSink(stream)
    sink.write([Record(20, b"x")])
    sink.flush()
    assert stream.text == "x\n"
    assert not sink.isatty()


def test_does_not_write_past_a_compressor(tmp_path):
    with gzip.open(tmp_path / "out.gz", "wb") as file:
        StreamSink(file).write(records(1))
    with gzip.open(tmp_path / "text.gz", "wt") as file:
        StreamSink(file).write(records(1))
    assert gzip.decompress((tmp_path / "out.gz").read_bytes()) == b'{"event":"0"}\n'
    assert gzip.decompress((tmp_path / "text.gz").read_bytes()) == b'{"event":"0"}\n'


def test_does_not_write_past_a_class_that_changed_write(tmp_path):
    class Shouting(io.TextIOWrapper):
        def write(self, text):
            return super().write(text.upper())

    with Shouting((tmp_path / "out").open("wb")) as file:
        StreamSink(file).write([Record(20, b"quiet")])
    assert (tmp_path / "out").read_bytes() == b"QUIET\n"


def test_a_raw_object_may_take_less_at_a_time():
    class Narrow(io.RawIOBase):
        got = b""

        def writable(self):
            return True

        def write(self, data):
            self.got += bytes(data[:3])
            return min(3, len(data))

    stream = Narrow()
    StreamSink(stream).write([Record(20, b"abcdefgh")])
    assert stream.got == b"abcdefgh\n"


def test_a_raw_object_that_takes_nothing_is_unavailable():
    class Full(io.RawIOBase):
        def write(self, data):
            return None

    sink = StreamSink(Full())
    with pytest.raises(SinkUnavailableError) as caught:
        sink.write(records(2))
    assert len(caught.value.unwritten) == 2


def test_an_object_that_fails_is_unavailable_and_all_is_the_callers():
    class Failing(io.StringIO):
        def write(self, text):
            raise RuntimeError("no")

        def flush(self):
            raise RuntimeError("no")

    sink = StreamSink(Failing())
    with pytest.raises(SinkUnavailableError, match="no") as caught:
        sink.write(records(2))
    assert names(caught.value.unwritten) == ["0", "1"]
    assert sink.statistics().received == 0
    assert sink.statistics().errors == {"SinkUnavailableError": 1}
    with pytest.raises(SinkUnavailableError):
        sink.flush()


def test_a_missing_or_closed_stream_is_unavailable_until_it_is_back(monkeypatch):
    sink = StreamSink("stderr")
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(SinkUnavailableError, match="missing") as caught:
        sink.write(records(2))
    assert len(caught.value.unwritten) == 2
    sink.flush()
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    with pytest.raises(SinkUnavailableError, match="closed"):
        sink.write(records(2))
    back = io.StringIO()
    monkeypatch.setattr(sys, "stderr", back)
    sink.write(caught.value.unwritten)
    assert back.getvalue().count("\n") == 2


def test_a_descriptor_that_was_closed_behind_the_file_is_unavailable(tmp_path):
    file = (tmp_path / "out").open("wb", buffering=0)
    os.close(file.fileno())
    sink = StreamSink(file)
    with pytest.raises(SinkUnavailableError) as caught:
        sink.write(records(2))
    assert len(caught.value.unwritten) == 2
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        file.close()


def test_close_closes_nothing_but_itself(capfd):
    sink = StreamSink("stdout")
    sink.write(records(1))
    sink.close()
    sink.close()
    print("still open")
    assert "still open" in capfd.readouterr().out
    with pytest.raises(SinkClosedError) as caught:
        sink.write(records(1))
    assert len(caught.value.unwritten) == 1


def test_an_empty_batch_writes_nothing():
    stream = io.StringIO()
    StreamSink(stream).write([])
    assert stream.getvalue() == ""


class Space:
    """Stands for a disk with so many bytes left."""

    def __init__(self, monkeypatch, room):
        self.room = room
        self.real = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, fd, data):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        number = self.real(fd, data[: self.room])
        self.room -= number
        return number


def test_a_full_disk_leaves_exactly_the_rest_and_the_line_is_completed_first(tmp_path, monkeypatch):
    path = tmp_path / "out"
    with path.open("wb", buffering=0) as file:
        sink = StreamSink(file)
        disk = Space(monkeypatch, 8)
        with pytest.raises(SinkUnavailableError) as caught:
            sink.write([Record(20, b"aaaa"), Record(20, b"bbbb"), Record(20, b"cccc")])
        assert [item.line for item in caught.value.unwritten] == [b"cccc"]
        assert sink.statistics().waiting == 1
        assert sink.statistics().written == 1
        with pytest.raises(SinkUnavailableError) as again:
            sink.write(caught.value.unwritten)
        assert again.value.unwritten == caught.value.unwritten
        assert sink.poll(0.0) == 1.0
        disk.room = 1
        with pytest.raises(SinkUnavailableError):
            sink.flush()
        assert path.read_bytes() == b"aaaa\nbbbb"
        disk.room = 100
        sink.write(caught.value.unwritten)
        assert sink.poll(0.0) is None
    assert path.read_bytes() == b"aaaa\nbbbb\ncccc\n"
    statistics = sink.statistics()
    assert (statistics.received, statistics.written, statistics.waiting) == (3, 3, 0)


def test_a_torn_last_line_is_accepted_and_completed_by_poll(tmp_path, monkeypatch):
    path = tmp_path / "out"
    with path.open("wb", buffering=0) as file:
        sink = StreamSink(file)
        disk = Space(monkeypatch, 2)
        sink.write([Record(20, b"aaaa")])
        assert sink.statistics().waiting == 1
        assert sink.statistics().errors == {"SinkUnavailableError": 1}
        disk.room = 100
        assert sink.poll(0.0) is None
    assert path.read_bytes() == b"aaaa\n"
    assert sink.statistics().written == 1


def test_close_tells_of_a_line_that_stayed_incomplete(tmp_path, monkeypatch):
    with (tmp_path / "out").open("wb", buffering=0) as file:
        sink = StreamSink(file)
        Space(monkeypatch, 2)
        sink.write([Record(20, b"aaaa")])
        with pytest.raises(SinkUnavailableError) as caught:
            sink.close(0)
    assert [item.line for item in caught.value.unwritten] == [b"aaaa"]
    assert sink.statistics().drops == {("shutdown", "info"): 1}
    assert sink.statistics().balanced


@pytest.mark.parametrize("next_one", ["file", "object"])
def test_a_line_torn_on_one_stream_is_written_whole_on_the_next(tmp_path, monkeypatch, next_one):
    sink = StreamSink("stdout")
    with (tmp_path / "a").open("w") as first, (tmp_path / "b").open("w+") as second:
        monkeypatch.setattr(sys, "stdout", first)
        disk = Space(monkeypatch, 2)
        sink.write([Record(20, b"aaaa")])
        disk.room = 100
        stream = second if next_one == "file" else io.StringIO()
        monkeypatch.setattr(sys, "stdout", stream)
        sink.write([Record(20, b"bbbb")])
        stream.seek(0)
        assert stream.read() == "aaaa\nbbbb\n"
    assert sink.statistics().written == 2


@pytest.mark.parametrize("works", [False, True])
def test_a_torn_line_is_completed_on_an_object_by_flush(tmp_path, monkeypatch, works):
    class Perhaps(io.StringIO):
        def write(self, text):
            if not works:
                raise OSError("no")
            return super().write(text)

    sink = StreamSink("stdout")
    with (tmp_path / "a").open("w") as first:
        monkeypatch.setattr(sys, "stdout", first)
        Space(monkeypatch, 2)
        sink.write([Record(20, b"aaaa")])
        stream = Perhaps()
        monkeypatch.setattr(sys, "stdout", stream)
        if works:
            sink.flush()
            assert stream.getvalue() == "aaaa\n"
        else:
            with pytest.raises(SinkUnavailableError):
                sink.flush()
            with pytest.raises(SinkUnavailableError) as caught:
                sink.write([Record(20, b"bbbb")])
            assert len(caught.value.unwritten) == 1
            assert sink.statistics().waiting == 1


def test_a_line_whose_reader_left_in_its_middle_is_the_callers(tmp_path, monkeypatch):
    real = os.write

    def leaves(fd, data):
        if len(data) < 15:
            raise BrokenPipeError(errno.EPIPE, "gone")
        return real(fd, data[:7])

    with (tmp_path / "out").open("wb", buffering=0) as file:
        sink = StreamSink(file)
        monkeypatch.setattr(os, "write", leaves)
        with pytest.raises(SinkUnavailableError) as caught:
            sink.write([Record(20, b"aaaa"), Record(20, b"bbbb"), Record(20, b"cccc")])
    assert [item.line for item in caught.value.unwritten] == [b"bbbb", b"cccc"]
    assert (sink.statistics().written, sink.statistics().waiting) == (1, 0)


def test_an_interrupt_in_the_middle_of_a_batch_does_not_glue_lines(tmp_path, monkeypatch):
    path = tmp_path / "out"
    real = os.write

    def interrupted(fd, data):
        if len(data) < 15:
            raise KeyboardInterrupt
        return real(fd, data[:7])

    with path.open("wb", buffering=0) as file:
        sink = StreamSink(file)
        monkeypatch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sink.write([Record(20, b"aaaa"), Record(20, b"bbbb"), Record(20, b"cccc")])
        assert (sink.statistics().written, sink.statistics().waiting) == (1, 1)
        monkeypatch.setattr(os, "write", real)
        sink.write([Record(20, b"dddd")])
    assert path.read_bytes() == b"aaaa\nbbbb\ndddd\n"
    assert sink.statistics().balanced


def test_the_rest_of_a_torn_line_is_the_parents(tmp_path, monkeypatch):
    path = tmp_path / "out"
    with path.open("wb", buffering=0) as file:
        sink = StreamSink(file)
        disk = Space(monkeypatch, 2)
        sink.write([Record(20, b"aaaa")])
        disk.room = 100
        child = os.fork()
        if child == 0:
            os._exit(0 if sink.poll(0.0) is None and sink.statistics().waiting == 0 else 1)
        assert os.waitpid(child, 0)[1] == 0
        sink.flush()
    assert path.read_bytes() == b"aaaa\n"


def test_timeouts_are_told_apart(monkeypatch, tmp_path):
    with (tmp_path / "out").open("wb", buffering=0) as file:

        def late(fd, data):
            raise TimeoutError(errno.ETIMEDOUT, "late")

        monkeypatch.setattr(os, "write", late)
        with pytest.raises(SinkTimeoutError):
            StreamSink(file).write([record()])
