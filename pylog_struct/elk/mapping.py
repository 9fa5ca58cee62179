"""The mapping of our documents, from the same table of ECS fields that the ECS renderer uses.

It is made so that no document of ours can be rejected: strings are keywords that leave out what is too
long for Lucene, numbers, dates and addresses that are none are ignored, dates are not looked for in
strings, and ``labels`` never adds a field that could collide.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pylog_struct.processors._ecs_fields import ECS_VERSION, ecs_fields

__all__ = ["FIELDS_LIMIT", "IGNORE_ABOVE", "Flavour", "mapping"]

Flavour = Literal["elasticsearch", "opensearch"]

IGNORE_ABOVE: Final = 8191
"""Characters: of four bytes each, as many as fit into a term of Lucene (32,766 bytes)."""

FIELDS_LIMIT: Final = 2500
"""``total_fields.limit``: a bit over 1,000 are those of ECS, the rest is for dynamic fields."""

_FLATTENED: Final = 8000  # a flattened field keeps the path and the value in one term

_KEYWORD: Final = {"type": "keyword", "ignore_above": IGNORE_ABOVE}
_TEXT: Final = {"type": "text", "norms": False}
_BODIES: Final[dict[str, dict[str, Any]]] = {
    "keyword": _KEYWORD,
    # A constant keyword rejects every document with another value.
    "constant_keyword": _KEYWORD,
    "scaled_float": {"type": "scaled_float", "scaling_factor": 1000},
}
_BODIES_OF: Final[dict[Flavour, dict[str, dict[str, Any]]]] = {
    "elasticsearch": {
        **_BODIES,
        "flattened": {"type": "flattened", "ignore_above": _FLATTENED},
    },
    "opensearch": {
        **_BODIES,
        # It has no wildcard before 2.15 and no match_only_text before 2.12, and flat_object rejects
        # a document with a long value in it.
        "flattened": {"type": "object", "enabled": False},
        "match_only_text": _TEXT,
        "wildcard": _KEYWORD,
    },
}
# OpenSearch tries its default format, in which everything after the day is optional, with one attempt
# for each part: a tenth of all that indexing a short event costs.  What we send is found first this way.
_FORMATS: Final = "strict_date_time||strict_date_optional_time||epoch_millis"
_TEXTS: Final = frozenset(
    {"message", "error.message", "error.stack_trace", "event.original", "pylog.stack"}
)


def mapping(flavour: Flavour, *, nanoseconds: bool = False) -> dict[str, Any]:
    """Return the mapping for documents of ``format="ecs"``.

    Args:
        flavour: Whose mapping types to use.
        nanoseconds: ``date_nanos`` for ``@timestamp``, which then sorts by microseconds, but is of
            another type than in the data streams of others.
    """
    bodies = _BODIES_OF[flavour]
    tree: dict[str, Any] = {}
    for path, kind in ecs_fields().items():
        _put(tree, path, bodies.get(kind, {"type": kind}))
    # Of the call, beside that of an error: both are searched by words, and as long.
    _put(tree, "pylog.stack", bodies.get("wildcard", {"type": "wildcard"}))
    if flavour == "opensearch":
        for path in _TEXTS:
            _put(tree, path, _TEXT)
    # The one field that a data stream must be able to rely on.
    timestamp: dict[str, Any] = {
        "type": "date_nanos" if nanoseconds else "date",
        "ignore_malformed": False,
    }
    if flavour == "opensearch":
        timestamp["format"] = _FORMATS
    _put(tree, "@timestamp", timestamp)
    _put(tree, "dead_letter.sink", _KEYWORD)
    _put(tree, "dead_letter.reason", bodies.get("match_only_text", {"type": "match_only_text"}))
    _put(tree, "pylog.folded", bodies["flattened"])
    _put(tree, "pylog.original_bytes", {"type": "long"})
    _put(tree, "pylog.truncated", _KEYWORD)
    dynamic: list[dict[str, Any]] = []
    if flavour == "elasticsearch":
        _put(tree, "labels", bodies["flattened"])
    else:
        dynamic.append({"labels": {"path_match": "labels.*", "mapping": dict(_KEYWORD)}})
    dynamic.append({"strings": {"match_mapping_type": "string", "mapping": dict(_KEYWORD)}})
    return {
        "_meta": {"managed_by": "pylog_struct", "ecs": ECS_VERSION},
        "date_detection": False,
        "dynamic_templates": dynamic,
        "properties": tree,
    }


def _put(tree: dict[str, Any], path: str, body: dict[str, Any]) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {}).setdefault("properties", {})
    tree[name] = dict(body)
