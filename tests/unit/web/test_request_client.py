"""The client's address: the peer, or whom a trusted proxy names; never what a stranger claims."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pylog_struct.errors import ConfigError
from pylog_struct.web._request.client import FORWARDED, Proxies, is_ip

PROXIES = ["10.0.0.0/8", "::1", "127.0.0.1"]


def find(*values, peer="10.0.0.1", trusted=PROXIES, **more):
    return Proxies(trusted, **more).client(peer, 5, values)


def test_a_peer_that_is_no_proxy_stands_for_itself():
    assert find("1.2.3.4", peer="192.0.2.1") == ("192.0.2.1", 5)
    assert find("1.2.3.4", peer="no address") == ("no address", 5)


def test_the_first_hop_from_the_right_that_is_no_proxy_is_the_client():
    assert find("1.1.1.1, 198.51.100.9, 10.2.3.4") == ("198.51.100.9", None)
    assert find("1.1.1.1", "198.51.100.9", "10.2.3.4") == ("198.51.100.9", None)
    assert find("10.5.5.5") == ("10.5.5.5", None)
    assert find() == ("10.0.0.1", 5)


@pytest.mark.parametrize("junk", ["", "unknown", "<script>", "1.2.3", "a" * 1_000_000, "1.1.1.1;x"])
def test_what_is_no_address_ends_the_walk(junk):
    assert find(f"1.1.1.1, {junk}, 10.2.3.4") == ("10.2.3.4", None)
    assert find(junk) == ("10.0.0.1", 5)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("198.51.100.9:8080", ("198.51.100.9", 8080)),
        ("198.51.100.9:99999", ("198.51.100.9", None)),
        ("2001:db8::7", ("2001:db8::7", None)),
        ("[2001:db8::7]:443", ("2001:db8::7", 443)),
        ("::ffff:198.51.100.9", ("198.51.100.9", None)),
    ],
)
def test_forms_of_an_address(text, found):
    assert find(text) == found


def test_a_mapped_address_is_the_one_that_is_trusted():
    assert find("198.51.100.9", peer="::ffff:10.0.0.1") == ("198.51.100.9", None)


def test_the_standard_header():
    value = 'for="[2001:db8::7]:4711";proto=https, For=10.1.1.1; by=203.0.113.60'
    assert find(value, header=FORWARDED) == ("2001:db8::7", 4711)
    assert find("proto=https", header=FORWARDED) == ("10.0.0.1", 5)
    assert find("for=_hidden", header=FORWARDED) == ("10.0.0.1", 5)


def test_a_flood_of_hops_is_looked_at_from_the_right_only():
    assert find(",".join(["10.0.0.9"] * 100_000)) == ("10.0.0.9", None)
    long = "9.9.9.9" + " " * 4_096 + ",198.51.100.9"
    assert find(long) == ("198.51.100.9", None)
    # the part of an address that is left of a cut is no address
    cut = "210.0.0.1," + ",".join(["10.0.0.2"] * 455)
    assert find(cut)[0] == "10.0.0.2"


def test_a_unix_socket_is_trusted_if_it_is_said_so():
    assert find("198.51.100.9", peer="", trusted=["unix"]) == ("198.51.100.9", None)
    assert find("198.51.100.9", peer="") == ("", 5)


@pytest.mark.parametrize("one", ["nonsense", "10.0.0.0/99", None, 3.5])
def test_nonsense_is_refused(one):
    with pytest.raises(ConfigError, match=r"trusted_proxies\[1\]: .*10\.0\.0\.0/8"):
        Proxies(["127.0.0.1", one])


@settings(deadline=None)
@given(st.text(max_size=100), st.sampled_from(["x-forwarded-for", "forwarded"]))
def test_whatever_comes_the_result_is_an_address(text, header):
    address, _ = Proxies(PROXIES, header).client("10.0.0.1", None, [text])
    assert is_ip(address)
