"""SocketSink over TCP and Unix streams, against peers that misbehave in every way there is."""

from __future__ import annotations

import contextlib
import itertools
import operator
import os
import select
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from support.peers import (
    a_port_where_nobody_listens,
    descriptors,
    split_counted,
    tcp_peer,
    unix_peer,
)
from support.wrappers import records

from pylog_struct.errors import (
    SinkClosedError,
    SinkError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.sinks import FailoverSink, MemorySink, RollingFileSink, SocketSink
from pylog_struct.testing import FakeClock, check_sink

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells of its send queue")


@pytest.mark.parametrize("timeout", ["30 days", 1e12])
def test_a_very_long_timeout_is_one(timeout):
    """As milliseconds it is more than a C integer holds."""
    with tcp_peer() as peer:
        names = ("connect_timeout", "write_timeout", "stall_timeout", "backoff_max")
        sink = SocketSink(f"tcp://127.0.0.1:{peer.port}", **dict.fromkeys(names, timeout))
        sink.write(records(3))
        sink.flush(1e12)
        sink.close(1e12)
        assert sink.statistics().written == 3


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def open_sink(clock):
    """Make sinks with a clock that stands still, and without jitter; closed at the end."""
    made = []

    def make(url, **options):
        options = {"clock": clock, "random": lambda: 1.0, "write_timeout": 10.0, **options}
        sink = SocketSink(url if "://" in str(url) else f"tcp://127.0.0.1:{url}", **options)
        made.append(sink)
        return sink

    yield make
    for sink in made:
        try:
            sink.close(0)
        except SinkError:
            continue


def lines(batch):
    return [record.line for record in batch]


def refusal(sink, batch):
    with pytest.raises(SinkError) as caught:
        sink.write(batch)
    return caught.value


def balanced(sink):
    now = sink.statistics()
    assert now.balanced
    return now


# -- the contract ---------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["newline", "octet_counting"])
def test_tcp_keeps_the_contract(framing, tmp_path):
    copy = tmp_path / "arrived"
    copy.touch()
    split = {} if framing == "newline" else {"split": split_counted}
    with (
        tcp_peer(copy=copy, **split) as peer,
        tcp_peer(receive_buffer=4096) as stuck,
        a_port_where_nobody_listens() as dead,
    ):
        stuck.pause()
        check_sink(
            lambda: SocketSink(f"tcp://127.0.0.1:{peer.port}", framing=framing),
            read=lambda: copy.read_bytes().split(b"\n")[:-1],
            make_failing=lambda: SocketSink(f"tcp://127.0.0.1:{dead}", framing=framing),
            make_clogged=lambda: SocketSink(
                f"tcp://127.0.0.1:{stuck.port}", framing=framing, write_timeout=0.2
            ),
        )


def test_unix_streams_keep_the_contract(tmp_path):
    copy = tmp_path / "arrived"
    copy.touch()
    with unix_peer(tmp_path / "s", copy=copy), unix_peer(tmp_path / "stuck") as stuck:
        stuck.pause()
        check_sink(
            lambda: SocketSink(f"unix://{tmp_path}/s"),
            read=lambda: copy.read_bytes().split(b"\n")[:-1],
            make_failing=lambda: SocketSink(f"unix://{tmp_path}/nobody"),
            make_clogged=lambda: SocketSink(f"unix://{tmp_path}/stuck", write_timeout=0.2),
        )


# -- what arrives ---------------------------------------------------------------------------------


def test_newline_framing_turns_a_line_break_inside_a_record_into_a_space(open_sink):
    with tcp_peer() as peer:
        sink = open_sink(peer.port)
        batch = [record._replace(line=b'{\n"a": 1\n}') for record in records(2)]
        sink.write(batch)
        assert peer.wait_for(2) == [b'{ "a": 1 }'] * 2


def test_octet_counting_keeps_line_breaks_and_empty_records(open_sink):
    with tcp_peer(split=split_counted) as peer:
        sink = open_sink(peer.port, framing="octet_counting")
        batch = records(3)
        batch[0] = batch[0]._replace(line=b"two\nlines\n")
        batch[1] = batch[1]._replace(line="grün 日本".encode())
        sink.write(batch)
        assert peer.wait_for(3) == lines(batch)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_addresses_by_name_and_of_both_families(host, open_sink):
    try:
        peer = tcp_peer(host="::1" if host == "[::1]" else "127.0.0.1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with peer:
        sink = open_sink(f"tcp://{host}:{peer.port}")
        sink.write(records(1))
        assert len(peer.wait_for(1)) == 1


def test_a_name_is_resolved_anew_at_each_connect_and_each_address_is_tried(
    open_sink, clock, monkeypatch
):
    real = socket.getaddrinfo
    with tcp_peer() as first, tcp_peer() as second, a_port_where_nobody_listens() as dead:
        answers = [[first.port], [dead, second.port]]
        asked = []

        def resolve(host, port, **options):
            asked.append(host)
            return [
                found for port in answers.pop(0) for found in real("127.0.0.1", port, **options)
            ]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        sink = open_sink("tcp://logs.example:5000")
        sink.write(records(1))
        first.wait_for(1)
        first.hang_up()
        first.wait_until(lambda peer: not peer.open)
        clock.advance(10)
        sink.write(records(1))

        assert len(second.wait_for(1)) == 1
        assert asked == ["logs.example"] * 2


# -- peers that go --------------------------------------------------------------------------------


def test_an_idle_connection_that_the_peer_closed_costs_nothing(open_sink):
    with tcp_peer() as peer:
        sink = open_sink(peer.port)
        for number in range(5):
            batch = records(3, first=3 * number)
            sink.write(batch)
            assert peer.wait_for(3 * number + 3)[-3:] == lines(batch)
            peer.hang_up()
            peer.wait_until(lambda peer: not peer.open)

        assert len(peer.connections) == 5
        assert balanced(sink).written == 15
        assert not sink.statistics().errors
        assert sink.statistics().details["socket.disconnects"] == 4


def test_a_connection_that_breaks_within_a_write_is_made_anew_and_the_rest_sent_once(
    open_sink, clock, monkeypatch
):
    with tcp_peer() as peer:
        sink = open_sink(peer.port)
        sink.write(records(1))
        peer.wait_for(1)
        clock.advance(60)  # the connection is no new one
        real = socket.socket.send
        calls = []

        def send(self, data):
            calls.append(len(data))
            if len(calls) == 1:
                return real(self, data[:40])
            if len(calls) == 2:
                raise BrokenPipeError(32, "Broken pipe")
            return real(self, data)

        monkeypatch.setattr(socket.socket, "send", send)
        batch = records(4, first=1)
        whole = 40 // (len(batch[0].line) + 1)
        assert 40 % (len(batch[0].line) + 1), "the break must be inside a record"
        sink.write(batch)

        peer.wait_for(5)
        assert peer.frames() == lines(records(1) + batch)
        assert peer.rests()[0] == batch[whole].line[: 40 % (len(batch[0].line) + 1)]
        assert balanced(sink).written == 5


def test_a_second_break_within_one_write_is_the_callers(open_sink, clock, monkeypatch):
    with tcp_peer() as peer:
        sink = open_sink(peer.port)
        sink.write(records(1))
        clock.advance(60)

        def send(self, data):
            raise ConnectionResetError(104, "reset")

        monkeypatch.setattr(socket.socket, "send", send)
        batch = records(4)
        error = refusal(sink, batch)
        monkeypatch.undo()

        assert isinstance(error, SinkUnavailableError)
        assert error.unwritten == tuple(batch)
        assert sink.statistics().details["socket.connects"] == 2
        assert error.retry_after == pytest.approx(0.1)
        assert balanced(sink).received == 1


def test_unwritten_starts_whole_on_the_next_connection_and_nothing_comes_twice(open_sink, clock):
    """The peer resets after a random part of each connection; what is whole there is never resent."""
    with tcp_peer(receive_buffer=4096, chunk=1000) as peer:
        sink = open_sink(peer.port, write_timeout=0.3)
        batch = records(10_000, filler="x" * 1000)
        rest = batch
        rounds = 0
        while rest:
            peer.pause()
            try:
                sink.write(rest)
                rest = []
            except SinkTimeoutError as error:
                rest = list(error.unwritten)
                assert rest == batch[len(batch) - len(rest) :]
            # Everything that the kernel took is read, and then the connection is gone.
            peer.resume()
            peer.wait_for(len(batch) - len(rest))
            peer.hang_up()
            peer.wait_until(lambda peer: not peer.open)
            clock.advance(60)
            rounds += 1

        arrived = peer.frames()
        assert len(arrived) == len(batch)
        assert all(map(operator.eq, arrived, lines(batch)))  # a diff would be of 20 MB
        assert rounds > 1
        assert len(peer.connections) == rounds
        assert any(peer.rests())
        assert balanced(sink).written == len(batch)


def test_a_new_connection_that_breaks_at_once_is_no_reason_for_a_storm(open_sink, clock):
    with tcp_peer() as peer:
        sink = open_sink(peer.port)
        sink.write(records(1))
        for _ in range(50):
            peer.reset()
            peer.wait_until(lambda peer: not peer.open)
            with contextlib.suppress(SinkUnavailableError):
                sink.write(records(1))
        assert len(peer.connections) <= 2


# -- peers that are not there ---------------------------------------------------------------------


def test_while_the_peer_is_down_writes_are_refused_at_once_and_tries_become_rare(
    open_sink, clock, monkeypatch
):
    tried = []
    real = socket.socket.connect

    def connect(self, target):
        tried.append(clock.monotonic())
        return real(self, target)

    monkeypatch.setattr(socket.socket, "connect", connect)
    with a_port_where_nobody_listens() as port:
        sink = open_sink(port, backoff_min=0.1, backoff_max=5)
        batch = records(3)
        for _ in range(600):
            error = refusal(sink, batch)
            assert isinstance(error, SinkUnavailableError)
            assert error.unwritten == tuple(batch)
            assert 0 < error.retry_after <= 5
            clock.advance(0.05)

    pauses = [after - before for before, after in itertools.pairwise(tried)]
    assert pauses[:6] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2], abs=0.06)
    assert pauses[6:] == pytest.approx([5.0] * len(pauses[6:]), abs=0.06)
    assert balanced(sink).received == 0
    assert sink.statistics().errors == {"SinkUnavailableError": 600}


