"""Names of fields in a document of the Elastic Common Schema: which an index takes, and whose they are."""

from __future__ import annotations

import zlib
from typing import Final

from pylog_struct.processors._ecs_fields import ECS_ROOTS, OPEN_SUBTREES

__all__ = ["is_claimed", "is_sound", "label_name", "label_path"]

_CLAIMED: Final = ECS_ROOTS | {"@timestamp", "message", "pylog"}
_PATH_MAX: Final = 256  # characters
_DEPTH_MAX: Final = 16  # parts of a path; an index takes 20
_LABEL_MAX: Final = 200  # characters
_LABEL_CHARACTERS: Final = str.maketrans(dict.fromkeys(".*\\\x00", "_"))


def is_sound(path: str) -> bool:
    """Whether an index takes a field of that name at all."""
    return (
        len(path) <= _PATH_MAX
        and path[:1] != "_"  # the names of an index's own fields begin so
        and path.count(".") < _DEPTH_MAX
        and "\x00" not in path
        and all(part.strip() for part in path.split("."))
    )


def is_claimed(path: str) -> bool:
    """Whether the name is within the schema (or our own), where only its own fields belong."""
    return path.partition(".")[0] in _CLAIMED and not path.startswith(OPEN_SUBTREES)


def label_path(path: str) -> str:
    """The path of the label that a field at *path* becomes."""
    return f"labels.{label_name(path)}"


def label_name(path: str) -> str:
    """Its name under ``labels``: no dots, of a length that an index takes."""
    name = path.translate(_LABEL_CHARACTERS).strip() or "_"
    if len(name) <= _LABEL_MAX:
        return name
    return f"{name[:_LABEL_MAX]}~{zlib.crc32(path.encode()):08x}"
