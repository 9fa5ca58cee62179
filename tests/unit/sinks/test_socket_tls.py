"""SocketSink over TLS: trusted peers only, unless somebody said otherwise."""

from __future__ import annotations

import os
import ssl
import time
from pathlib import Path

import pytest
from support.peers import tcp_peer
from support.tls import certificate, server_context, write_ca, write_pair
from support.wrappers import records

from pylog_struct.errors import SinkTimeoutError, SinkUnavailableError
from pylog_struct.sinks import SocketSink
from pylog_struct.testing import FakeClock, check_sink


@pytest.fixture
def ca(tmp_path):
    return write_ca(tmp_path)


def deliver(port, *, number=3, **options):
    """Write some records and close; return their lines."""
    sink = SocketSink(f"tls://localhost:{port}", **options)
    batch = records(number)
    try:
        sink.write(batch)
    finally:
        sink.close(5)
    return [record.line for record in batch]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_records_arrive_and_the_end_is_a_proper_one(ca, version):
    with tcp_peer(context=server_context(max_version=version)) as peer:
        sent = deliver(peer.port, ca_file=ca)
        assert peer.wait_for(3) == sent
        peer.wait_until(lambda peer: peer.endings)
        assert peer.endings == ["end"]  # close_notify: nobody has cut the stream off


def test_tls_keeps_the_contract(ca, tmp_path):
    copy = tmp_path / "arrived"
    copy.touch()
    with (
        tcp_peer(context=server_context(), copy=copy) as peer,
        tcp_peer(context=server_context(), receive_buffer=4096) as stuck,
    ):
        stuck.pause()
        check_sink(
            lambda: SocketSink(f"tls://localhost:{peer.port}", ca_file=ca),
            read=lambda: copy.read_bytes().split(b"\n")[:-1],
            make_failing=lambda: SocketSink(f"tls://localhost:{peer.port}"),  # unknown authority
            make_clogged=lambda: SocketSink(
                f"tls://localhost:{stuck.port}", ca_file=ca, write_timeout=0.2
            ),
        )


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: certificate("other.example"), "Hostname mismatch"),
        (lambda: certificate(expired=True), "certificate has expired"),
        (lambda: certificate(of="theirs"), "unable to get local issuer|self-signed"),
    ],
    ids=["wrong name", "expired", "unknown authority"],
)
def test_a_peer_that_cannot_be_trusted_gets_nothing(made, words, ca):
    with tcp_peer(context=server_context(made())) as peer:
        with pytest.raises(SinkUnavailableError, match=words) as caught:
            deliver(peer.port, ca_file=ca)
        assert len(caught.value.unwritten) == 3
        assert peer.frames() == []

        # The way out has to be asked for.
        sent = deliver(peer.port, verify=False)
        assert peer.wait_for(3) == sent


