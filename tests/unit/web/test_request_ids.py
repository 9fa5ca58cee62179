"""Request ids and text from the network: bounded, in one line, of safe characters."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pylog_struct.web._request.request_id import IDS, REQUEST_ID_MAX, accepted_id, rejected_id
from pylog_struct.web._request.text import shown

HOSTILE = [
    "",
    " ",
    "a" * 1_000_000,
    "a" * (REQUEST_ID_MAX + 1),
    "a\r\nSet-Cookie: x=1",
    "a\n",
    "a\x00b",
    '{"level":"error"}',
    "a b",
    "-leading-dash",
    "ünïcode",
    "a\x1b[31m",
    "a'b",
    'a"b',
    "a<b",
    "a%0d%0ab",
]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_id_is_refused_and_what_is_kept_of_it_is_short_and_prints(value):
    assert accepted_id(value) is None
    kept = rejected_id(value)
    assert len(kept) <= 64
    assert kept.isprintable()


@pytest.mark.parametrize(
    "value",
    ["a", "A-1_b.c~d+e/f=g:h@i", "f" * REQUEST_ID_MAX, "0b50c6f7-8f0c-4f0e-9b0a-4a5f9a0b7f11"],
)
def test_what_others_use_for_ids_is_taken_as_it_is(value):
    assert accepted_id(value) == value


def test_no_two_ids_are_equal_whatever_thread_makes_them():
    made = []

    def work():
        made.extend([IDS.new() for _ in range(1_000)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 4_000
    assert all(len(one) == 32 and accepted_id(one) == one for one in made)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_the_child_of_a_fork_repeats_none_of_its_parents_ids():
    IDS.new()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, "".join(IDS.new() for _ in range(100)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        theirs = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    found = {theirs[at : at + 32] for at in range(0, len(theirs), 32)}
    assert len(found) == 100
    assert found.isdisjoint(IDS.new() for _ in range(200))


@settings(deadline=None)
@given(st.text(max_size=300), st.integers(min_value=2, max_value=100))
def test_shown_text_prints_and_is_bounded(text, longest):
    found = shown(text, longest)
    assert len(found) <= longest
    assert found.isprintable()
    found.encode()
    if text.isprintable() and len(text) <= longest:
        assert found == text


def test_what_does_not_print_is_escaped_and_what_is_cut_is_marked():
    assert shown("a\r\nb\ud800\x1b", 100) == r"a\r\nb\ud800\x1b"
    assert shown("abcdef", 4) == "abc…"
    assert shown("\n\n\n", 4) == "\\n\\…"
