"""Text that is safe to encode: exact ``str``, no lone surrogates, bounded length."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["class_path", "clean", "cut", "key_path", "plain", "type_name"]

_NAME_MAX: Final = 200

# The descriptors of ``type`` itself: a metaclass cannot lie to them, and none of its code runs.
_QUALNAME: Final = type.__dict__["__qualname__"].__get__
_MODULE: Final = type.__dict__["__module__"].__get__


def clean(text: str) -> str:
    r"""Return *text* with each lone surrogate as its escape (six characters, ``\ud800``).

    Anything else stays as it is: the result encodes to UTF-8.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def plain(text: str) -> str:
    """Return the characters of an instance of a ``str`` subclass; none of its code runs."""
    return str.__str__(text)


def cut(text: str, limit: int) -> str:
    """Return *text*, or its first *limit* characters and how many more there were."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… [{len(text) - limit} more characters]"


def type_name(cls: type) -> str:
    """Return the name of *cls* within its module or function, whatever its metaclass does."""
    return clean(plain(_QUALNAME(cls))).rpartition("<locals>.")[2][:_NAME_MAX]


def class_path(cls: type) -> str:
    """Return ``module.Name`` of *cls*; the module is left out for builtins and where it is odd."""
    module: Any = _MODULE(cls)
    name = clean(plain(_QUALNAME(cls)))[:_NAME_MAX]
    if not isinstance(module, str) or module == "builtins":
        return name
    return f"{clean(plain(module))[:_NAME_MAX]}.{name}"


def key_path(name: str) -> str:
    """Return one step of a path such as ``$.a["b c"]``."""
    if name.isidentifier() and len(name) <= 50:
        return f".{name}"
    return f'["{cut(name, 50)}"]'