def test_jitter_spreads_the_pauses_over_half_of_their_length(open_sink, clock):
    with a_port_where_nobody_listens() as port:
        for number, expected in ((0.0, 0.05), (0.5, 0.075), (1.0, 0.1)):
            sink = open_sink(port, random=lambda number=number: number)
            assert refusal(sink, records(1)).retry_after == pytest.approx(expected)


def test_a_failover_switches_and_comes_back(open_sink, clock):
    with a_port_where_nobody_listens() as port:
        sink, file = open_sink(port), MemorySink()
        tree = FailoverSink([sink, file], clock=clock, retry_interval=1.0)
        first = records(10)
        tree.write(first)
    with tcp_peer(port=port) as peer:
        clock.advance(100)
        second = records(10, first=10)
        tree.write(second)

        arrived = peer.wait_for(10)
        assert [line for line in arrived if line in lines(second)] == lines(second)
        assert [record for record in file.records if record in first] == first
        tree.close(5)


def test_a_name_that_does_not_resolve_is_unavailable(open_sink, monkeypatch):
    def resolve(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    error = refusal(open_sink("tcp://nowhere.invalid:1"), records(1))
    assert isinstance(error, SinkUnavailableError)
    assert "nowhere.invalid" in str(error)


def test_an_address_that_swallows_packets_is_left_after_the_connect_timeout(open_sink):
    with socket.socket() as full:  # its queue of connections is full: further ones get no answer
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        sink = open_sink(full.getsockname()[1], connect_timeout=0.2)
        started = time.monotonic()
        error = refusal(sink, records(1))
        for filler in fillers:
            filler.close()

    assert error.retryable
    assert time.monotonic() - started < 5


# -- peers that do not read -----------------------------------------------------------------------


def fill(sink, *, size=2000):
    """Write until the peer's and the kernel's buffers are full; return all, and what was left."""
    batch = records(10_000, filler="x" * size)
    error = refusal(sink, batch)
    assert isinstance(error, SinkTimeoutError)
    assert 0 < len(error.unwritten) < len(batch)
    before = 0
    while before != len(error.unwritten):  # the kernels move their bounds a little
        before = len(error.unwritten)
        error = refusal(sink, error.unwritten)
    return batch, list(error.unwritten)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_slow_peer_gets_the_rest_of_a_begun_record_on_the_same_connection(
    kind, open_sink, tmp_path
):
    peer = tcp_peer(receive_buffer=4096) if kind == "tcp" else unix_peer(tmp_path / "s")
    with peer:
        url = f"tcp://127.0.0.1:{peer.port}" if kind == "tcp" else f"unix://{tmp_path}/s"
        peer.pause()
        sink = open_sink(url, write_timeout=0.2)
        batch, rest = fill(sink)
        peer.resume()
        while rest:
            try:
                sink.write(rest)
                rest = []
            except SinkTimeoutError as error:
                rest = list(error.unwritten)

        assert peer.wait_for(len(batch)) == lines(batch)
        assert len(peer.connections) == 1
        assert balanced(sink).written == len(batch)


def test_a_stuck_peer_costs_one_timeout_not_one_for_every_write(open_sink):
    with tcp_peer(receive_buffer=4096) as peer:
        peer.pause()
        sink = open_sink(peer.port, write_timeout=2.0)
        _, rest = fill(sink)
        started = time.monotonic()
        for _ in range(50):
            assert refusal(sink, rest[:1]).retryable
        assert time.monotonic() - started < 10  # and not 100
        assert len(peer.connections) == 1


def test_a_record_that_went_elsewhere_leaves_no_half_behind_on_a_connection(open_sink):
    with tcp_peer(receive_buffer=4096) as peer:
        peer.pause()
        sink = open_sink(peer.port, write_timeout=0.2)
        batch, rest = fill(sink)
        other = records(1, filler="another one")
        # The peer is stuck: it is not given a second connection to swallow from.
        assert isinstance(refusal(sink, other), SinkTimeoutError)
        peer.resume()
        peer.wait_for(len(batch) - len(rest))
        sink.write(other)

        assert peer.wait_for(len(batch) - len(rest) + 1)[-1] == other[0].line
        assert len(peer.connections) == 2
        assert peer.rests()[1] == b""
        assert rest[0].line.startswith(peer.rests()[0])


def test_a_peer_that_stays_stuck_is_given_up_after_the_stall_timeout(open_sink, clock):
    with tcp_peer(receive_buffer=4096) as peer:
        peer.pause()
        sink = open_sink(peer.port, write_timeout=0.2, stall_timeout=60)
        _, rest = fill(sink)
        clock.advance(59)
        assert isinstance(refusal(sink, rest), SinkTimeoutError)
        assert len(peer.connections) == 1
        clock.advance(2)
        refusal(sink, rest)  # the new connection takes some, and is stuck, too
        peer.wait_until(lambda peer: len(peer.connections) == 2)
        assert sink.statistics().details["socket.unconfirmed_bytes"] > 0


def test_a_peer_that_reads_byte_by_byte_gets_everything(open_sink):
    with tcp_peer(receive_buffer=2048, chunk=1) as peer:
        sink = open_sink(peer.port)
        batch = records(60, filler="grün" * 20)
        sink.write(batch)
        assert peer.wait_for(60) == lines(batch)


# -- flush and close ------------------------------------------------------------------------------


@on_linux
def test_flush_and_close_tell_when_the_peer_has_not_confirmed_everything(open_sink):
    with tcp_peer(receive_buffer=4096) as peer:
        peer.pause()
        sink = open_sink(peer.port, write_timeout=0.2)
        batch = records(200, filler="x" * 1000)
        sink.write(batch)  # more than the peer's buffer, less than ours
        with pytest.raises(SinkTimeoutError, match="not confirmed"):
            sink.flush(0.1)
        peer.resume()
        sink.flush(10)
        assert peer.wait_for(200) == lines(batch)

        peer.pause()
        sink.write(batch)
        with pytest.raises(SinkTimeoutError, match="not confirmed"):
            sink.close(0.05)
        with pytest.raises(SinkClosedError):
            sink.write(batch)
        # The kernel goes on with what it took.
        peer.resume()
        assert peer.wait_for(400) == lines(batch) * 2


@on_linux
def test_close_waits_until_a_slow_peer_has_everything(open_sink):
    with tcp_peer(receive_buffer=4096) as peer:
        peer.pause()
        sink = open_sink(peer.port, write_timeout=20)
        batch = records(200, filler="x" * 1000)
        sink.write(batch)
        timer = threading.Timer(0.3, peer.resume)
        timer.start()
        sink.close(20)
        timer.join()
        assert peer.wait_for(200) == lines(batch)
        assert peer.endings in ([], ["end"])


@on_linux
def test_bytes_lost_with_a_connection_are_counted_and_told_by_the_next_flush(
    open_sink, clock, capfd
):
    with tcp_peer(receive_buffer=4096) as peer:
        peer.pause()
        sink = open_sink(peer.port)
        sink.write(records(200, filler="x" * 1000))
        peer.wait_until(lambda peer: peer.open)
        peer.reset()
        peer.wait_until(lambda peer: not peer.open)
        refusal(sink, records(1))
        with pytest.raises(SinkUnavailableError, match="confirmed"):
            sink.flush(1)
        sink.flush(1)  # told once
        assert sink.statistics().details["socket.unconfirmed_bytes"] > 0
    assert "had not confirmed" in capfd.readouterr().err


def test_elsewhere_close_waits_until_the_peer_has_read_to_the_end(open_sink, monkeypatch):
    with tcp_peer(receive_buffer=4096) as peer:
        monkeypatch.setattr(sys, "platform", "darwin")
        peer.pause()
        sink = open_sink(peer.port, write_timeout=20)
        batch = records(200, filler="x" * 1000)
        sink.write(batch)
        sink.flush(0.1)  # there is nothing to ask
        timer = threading.Timer(0.3, peer.resume)
        timer.start()
        sink.close(20)
        timer.join()
        assert len(peer.frames()) == 200

        peer.pause()
        stuck = open_sink(peer.port, write_timeout=20)
        stuck.write(records(1))
        with pytest.raises(SinkTimeoutError, match="did not close"):
            stuck.close(0.1)


def test_what_the_peer_says_is_thrown_away_and_close_is_no_reset(open_sink):
    with tcp_peer() as peer:
        sink = open_sink(peer.port)
        sink.write(records(1))
        peer.wait_for(1)
        peer._open[0].sendall(b"thank you\n" * 20_000)
        for _ in range(5):
            sink.write(records(1))
        sink.close(5)
        peer.wait_until(lambda peer: peer.endings)
        assert peer.endings == ["end"]
        assert len(peer.frames()) == 6


# -- resources ------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_descriptors_are_stable_over_a_thousand_reconnects(open_sink, clock):
    with tcp_peer() as peer:
        sink = open_sink(peer.port)
        counts = []
        for number in range(1000):
            sink.write(records(1))
            peer.wait_until(lambda peer, number=number: len(peer.frames()) > number)
            peer.connections[:] = [b"\n" * (number + 1)]
            if number % 2:
                peer.hang_up()
            else:
                peer.reset()
            peer.wait_until(lambda peer: not peer.open)
            clock.advance(60)
            counts.append(descriptors())
        assert max(counts[10:]) <= max(counts[:10])
        assert sink.statistics().details["socket.connects"] == 1000


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_descriptors_are_stable_over_a_thousand_refusals(open_sink, clock):
    with a_port_where_nobody_listens() as port:
        sink = open_sink(port)
        refusal(sink, records(1))
        before = descriptors()
        for _ in range(1000):
            clock.advance(60)
            refusal(sink, records(1))
        assert descriptors() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_opens_its_own_connection_and_leaves_the_parents_alone(open_sink):
    with tcp_peer() as peer:
        sink = open_sink(peer.port)
        sink.write(records(1))
        peer.wait_for(1)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                sink.write(records(1, first=1))
                sink.close(5)
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        sink.write(records(1, first=2))
        peer.wait_for(3)

        assert [len(data) > 0 for data in peer.connections] == [True, True]
        assert peer.connections[0].count(b"\n") == 2
        assert balanced(sink).written == 2


def test_an_interrupt_in_the_middle_of_a_batch_glues_no_records(open_sink, monkeypatch):
    with tcp_peer() as peer:
        sink = open_sink(peer.port)
        real = socket.socket.send
        calls = []

        def send(self, data):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return real(self, data[:30] if len(calls) == 1 else data)

        monkeypatch.setattr(socket.socket, "send", send)
        batch = records(10)
        with pytest.raises(KeyboardInterrupt):
            sink.write(batch)
        sink.write(batch)
        peer.wait_for(10)

        assert set(peer.frames()) == set(lines(batch))
        assert balanced(sink).written == sink.statistics().received


# -- ten minutes without a server -----------------------------------------------------------------


def test_ten_minutes_of_outage_lose_nothing_and_end_without_a_storm(open_sink, clock, tmp_path):
    """A thousand records a second, in time that stands still between the seconds."""
    with a_port_where_nobody_listens() as port:
        sink = open_sink(port)
        file = RollingFileSink(tmp_path / "meanwhile.jsonl")
        tree = FailoverSink([sink, file], clock=clock, retry_interval=1.0)
        batch = records(1000)
        before = None
        for second in range(600):
            for begin in range(0, 1000, 250):
                tree.write(batch[begin : begin + 250])
            clock.advance(1)
            if second == 10:
                before = descriptors()
        assert descriptors() == before
        tries = sink.statistics().errors["SinkUnavailableError"]
    with tcp_peer(port=port) as peer:
        for _ in range(120):  # until the longest pause is over, and a little longer
            tree.write(batch)
            clock.advance(1)
        sink.flush(20)
        sent = sink.statistics().written
        arrived = peer.wait_for(sent)
        tree.close(20)

    assert len(peer.connections) == 1
    assert len(arrived) == sent
    kept = (tmp_path / "meanwhile.jsonl").read_bytes().count(b"\n")
    notices = 2  # that it switched, and that it came back
    assert kept + len(arrived) == 720 * 1000 + notices
    assert kept < 632 * 1000
    assert tries < 700


def test_select_does_where_there_is_no_poll(open_sink, monkeypatch):
    monkeypatch.delattr(select, "poll")
    with tcp_peer(receive_buffer=4096) as peer:
        peer.pause()
        sink = open_sink(peer.port, write_timeout=0.2)
        batch, rest = fill(sink)
        peer.resume()
        while rest:
            try:
                sink.write(rest)
                rest = []
            except SinkTimeoutError as error:
                rest = list(error.unwritten)
        assert peer.wait_for(len(batch)) == lines(batch)
