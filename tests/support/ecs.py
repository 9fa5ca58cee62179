"""What a document of ecs-logging has to be, and what an index does with documents.

:func:`check_document` holds a line against the published specification (``ecs_spec.json``: its
facts).  :class:`FakeIndex` maps fields dynamically and rejects as Elasticsearch does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.payloads import strict_loads

from pylog_struct.processors._ecs_fields import ecs_fields

SPEC = json.loads(Path(__file__).with_name("ecs_spec.json").read_text("utf-8"))
DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?")


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of every scalar, of members of arrays too; an empty object is one."""
    if isinstance(value, dict) and (value or not path):
        for key, member in value.items():
            yield from leaves(member, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for member in value:
            yield from leaves(member, path)
    else:
        yield path, value


def _is(kind: str, value: Any) -> bool:
    if kind == "datetime":
        return isinstance(value, str) and DATE.fullmatch(value) is not None
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, str)


def check_document(line: bytes) -> dict[str, Any]:
    """Assert that one line satisfies the specification; return the document."""
    assert b"\n" not in line
    document = strict_loads(line)
    present = [key for key in SPEC["order"] if key in document]
    assert list(document)[: len(present)] == present
    found = dict(leaves({key: value for key, value in document.items() if key != "labels"}))
    for path, field in SPEC["fields"].items():
        if field.get("required"):
            assert path in found, path
        if field.get("top_level_field"):
            assert path in document, path
        if path in found and path != "labels" and found[path] is not None:
            assert _is(field["type"], found[path]), (path, found[path])
    labels = document.get("labels", {})
    assert isinstance(labels, dict)
    for name, value in labels.items():
        assert not set(name) & set(SPEC["fields"]["labels"]["key_replacements"])
        assert value is None or isinstance(value, str)
    if "event.dataset" in document:
        rule = SPEC["fields"]["event.dataset"]
        dataset = document["event.dataset"]
        assert not set(dataset) & set(rule["value_replacements"])
        assert len(dataset) <= rule["max_chars"]
        assert dataset == dataset.lower()
    check_paths(document)
    return document


def check_paths(document: dict[str, Any]) -> None:
    """Assert that no path is a value and an object at once, and none is a value twice."""
    values: list[str] = []
    objects: set[str] = set()
    _collect(document, "", values, objects)
    assert not objects & set(values), objects & set(values)
    assert len(values) == len(set(values))


def _collect(value: dict[str, Any], prefix: str, values: list[str], objects: set[str]) -> None:
    for key, member in value.items():
        path = f"{prefix}{key}"
        parent = path
        while parent := parent.rpartition(".")[0]:
            objects.add(parent)
        if isinstance(member, dict):
            objects.add(path)
            _collect(member, f"{path}.", values, objects)
        elif isinstance(member, list) and any(isinstance(item, dict) for item in member):
            objects.add(path)
        else:
            values.append(path)


class Rejected(Exception):
    """A 400 with ``mapper_parsing_exception``."""


class FakeIndex:
    """The schema's text fields are text; everything else is mapped dynamically, dates detected.

    ``pylog.folded`` is mapped as ``flattened``, as our template does.
    """

    def __init__(self, mapping: dict[str, str] | None = None) -> None:
        self.types: dict[str, str] = {"pylog.folded": "flattened", **(mapping or {})}

    def add(self, line: bytes) -> None:
        assert len(line) < 100_000_000
        self._object(strict_loads(line), "")

    def _object(self, value: dict[str, Any], prefix: str) -> None:
        for key, member in value.items():
            parts = key.split(".")
            if not all(part.strip() for part in parts) or (not prefix and key.startswith("_")):
                raise Rejected(f"name {key!r}")
            for cut in range(1, len(parts)):
                self._want(prefix + ".".join(parts[:cut]), "object")
            self._field(f"{prefix}{key}", member)

    def _field(self, path: str, value: Any) -> None:
        if value is None:
            return
        if self.types.get(path) == "flattened":
            if not isinstance(value, dict):
                raise Rejected(path)
            for key, member in value.items():
                if not isinstance(member, str) or len(f"{key}{member}".encode()) > 32_766:
                    raise Rejected(f"{path}.{key}")
        elif isinstance(value, dict):
            if path.count(".") >= 19:
                raise Rejected(f"too deep: {path}")
            self._want(path, "object")
            self._object(value, f"{path}.")
        elif isinstance(value, list):
            for member in value:
                self._field(path, member)
        else:
            self._scalar(path, value)

    def _want(self, path: str, kind: str) -> None:
        if self.types.setdefault(path, kind) != kind:
            raise Rejected(f"{path}: {self.types[path]} is no {kind}")

    def _scalar(self, path: str, value: Any) -> None:
        kind = self.types.setdefault(path, self._dynamic(path, value))
        if kind == "object":
            raise Rejected(f"{path} is an object")
        if kind in ("text", "keyword"):
            if len(str(value).encode()) > 32_766:
                raise Rejected(f"{path}: immense term")
        elif kind == "boolean" and type(value) is not bool:
            raise Rejected(f"{path}: {value!r} is no boolean")
        elif kind == "date" and not (isinstance(value, str) and DATE.fullmatch(value)):
            raise Rejected(f"{path}: {value!r} is no date")
        elif kind in ("long", "float"):
            if type(value) not in (int, float):
                raise Rejected(f"{path}: {value!r} is no number")
            if kind == "long" and not -(2**63) <= value < 2**63:
                raise Rejected(f"{path}: {value} is out of range")
            if kind == "float" and abs(value) > 3.5e38:
                raise Rejected(f"{path}: {value} is out of range")

    def _dynamic(self, path: str, value: Any) -> str:
        if ecs_fields().get(path) in ("keyword", "wildcard", "match_only_text"):
            return "text"
        if isinstance(value, bool):
            return "boolean"
        if isinstance(value, str):
            return "date" if DATE.fullmatch(value) else "text"
        return "float" if isinstance(value, float) else "long"
