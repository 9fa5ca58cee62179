"""SocketSink over UDP and Unix datagrams: one record, one message."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time

import pytest
from support.peers import a_port_where_nobody_listens, datagram_peer, received
from support.wrappers import record, records

from pylog_struct.errors import (
    SinkError,
    SinkRejectedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.sinks import SocketSink
from pylog_struct.testing import FakeClock, check_sink


def lines(batch):
    return [record.line for record in batch]


@contextlib.contextmanager
def opened(url, **options):
    sink = SocketSink(url, **{"random": lambda: 1.0, **options})
    try:
        yield sink
    finally:
        sink.close(1)


def collect(sock, copy):
    """Append every datagram to a file, as a line, until an empty one comes."""
    with copy.open("ab", buffering=0) as file:
        while data := sock.recv(200_000):
            file.write(data + b"\n")


@pytest.mark.parametrize("kind", ["udp", "unixgram"])
def test_datagrams_keep_the_contract(kind, tmp_path):
    path, copy = tmp_path / "s", tmp_path / "arrived"
    copy.touch()
    with datagram_peer(path if kind == "unixgram" else None) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        thread = threading.Thread(target=collect, args=(sock, copy))
        thread.start()
        local = kind == "unixgram"
        check_sink(
            lambda: SocketSink(
                f"unixgram://{path}" if local else f"udp://127.0.0.1:{sock.getsockname()[1]}"
            ),
            read=lambda: copy.read_bytes().split(b"\n")[:-1],
            make_failing=(lambda: SocketSink(f"unixgram://{path}-no")) if local else None,
            max_line=60_000,
            # UDP promises nothing to a reader that is slower than a burst of a thousand.
            skip=() if local else ("takes_a_big_batch",),
        )
        with socket.socket(sock.family, socket.SOCK_DGRAM) as last:
            last.sendto(b"", sock.getsockname())
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_one_record_is_one_datagram_without_a_newline(host):
    try:
        peer = datagram_peer(host=host)
        with (
            peer as sock,
            opened(f"udp://{host if '.' in host else f'[{host}]'}:{sock.getsockname()[1]}") as sink,
        ):
            batch = [*records(3), record("x")._replace(line=b"two\nlines")]
            sink.write(batch)
            assert received(sock, 4) == lines(batch)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise
        pytest.skip("no IPv6 on this machine")


def test_syslog_over_udp_has_a_header_and_no_count():
    with (
        datagram_peer() as sock,
        opened(f"udp://127.0.0.1:{sock.getsockname()[1]}", framing="rfc5424") as sink,
    ):
        sink.write(records(1))
        assert received(sock, 1)[0].startswith(b"<14>1 - ")


def test_a_record_that_is_too_large_is_rejected_alone():
    with datagram_peer() as sock, opened(f"udp://127.0.0.1:{sock.getsockname()[1]}") as sink:
        batch = records(5)
        batch[2] = record("x" * 65_508)
        with pytest.raises(SinkRejectedError, match=r"1 record.*too large") as caught:
            sink.write(batch)
        assert caught.value.unwritten == (batch[2],)
        assert received(sock, 4) == lines(batch[:2] + batch[3:])
        now = sink.statistics()
        assert (now.received, now.written) == (4, 4)
        assert now.balanced


def test_the_answer_that_nobody_listens_is_an_error_and_a_pause():
    clock = FakeClock()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with opened(f"udp://127.0.0.1:{port}", clock=clock) as sink:
        batch = records(3)
        error = None
        ends = time.monotonic() + 10
        while error is None and time.monotonic() < ends:
            try:
                sink.write(batch)  # the answer to one datagram meets a later one
            except SinkUnavailableError as failure:
                error = failure
        assert error.retry_after == pytest.approx(0.1)
        with pytest.raises(SinkUnavailableError, match="next try in") as caught:
            sink.write(batch)
        assert caught.value.unwritten == tuple(batch)
        clock.advance(1)
        sink.write(batch[:1])
        assert sink.statistics().details["socket.connects"] == 2


def test_a_name_that_does_not_resolve_is_unavailable(monkeypatch):
    def resolve(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with (
        opened("udp://nowhere.invalid:1") as sink,
        pytest.raises(SinkUnavailableError, match="nowhere"),
    ):
        sink.write(records(1))


# -- Unix -----------------------------------------------------------------------------------------


def test_a_receiver_that_was_started_again_is_found_within_the_write(tmp_path):
    path = tmp_path / "log"
    with datagram_peer(path) as sock, opened(f"unixgram://{path}") as sink:
        sink.write(records(1))
        assert len(received(sock, 1)) == 1
        sock.close()
        path.unlink()
        with datagram_peer(path) as again:
            batch = records(3)
            sink.write(batch)
            assert received(again, 3) == lines(batch)
            assert not sink.statistics().errors


def test_a_receiver_that_is_gone_is_unavailable(tmp_path):
    path = tmp_path / "log"
    with datagram_peer(path) as sock, opened(f"unixgram://{path}") as sink:
        sink.write(records(1))
        sock.close()
        batch = records(3)
        with pytest.raises(SinkUnavailableError) as caught:
            sink.write(batch)
        assert caught.value.unwritten == tuple(batch)


def test_a_receiver_that_does_not_read_costs_one_timeout_and_no_record(tmp_path):
    path = tmp_path / "log"
    with datagram_peer(path) as sock, opened(f"unixgram://{path}", write_timeout=0.2) as sink:
        batch = records(2000)
        with pytest.raises(SinkTimeoutError) as caught:
            sink.write(batch)
        rest = caught.value.unwritten
        assert rest == tuple(batch[len(batch) - len(rest) :])
        started = time.monotonic()
        for _ in range(50):
            with pytest.raises(SinkTimeoutError):
                sink.write(rest[:1])
        assert time.monotonic() - started < 5  # and not 10

        found = []
        while len(found) < len(batch):
            found += received(sock, 1)
            with contextlib.suppress(SinkTimeoutError):
                if rest:
                    try:
                        sink.write(rest)
                        rest = ()
                    except SinkError as error:
                        rest = error.unwritten
                        raise
        assert found == lines(batch)


def test_a_kernel_without_buffers_is_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "log"
    real = socket.socket.send
    answers = [OSError(errno.ENOBUFS, "No buffer space available")] * 3

    def send(self, data):
        if answers:
            raise answers.pop()
        return real(self, data)

    with datagram_peer(path) as sock, opened(f"unixgram://{path}", write_timeout=5) as sink:
        monkeypatch.setattr(socket.socket, "send", send)
        sink.write(records(1))
        assert len(received(sock, 1)) == 1

        answers += [OSError(errno.ENOBUFS, "No buffer space available")] * 1_000_000
        with opened(f"unixgram://{path}", write_timeout=0.05) as impatient:
            with pytest.raises(SinkTimeoutError):
                impatient.write(records(1))
            answers.clear()
            impatient.write(records(1))


def test_too_large_and_unavailable_in_one_batch_keeps_both_for_the_caller(tmp_path):
    path = tmp_path / "log"
    with datagram_peer(path) as sock, opened(f"unixgram://{path}", write_timeout=0.1) as sink:
        sink.write(records(1))
        batch = [record("x" * 10_000_000), *records(2000)]
        with pytest.raises(SinkTimeoutError) as caught:
            sink.write(batch)
        unwritten = caught.value.unwritten
        assert unwritten[0] == batch[0]
        assert 1 < len(unwritten) < len(batch)
        assert sink.statistics().written == 1 + len(batch) - len(unwritten)
        assert len(received(sock, 1)) == 1


def test_a_port_in_use_for_tcp_says_nothing_about_udp():
    with (
        a_port_where_nobody_listens() as port,
        opened(f"udp://127.0.0.1:{port}") as sink,
    ):
        sink.flush(1)
        sink.flush(None)