def test_the_systems_authorities_are_trusted_by_default(ca, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", ca)
    with tcp_peer(context=server_context()) as peer:
        assert peer.wait_for(0) == []
        sent = deliver(peer.port)
        assert peer.wait_for(3) == sent


def test_the_expected_name_can_be_another_than_the_address(ca):
    with tcp_peer(context=server_context(certificate("logs.example"))) as peer:
        sent = deliver(peer.port, ca_file=ca, server_hostname="logs.example")
        assert peer.wait_for(3) == sent


def test_a_client_certificate_is_shown(ca, tmp_path):
    cert, key = write_pair(tmp_path, certificate("client.example"))
    with tcp_peer(context=server_context(asks_for="ours")) as peer:
        sent = deliver(peer.port, ca_file=ca, cert_file=cert, key_file=key)
        assert peer.wait_for(3) == sent


def test_files_are_read_at_each_connect_and_missing_ones_are_told(ca, tmp_path):
    clock = FakeClock()
    path = tmp_path / "later.pem"
    with tcp_peer(context=server_context()) as peer:
        sink = SocketSink(f"tls://localhost:{peer.port}", ca_file=str(path), clock=clock)
        with pytest.raises(SinkUnavailableError, match="No such file"):
            sink.write(records(1))
        path.write_text("no certificate")
        clock.advance(60)
        with pytest.raises(SinkUnavailableError, match=r"(?i)ssl"):
            sink.write(records(1))
        path.write_bytes(Path(ca).read_bytes())
        clock.advance(60)
        sink.write(records(1))
        assert len(peer.wait_for(1)) == 1
        sink.close(5)


def test_a_peer_that_does_not_shake_hands_costs_the_connect_timeout(ca):
    with tcp_peer() as mute:  # speaks no TLS, and nothing else
        sink = SocketSink(f"tls://localhost:{mute.port}", ca_file=ca, connect_timeout=0.3)
        started = time.monotonic()
        with pytest.raises(SinkUnavailableError, match="did not answer in time"):
            sink.write(records(1))
        assert time.monotonic() - started < 5


def test_a_peer_that_closed_an_idle_connection_costs_nothing(ca):
    clock = FakeClock()
    with tcp_peer(context=server_context()) as peer:
        sink = SocketSink(f"tls://localhost:{peer.port}", ca_file=ca, clock=clock)
        for number in range(4):
            sink.write(records(1, first=number))
            peer.wait_for(number + 1)
            peer.hang_up()
            peer.wait_until(lambda peer: not peer.open)
            clock.advance(60)
        sink.close(5)

    assert peer.frames() == [record.line for record in records(4)]
    assert len(peer.connections) == 4
    assert not sink.statistics().errors
    # Not even the alert that TLS sends when a stream ends without a word.
    assert "socket.unconfirmed_bytes" not in sink.statistics().details


def test_a_stuck_peer_loses_its_connection_and_the_next_one_begins_with_whole_records(ca):
    """TLS cannot go on with other bytes than it began: so nothing of the old connection is used."""
    clock = FakeClock()
    with tcp_peer(context=server_context(), receive_buffer=4096) as peer:
        sink = SocketSink(
            f"tls://localhost:{peer.port}", ca_file=ca, write_timeout=0.3, clock=clock
        )
        sink.write(records(1))
        peer.wait_for(1)
        peer.pause()
        batch = records(10_000, filler="x" * 1000)
        with pytest.raises(SinkTimeoutError) as caught:
            sink.write(batch)
        rest = caught.value.unwritten
        assert 0 < len(rest) < len(batch)
        with pytest.raises(SinkUnavailableError):
            sink.write(rest)  # the back-off
        peer.resume()
        # Until the first connection is read to its end, however it ends.
        peer.wait_until(lambda peer: not peer.open)
        clock.advance(60)
        while rest:
            try:
                sink.write(rest)
                rest = ()
            except (SinkTimeoutError, SinkUnavailableError) as error:
                rest = error.unwritten
                clock.advance(60)
        sink.close(5)
        expected = [record.line for record in (*records(1), *batch)]
        assert peer.wait_for(len(expected)) == expected
        assert len(peer.connections) >= 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_does_not_shut_the_parents_session_down(ca):
    with tcp_peer(context=server_context()) as peer:
        sink = SocketSink(f"tls://localhost:{peer.port}", ca_file=ca)
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
        peer.wait_for(2)
        assert peer.endings in ([], ["end"])  # the child's own, if anything
        sink.write(records(1, first=2))
        peer.wait_for(3)
        assert peer.connections[0].count(b"\n") == 2
        assert len(peer.connections) == 2
        sink.close(5)
        peer.wait_until(lambda peer: len(peer.endings) == 2)
        assert peer.endings == ["end", "end"]


def test_an_encrypted_key_without_its_password_is_an_error_and_no_question(
    ca, tmp_path, monkeypatch
):
    from cryptography.hazmat.primitives import serialization

    made = certificate("client.example")
    cert, key = write_pair(tmp_path, made)
    loaded = serialization.load_pem_private_key(made.private_key_pem.bytes(), None)
    Path(key).write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with tcp_peer(context=server_context(asks_for="ours")) as peer:
        asked = []
        real = ssl.SSLContext.load_cert_chain

        def load(self, certfile, keyfile=None, password=None):
            asked.append(password)
            return real(self, certfile, keyfile, password)

        monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load)
        with pytest.raises(SinkUnavailableError):
            deliver(peer.port, ca_file=ca, cert_file=cert, key_file=key)
        assert asked == [""]  # with None, OpenSSL would ask on the terminal
        sent = deliver(peer.port, ca_file=ca, cert_file=cert, key_file=key, key_password="secret")
        assert peer.wait_for(3) == sent
        assert "secret" not in repr(SocketSink("tls://h:1", cert_file=cert, key_password="secret"))
