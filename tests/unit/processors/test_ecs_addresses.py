"""IP addresses go the quick way too, and only if they are some."""

from __future__ import annotations

import json

import pytest

from pylog_struct.processors import ECS


def event(**fields):
    return {
        "timestamp": "2026-11-28T00:15:11.333084Z",
        "level": "info",
        "logger": "shop",
        "event": "said",
        **fields,
    }


@pytest.mark.parametrize("guard", [True, False])
def test_the_quick_way_gives_the_same_document_as_the_thorough_one(guard, monkeypatch):
    renderer = ECS(guard=guard)
    given = event(**{"client.ip": "192.0.2.7", "client.port": 7, "note": "x"})
    first = renderer.render(given)
    thorough = []
    monkeypatch.setattr(renderer, "_thoroughly", lambda given: thorough.append(given) or b"{}")
    assert renderer.render(given) == first
    assert thorough == []
    assert json.loads(first)["client.ip"] == "192.0.2.7"


@pytest.mark.parametrize("value", ["nonsense", "192.0.2", "", "192.0.2.7\n", 7, None])
def test_what_is_no_address_goes_where_it_went_before(value):
    learned, fresh = ECS(), ECS()
    learned.render(event(**{"client.ip": "192.0.2.7"}))
    given = event(**{"client.ip": value})
    assert json.loads(learned.render(given)) == json.loads(fresh.render(given))
    assert json.loads(learned.render(given)).get("client.ip") in (None, value)


def test_a_long_text_is_no_address_and_is_counted():
    renderer = ECS()
    renderer.render(event(**{"client.ip": "192.0.2.7"}))
    line = renderer.render(event(**{"client.ip": "1" * 2_000_000}))
    assert "client.ip" not in json.loads(line)
