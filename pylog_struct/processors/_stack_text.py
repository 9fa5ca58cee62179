"""Tracebacks as text, in the words of the :mod:`traceback` module, bounded in bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pylog_struct.processors._text import class_path, clean, cut
from pylog_struct.processors.safe_repr import safe_str

if TYPE_CHECKING:
    from pylog_struct.processors._tracebacks import Frame, Node

__all__ = ["bounded", "frame_lines", "stack_text"]

_LINKS: Final = {
    "cause": "The above exception was the direct cause of the following exception:",
    "context": "During handling of the above exception, another exception occurred:",
}
_HEADER: Final = "Traceback (most recent call last):"
_MARKER_BYTES: Final = 60
_FILE_MAX: Final = 300  # characters of a file or function name


def stack_text(node: Node, limit: int) -> tuple[str, int]:
    """Return the text of *node* with all it leads to, and how many bytes were left out of it."""
    return bounded("\n".join(_chain(node)), limit)


def bounded(text: str, limit: int) -> tuple[str, int]:
    """Return the beginning and the end of *text* in *limit* bytes of UTF-8, and the bytes left out."""
    size = len(text) if text.isascii() else len(text.encode())
    if size <= limit:
        return text, 0
    data = text.encode()
    half = max(0, limit - _MARKER_BYTES) // 2
    head = data[:half].decode("utf-8", "ignore")
    tail = data[size - half :].decode("utf-8", "ignore")
    if "\n" in head:
        head = head[: head.rindex("\n")]
    if "\n" in tail:
        tail = tail[tail.index("\n") + 1 :]
    left = size - len(head.encode()) - len(tail.encode())
    return f"{head}\n[… {left} bytes left out …]\n{tail}"[: max(limit, 0)], left


def _chain(node: Node) -> list[str]:
    nodes = [node]
    while nodes[-1].following is not None:
        nodes.append(nodes[-1].following)
    lines: list[str] = []
    for one in reversed(nodes):
        if one.causes_left:
            gap = f"[… {one.causes_left} more exceptions left out …]"
            lines += ["", gap, ""] if lines else [gap, ""]
        if one is not nodes[-1] and one.following is not None:
            lines += ["", _LINKS[one.following.link], ""] if not one.causes_left else []
        lines += _one(one)
    return lines


def _one(node: Node) -> list[str]:
    if node.repeated:
        return [f"[{_last_line(node)}: shown elsewhere]"]
    lines: list[str] = []
    if node.frames:
        lines.append(f"Exception Group {_HEADER}" if node.members else _HEADER)
        lines += frame_lines(node.frames, node.frames_left, node.frames_from_start)
    if issubclass(type(node.error), SyntaxError):  # isinstance() would ask the exception
        lines += _syntax_lines(node.error)
    lines.append(_last_line(node))
    lines += node.notes
    if node.notes_left:
        lines.append(f"[… {node.notes_left} more notes left out …]")
    if node.members or node.members_left:
        lines += _group(node)
    return lines


def _last_line(node: Node) -> str:
    error: Any = node.error
    name = class_path(type(error)).removeprefix("__main__.")
    if issubclass(type(node.error), SyntaxError):
        message = cut(clean(safe_str(error.msg)), len(node.message) + _FILE_MAX)
    else:
        message = node.message
    return f"{name}: {message}" if message else name


def _syntax_lines(error: Any) -> list[str]:
    lines: list[str] = []
    file, number, text, offset = error.filename, error.lineno, error.text, error.offset
    if number is not None:
        lines.append(
            f'  File "{safe_str(file, _FILE_MAX) if file else "<string>"}", line {safe_str(number, 20)}'
        )
    if isinstance(text, str):
        stripped = text.lstrip()
        lines.append(f"    {clean(cut(stripped.rstrip(), _FILE_MAX))}")
        if isinstance(offset, int) and 0 < offset - (len(text) - len(stripped)) <= _FILE_MAX:
            lines.append("    " + " " * (offset - (len(text) - len(stripped)) - 1) + "^")
    return lines


def frame_lines(frames: list[Frame], left: int, after: int) -> list[str]:
    """Return two lines a frame, and one where frames were left out."""
    lines: list[str] = []
    for index, frame in enumerate(frames):
        if left and index == after:
            lines.append(f"  [… {left} frames left out …]")
        where = "?" if frame.line is None else frame.line
        lines.append(
            f'  File "{cut(frame.file, _FILE_MAX)}", line {where}, in {cut(frame.name, _FILE_MAX)}'
        )
        if frame.code:
            lines.append(f"    {frame.code}")
        if frame.variables:
            lines += [f"      {name} = {value}" for name, value in frame.variables.items()]
    return lines


def _group(node: Node) -> list[str]:
    lines: list[str] = []
    for index, member in enumerate(node.members):
        if node.members_left and index == node.members_from_start:
            lines.append(f"  | [… {node.members_left} more exceptions left out …]")
        number = index + 1 + (node.members_left if index >= node.members_from_start else 0)
        lines.append(f"  +---------------- {number} ----------------")
        text = "\n".join(_chain(member))
        lines += [f"  | {line}" if line else "  |" for line in text.split("\n")]
    if node.members_left and node.members_from_start >= len(node.members):
        lines.append(f"  | [… {node.members_left} more exceptions left out …]")
    lines.append("  +------------------------------------")
    return lines
