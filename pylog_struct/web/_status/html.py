"""HTML that cannot forget to escape: an element is made by a function, and text is always text."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Html", "element", "join"]

_VOID: Final = frozenset({"input", "link", "meta", "br", "path", "rect", "line", "circle"})
# What is no character of HTML, or would turn the direction of what is around it.
_ODD: Final = dict.fromkeys((*(number for number in range(32) if chr(number) not in "\t\n"), *range(127, 160), *range(8206, 8208), *range(8234, 8239), *range(8294, 8298), *range(55296, 57344)), "�")  # fmt: skip


class Html(str):
    """Text that is HTML already: made by :func:`element` only, or written in the source."""

    __slots__ = ()


def text(value: object) -> Html:
    """Return *value* as HTML: itself if it is that, else escaped, whatever is in it."""
    if isinstance(value, Html):
        return value
    return Html(escape(str(value).translate(_ODD)))


def join(parts: Iterable[object]) -> Html:
    """Return the parts one after the other; None is nothing."""
    return Html("".join(text(part) for part in parts if part is not None))


def element(name: str, /, *children: object, **attributes: Any) -> Html:
    """Return an element.

    Args:
        name: The tag.
        children: What is in it; text is escaped, None left out.
        attributes: ``class_`` is ``class``, other underscores are hyphens.  None and False leave an
            attribute out, True has no value.
    """
    shown: list[str] = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        plain = key.rstrip("_").replace("_", "-")
        shown.append(plain if value is True else f'{plain}="{escape(str(value).translate(_ODD))}"')
    head = " ".join(shown)
    if name in _VOID:
        return Html(f"<{head}>" if name in {"input", "link", "meta", "br"} else f"<{head}/>")
    return Html(f"<{head}>{join(children)}</{name}>")
