"""A corpus of values that break renderers, for every test that needs "any value whatever".

``PAYLOADS`` holds :class:`Payload` objects.  ``make()`` builds a fresh value (so that one test
cannot spoil it for another); ``shown`` is what it must become in JSON, where that is one exact
thing, and ``UNSAID`` where only "valid, in place, bounded" is asked.
"""

from __future__ import annotations

import array
import asyncio
import collections
import contextvars
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import io
import ipaddress
import itertools
import json
import operator
import pathlib
import queue
import re
import socket
import sys
import threading
import types
import unittest.mock
import uuid
import weakref
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

UNSAID = object()


@dataclasses.dataclass(frozen=True)
class Payload:
    name: str
    make: Callable[[], Any]
    shown: Any = UNSAID
    expensive: bool = False


def strict_loads(line: bytes | str) -> Any:
    """Parse as RFC 8259 says: UTF-8, no NaN or Infinity, no key twice, no raw control."""

    def refuse(token: str) -> Any:
        raise ValueError(f"not JSON: {token}")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(keys) != len(set(keys)):
            raise ValueError(f"a key twice: {keys}")
        return dict(pairs)

    text = line.decode("utf-8", "strict") if isinstance(line, bytes) else line
    return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)


# -- villains ---------------------------------------------------------------------------------------


class RaisingRepr:
    def __repr__(self):
        raise RuntimeError("no repr today")


class RaisingBaseRepr:
    class Unusual(BaseException):
        pass

    def __repr__(self):
        raise self.Unusual


class ExitingRepr:
    def __repr__(self):
        raise SystemExit(3)


class LyingRepr:
    def __repr__(self):
        return 42


class RecursiveRepr:
    def __repr__(self):
        return f"<{self!r}>"


class HugeRepr:
    def __repr__(self):
        return "x" * 50_000_000


class SurrogateRepr:
    def __repr__(self):
        return "a\ud800b"


class SubclassRepr:
    class Text(str):  # noqa: SLOT000
        def __len__(self):
            raise RuntimeError

        def encode(self, *args):
            raise RuntimeError

    def __repr__(self):
        return self.Text("<fine>")


class PlainRepr:
    def __repr__(self):
        return "PlainRepr()"


class NoRepr:
    pass


class LyingClass:
    """Says that it is a dict, and raises on everything else."""

    @property
    def __class__(self):
        return dict

    def __getattr__(self, name):
        raise RuntimeError(name)

    def __repr__(self):
        return "LyingClass()"


class RaisingClass:
    @property
    def __class__(self):
        raise RuntimeError


class RaisingGetattribute:
    def __getattribute__(self, name):
        raise RuntimeError(name)


class RaisingMeta(type):
    def __hash__(cls):
        raise RuntimeError

    def __eq__(cls, other):
        raise RuntimeError

    def __getattribute__(cls, name):
        raise RuntimeError(name)

    def __instancecheck__(cls, instance):
        raise RuntimeError

    def __subclasscheck__(cls, subclass):
        raise RuntimeError


class OfRaisingMeta(metaclass=RaisingMeta):
    pass


class RaisingZone(dt.tzinfo):
    def utcoffset(self, moment):
        raise RuntimeError("no idea")

    dst = tzname = utcoffset


class GarbageZone(dt.tzinfo):
    def utcoffset(self, moment):
        return "an hour"


class HugeOffsetZone(dt.tzinfo):
    def utcoffset(self, moment):
        return dt.timedelta(days=4)


class NoneZone(dt.tzinfo):
    def utcoffset(self, moment):
        return None


class QuietZone(dt.tzinfo):
    """A zone of the user's that works: two hours east."""

    def utcoffset(self, moment):
        return dt.timedelta(hours=2)


class Colour(enum.Enum):
    RED = 1
    OBJECT = NoRepr()
    LIST = [1, 2]  # noqa: RUF012


class Word(enum.StrEnum):
    HELLO = "hello"


class Number(enum.IntEnum):
    SEVEN = 7


class Bits(enum.Flag):
    A = 1
    B = 2


class RaisingEnum(enum.Enum):
    ONE = 1

    @property
    def value(self):
        raise RuntimeError


class SelfishEnum(enum.Enum):
    ONE = 1

    @property
    def value(self):
        return self


class Point(NamedTuple):
    x: int
    y: Any


@dataclasses.dataclass
class Box:
    inside: Any
    secret: str = dataclasses.field(default="hidden", repr=False)


@dataclasses.dataclass(slots=True)
class SlotBox:
    inside: Any


class FakeDataclass:
    __dataclass_fields__ = 5


FieldRaises = dataclasses.make_dataclass("FieldRaises", [("good", int), ("bad", int)])
FieldRaises.bad = property(lambda self: 1 / 0, lambda self, value: None)


ExitingField = dataclasses.make_dataclass("ExitingField", [("bad", int)])
ExitingField.bad = property(lambda self: sys.exit(), lambda self, value: None)


class FakeStruct:
    """What a msgspec.Struct looks like from outside."""

    __struct_fields__ = ("a", "b")

    def __init__(self):
        self.a = 1


class FakeAttribute:
    def __init__(self, name, repr=True):  # noqa: A002
        self.name = name
        self.repr = repr


class FakeAttrs:
    """What a class decorated by attrs looks like from outside."""

    __attrs_attrs__ = (FakeAttribute("a"), FakeAttribute("password", repr=False))

    def __init__(self):
        self.a = {1: 2}
        self.password = "hidden"


class FakeArray:
    """What a numpy array looks like from outside."""

    def __init__(self, values, size=None):
        self.values = values
        self.size = len(values) if size is None else size
        self.shape = (self.size,)
        self.dtype = "float64"

    def tolist(self):
        return list(self.values)


FakeArray.__module__ = "numpy"


class GoodMapping(Mapping):
    def __init__(self, content):
        self.content = content

    def __getitem__(self, key):
        return self.content[key]

    def __iter__(self):
        return iter(self.content)

    def __len__(self):
        return len(self.content)


class RaisingMapping(GoodMapping):
    def __getitem__(self, key):
        raise RuntimeError


class EndlessMapping(GoodMapping):
    def __init__(self):
        super().__init__({})

    def __iter__(self):
        return itertools.count()

    def __getitem__(self, key):
        return key

    def __len__(self):
        return 10**9


class GoodSequence(Sequence):
    def __init__(self, *content):
        self.content = content

    def __getitem__(self, index):
        return self.content[index]

    def __len__(self):
        return len(self.content)


class EndlessSequence(GoodSequence):
    def __getitem__(self, index):
        return index

    def __len__(self):
        return 10**12


class GoodSet(AbstractSet):
    def __contains__(self, item):
        return item == 1

    def __iter__(self):
        return iter([1])

    def __len__(self):
        return 1


class RaisingDict(dict):
    def items(self):
        raise RuntimeError

    __iter__ = keys = values = copy = get = __len__ = __getitem__ = items


class RaisingList(list):
    def __iter__(self):
        raise RuntimeError

    __len__ = __getitem__ = copy = __iter__


class RaisingTuple(tuple):  # noqa: SLOT001
    def __iter__(self):
        raise RuntimeError

    __len__ = __getitem__ = __iter__


class RaisingSet(set):
    def __iter__(self):
        raise RuntimeError

    __len__ = copy = __iter__


class RaisingStr(str):  # noqa: SLOT000
    def __str__(self):
        raise RuntimeError

    __repr__ = __hash__ = __len__ = encode = isascii = __str__

    def __eq__(self, other):
        raise RuntimeError


class HashableStr(str):  # noqa: SLOT000
    pass


class RaisingInt(int):
    def __int__(self):
        raise RuntimeError

    __repr__ = __str__ = __index__ = bit_length = __int__


class RaisingFloat(float):
    def __float__(self):
        raise RuntimeError

    __repr__ = __str__ = __sub__ = __float__


class RaisingBytes(bytes):
    def __len__(self):
        raise RuntimeError

    __getitem__ = decode = __repr__ = __bytes__ = __len__


class RaisingError(Exception):
    def __str__(self):
        raise RuntimeError

    __repr__ = __str__


class BadTruth:
    def __bool__(self):
        raise RuntimeError

    __eq__ = __hash__ = __len__ = __iter__ = __bool__

    def __repr__(self):
        return "BadTruth()"


class EvilKey:
    """A key whose comparison raises once it is in the dict."""

    armed = False

    def __hash__(self):
        return 1

    def __eq__(self, other):
        if EvilKey.armed:
            raise RuntimeError
        return self is other

    def __repr__(self):
        return "EvilKey()"


class Finaliser:
    def __del__(self):
        raise AssertionError("never reached: the class is only looked at")


# -- builders ---------------------------------------------------------------------------------------


def nested_list(levels: int) -> list[Any]:
    value: list[Any] = ["bottom"]
    for _ in range(levels - 1):
        value = [value]
    return value


def nested_dict(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"k": "bottom"}
    for _ in range(levels - 1):
        value = {"k": value}
    return value


def laughs(levels: int = 30) -> list[Any]:
    """Ten to the thirtieth strings, in thirty small lists."""
    value: list[Any] = ["lol"]
    for _ in range(levels):
        value = [value] * 10
    return value


def circular_dict() -> dict[str, Any]:
    value: dict[str, Any] = {"name": "a"}
    value["self"] = value
    return value


def circular_list() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


def circular_pair() -> dict[str, Any]:
    first: dict[str, Any] = {}
    first["second"] = {"first": first}
    return first


def circular_box() -> Box:
    box = Box(None)
    box.inside = [box]
    return box


def released_view() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


def closed_socket() -> socket.socket:
    made = socket.socket()
    made.close()
    return made


def with_frame(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as raised:
        return raised


def coroutine() -> Any:
    async def nothing() -> None:
        pass

    made = nothing()
    weakref.finalize(made, lambda: None)
    made.close()
    return made


def incomplete(cls: type) -> Any:
    """An instance whose ``__init__`` never ran."""
    return cls.__new__(cls)


UTC = dt.UTC
_moment = dt.datetime(2024, 2, 29, 12, 30, 15, 123456, UTC)
_uuid = uuid.UUID("12345678-1234-5678-1234-567812345678")

PAYLOADS: list[Payload] = [
    # scalars
    Payload("none", lambda: None, None),
    Payload("true", lambda: True, True),
    Payload("zero", lambda: 0, 0),
    Payload("negative zero", lambda: -0.0, -0.0),
    Payload("empty text", lambda: "", ""),
    Payload("nul", lambda: "a\x00b", "a\x00b"),
    Payload("all controls", lambda: "".join(map(chr, range(32))), "".join(map(chr, range(32)))),
    Payload("line separators", lambda: "\x85\u2028\u2029", "\x85\u2028\u2029"),
    Payload("astral", lambda: "\U0001f600", "\U0001f600"),
    Payload("non-character", lambda: "\uffff\ufffe", "\uffff\ufffe"),
    Payload("braces and percent", lambda: "{} {x} %s %(y)s \\ %", "{} {x} %s %(y)s \\ %"),
    Payload("newline and quote", lambda: 'a\n"b"\r', 'a\n"b"\r'),
    # surrogates
    Payload("lone surrogate", lambda: "a\ud800b", "a\\ud800b"),
    Payload("surrogate halves", lambda: "\ud83d\ude00", "\\ud83d\\ude00"),
    Payload(
        "surrogateescape path",
        lambda: b"/tmp/\xff".decode("utf-8", "surrogateescape"),
        "/tmp/\\udcff",
    ),
    Payload("surrogate in list", lambda: ["ok", "\udfff"], ["ok", "\\udfff"]),
    # numbers
    Payload("int64 min", lambda: -(2**63), -(2**63)),
    Payload("below int64", lambda: -(2**63) - 1, "-9223372036854775809"),
    Payload("2**63", lambda: 2**63, 2**63),
    Payload("uint64 max", lambda: 2**64 - 1, 2**64 - 1),
    Payload("2**64", lambda: 2**64, "18446744073709551616"),
    Payload("10**30", lambda: 10**30, "1" + "0" * 30),
    Payload("10**5000", lambda: 10**5000, hex(10**5000)),
    Payload("-10**5000", lambda: -(10**5000), hex(-(10**5000))),
    Payload("2**10_000_000", lambda: 2**10_000_000),
    Payload("nan", lambda: float("nan"), None),
    Payload("infinity", lambda: float("inf"), None),
    Payload("-infinity", lambda: [float("-inf"), 1], [None, 1]),
    Payload("denormal", lambda: 5e-324, 5e-324),
    Payload("largest float", lambda: 1.7976931348623157e308, 1.7976931348623157e308),
    Payload("decimal", lambda: decimal.Decimal("1.10"), "1.10"),
    Payload("decimal nan", lambda: decimal.Decimal("NaN"), None),
    Payload("decimal snan", lambda: decimal.Decimal("sNaN"), None),
    Payload("decimal infinity", lambda: decimal.Decimal("-Infinity"), None),
    Payload("decimal exponent", lambda: decimal.Decimal("1E+999999"), "1E+999999"),
    Payload("fraction", lambda: fractions.Fraction(1, 3), "1/3"),
    Payload("huge fraction", lambda: fractions.Fraction(10**5000, 3)),
    Payload("complex", lambda: 1 + 2j, "(1+2j)"),
    # bytes
    Payload("bytes", lambda: b"abc", "abc"),
    Payload("odd bytes", lambda: b"a\xff\x00", "a\\xff\x00"),
    Payload("bytearray", lambda: bytearray(b"abc"), "abc"),
    Payload("memoryview", lambda: memoryview(b"abc"), "abc"),
    Payload("released memoryview", released_view, "<unrepresentable memoryview: ValueError>"),
    Payload("shaped memoryview", lambda: memoryview(b"abcd").cast("B", (2, 2)), "abcd"),
    Payload(
        "big memoryview",
        lambda: memoryview(array.array("d", [0.0] * 100_000)),
        "<memoryview of 800000 bytes>",
    ),
    Payload("array", lambda: array.array("i", [1, 2]), [1, 2]),
    # time
    Payload("aware", lambda: _moment, "2024-02-29T12:30:15.123456Z"),
    Payload(
        "zoneinfo",
        lambda: _moment.astimezone(zoneinfo.ZoneInfo("Europe/Berlin")),
        "2024-02-29T12:30:15.123456Z",
    ),
    Payload(
        "fixed offset",
        lambda: _moment.astimezone(dt.timezone(dt.timedelta(hours=-5))),
        "2024-02-29T12:30:15.123456Z",
    ),
    Payload("naive", lambda: _moment.replace(tzinfo=None), "2024-02-29T12:30:15.123456"),
    Payload(
        "user zone", lambda: _moment.replace(tzinfo=QuietZone()), "2024-02-29T10:30:15.123456Z"
    ),
    Payload(
        "raising zone",
        lambda: _moment.replace(tzinfo=RaisingZone()),
        "2024-02-29T12:30:15.123456 <RaisingZone: RuntimeError>",
    ),
    Payload(
        "garbage zone",
        lambda: _moment.replace(tzinfo=GarbageZone()),
        "2024-02-29T12:30:15.123456 <GarbageZone: TypeError>",
    ),
    Payload(
        "huge offset zone",
        lambda: _moment.replace(tzinfo=HugeOffsetZone()),
        "2024-02-29T12:30:15.123456 <HugeOffsetZone: ValueError>",
    ),
    Payload(
        "zone without offset",
        lambda: _moment.replace(tzinfo=NoneZone()),
        "2024-02-29T12:30:15.123456",
    ),
    Payload(
        "incomplete zone",
        lambda: _moment.replace(tzinfo=dt.tzinfo()),
        "2024-02-29T12:30:15.123456 <tzinfo: NotImplementedError>",
    ),
    Payload(
        "first day east",
        lambda: dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=14))),
        "0001-01-01T00:00:00.000000+14:00",
    ),
    Payload(
        "last day west",
        lambda: dt.datetime(9999, 12, 31, 23, tzinfo=dt.timezone(dt.timedelta(hours=-5))),
        "9999-12-31T23:00:00.000000-05:00",
    ),
    Payload("date", lambda: dt.date(2024, 2, 29), "2024-02-29"),
    Payload("time", lambda: dt.time(1, 2, 3), "01:02:03.000000"),
    Payload("aware time", lambda: dt.time(1, 2, 3, tzinfo=UTC), "01:02:03.000000+00:00"),
    Payload(
        "raising time",
        lambda: dt.time(1, tzinfo=RaisingZone()),
        "01:00:00.000000 <RaisingZone: RuntimeError>",
    ),
    Payload(
        "zoneinfo time",
        lambda: dt.time(1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        "01:00:00.000000",
    ),
    Payload("timedelta", lambda: dt.timedelta(minutes=1, milliseconds=500), 60.5),
    Payload("zone itself", lambda: UTC, "datetime.timezone.utc"),
    # well-known objects
    Payload("uuid", lambda: _uuid, str(_uuid)),
    Payload(
        "incomplete uuid", lambda: incomplete(uuid.UUID), "<unrepresentable UUID: AttributeError>"
    ),
    Payload("path", lambda: pathlib.Path("/tmp/x"), "/tmp/x"),
    Payload("windows path", lambda: pathlib.PureWindowsPath("C:\\x"), "C:\\x"),
    Payload("surrogate path", lambda: pathlib.PurePosixPath("/\udcff"), "/\\udcff"),
    Payload("ip address", lambda: ipaddress.ip_address("127.0.0.1"), "IPv4Address('127.0.0.1')"),
    Payload("pattern", lambda: re.compile("a+"), "re.compile('a+')"),
    Payload("match", lambda: re.match("a", "a")),
    Payload("exception", lambda: ValueError("boom"), "ValueError: boom"),
    Payload("exception without message", lambda: KeyError(), "KeyError"),
    Payload(
        "raised exception",
        lambda: with_frame(OSError(2, "gone")),
        "FileNotFoundError: [Errno 2] gone",
    ),
    Payload("raising exception", RaisingError),
    Payload("exception group", lambda: ExceptionGroup("g", [ValueError(1)])),
    Payload("class", lambda: collections.OrderedDict, "collections.OrderedDict"),
    Payload("builtin class", lambda: int, "int"),
    Payload("odd class", lambda: OfRaisingMeta),
    Payload("function", lambda: json.dumps, "json.dumps"),
    Payload("builtin function", lambda: len, "builtins.len"),
    Payload("method", lambda: PlainRepr().__init__),
    Payload("bound method", lambda: GoodSequence(1).index),
    Payload("lambda", lambda: lambda: None),
    Payload("partial", lambda: functools.partial(print, RaisingRepr())),
    Payload("module", lambda: json),
    Payload("code", lambda: strict_loads.__code__),
    # enums
    Payload("enum", lambda: Colour.RED, 1),
    Payload("enum of object", lambda: Colour.OBJECT),
    Payload("enum of list", lambda: Colour.LIST, [1, 2]),
    Payload("str enum", lambda: Word.HELLO, "hello"),
    Payload("int enum", lambda: Number.SEVEN, 7),
    Payload("flag", lambda: Bits.A | Bits.B, 3),
    Payload("raising enum", lambda: RaisingEnum.ONE, 1),
    Payload("selfish enum", lambda: SelfishEnum.ONE, 1),
    Payload("enum class", lambda: Colour),
    # records
    Payload("namedtuple", lambda: Point(1, {2}), {"x": 1, "y": [2]}),
    Payload("dataclass", lambda: Box([1, (2,)]), {"inside": [1, [2]]}),
    Payload("slots dataclass", lambda: SlotBox(1), {"inside": 1}),
    Payload("incomplete dataclass", lambda: incomplete(SlotBox), {"inside": "<unset>"}),
    Payload("fake dataclass", FakeDataclass),
    Payload("dataclass class", lambda: Box),
    Payload(
        "field raises",
        lambda: FieldRaises(1, 2),
        {"good": 1, "bad": "ZeroDivisionError: division by zero"},
    ),
    Payload("struct", FakeStruct, {"a": 1, "b": "<unset>"}),
    Payload("attrs", FakeAttrs, {"a": {"1": 2}}),
    Payload("array of numbers", lambda: FakeArray([1.0, float("nan")]), [1.0, None]),
    Payload(
        "array too big",
        lambda: FakeArray([], size=10**9),
        "<FakeArray of 1000000000 elements, shape (1000000000,), type float64>",
    ),
    Payload("simple namespace", lambda: types.SimpleNamespace(a=1), "namespace(a=1)"),
    # containers
    Payload("tuple", lambda: (1, "b"), [1, "b"]),
    Payload("set", lambda: {3, 1, 2}, [1, 2, 3]),
    Payload("mixed set", lambda: frozenset([1]), [1]),
    Payload("set of sets", lambda: {frozenset([1]), frozenset([2])}),
    Payload("deque", lambda: collections.deque([1, 2], maxlen=2), [1, 2]),
    Payload("ordered dict", lambda: collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    Payload("default dict", lambda: collections.defaultdict(list, a=[1]), {"a": [1]}),
    Payload("counter", lambda: collections.Counter("aab"), {"a": 2, "b": 1}),
    Payload("chain map", lambda: collections.ChainMap({"a": 1}, {"b": 2}), {"a": 1, "b": 2}),
    Payload("user dict", lambda: collections.UserDict(a=1), {"a": 1}),
    Payload("user list", lambda: collections.UserList([1]), [1]),
    Payload("mapping proxy", lambda: types.MappingProxyType({"a": 1}), {"a": 1}),
    Payload("dict keys", lambda: {"a": 1}.keys(), ["a"]),
    Payload(
        "dict values",
        lambda: {"a": RaisingRepr()}.values(),
        ["<unrepresentable RaisingRepr: RuntimeError>"],
    ),
    Payload("dict items", lambda: {"a": 1}.items(), [["a", 1]]),
    Payload("range", lambda: range(10**12), "range(0, 1000000000000)"),
    Payload("good mapping", lambda: GoodMapping({"a": {1}}), {"a": [1]}),
    Payload(
        "raising mapping",
        lambda: RaisingMapping({"a": 1}),
        "<unrepresentable RaisingMapping: RuntimeError>",
    ),
    Payload("endless mapping", EndlessMapping),
    Payload("good sequence", lambda: GoodSequence(1, "b"), [1, "b"]),
    Payload("endless sequence", EndlessSequence),
    Payload("good set", GoodSet, [1]),
    Payload("raising dict", lambda: RaisingDict(a=1), {"a": 1}),
    Payload("raising list", lambda: RaisingList([1]), [1]),
    Payload("raising tuple", lambda: RaisingTuple([1]), [1]),
    Payload("raising set", lambda: RaisingSet([1]), [1]),
    Payload("raising str", lambda: RaisingStr("text"), "text"),
    Payload("raising int", lambda: RaisingInt(5), 5),
    Payload("raising float", lambda: RaisingFloat(0.5), 0.5),
    Payload("raising bytes", lambda: RaisingBytes(b"abc"), "abc"),
    # cycles, depth, size
    Payload("circular dict", circular_dict, {"name": "a", "self": "<circular: $.value>"}),
    Payload("circular list", circular_list, [1, "<circular: $.value>"]),
    Payload("circular pair", circular_pair, {"second": {"first": "<circular: $.value>"}}),
    Payload("circular dataclass", circular_box, {"inside": ["<circular: $.value>"]}),
    Payload("twice is no cycle", lambda: [[1]] * 2, [[1], [1]]),
    Payload("31 levels", lambda: nested_list(31), nested_list(31)),
    Payload("300 levels", lambda: nested_list(300)),
    Payload("300 levels of dicts", lambda: nested_dict(300)),
    Payload("100,000 levels", lambda: nested_list(100_000), expensive=True),
    Payload("100,000 levels of dicts", lambda: nested_dict(100_000), expensive=True),
    Payload("billion laughs", laughs),
    Payload("million members", lambda: list(range(1_000_000)), expensive=True),
    Payload("200,000 keys", lambda: dict.fromkeys(map(str, range(200_000)), 1), expensive=True),
    Payload("50 MB of text", lambda: "x" * 50_000_000, expensive=True),
    Payload("50 MB of bytes", lambda: b"\xff" * 50_000_000, expensive=True),
    Payload("50 MB key", lambda: {"x" * 50_000_000: 1}, expensive=True),
    # keys
    Payload("int key", lambda: {1: "a"}, {"1": "a"}),
    Payload("none key", lambda: {None: 1}, {"null": 1}),
    Payload("bool keys", lambda: {True: 1, False: 2}, {"true": 1, "false": 2}),
    Payload("float keys", lambda: {1.5: 1, float("nan"): 2}, {"1.5": 1, "nan": 2}),
    Payload("uuid key", lambda: {_uuid: 1}, {str(_uuid): 1}),
    Payload("tuple key", lambda: {(1, "a"): 1}, {"(1, 'a')": 1}),
    Payload("enum keys", lambda: {Colour.RED: 1, Word.HELLO: 2}, {"1": 1, "hello": 2}),
    Payload("bytes key", lambda: {b"a": 1, b"\xff": 2}, {"a": 1, "\\xff": 2}),
    Payload("datetime key", lambda: {_moment: 1}, {"2024-02-29T12:30:15.123456Z": 1}),
    Payload("str subclass key", lambda: {HashableStr("a"): 1}, {"a": 1}),
    Payload("surrogate key", lambda: {"\ud800": 1}, {"\\ud800": 1}),
    Payload("big int key", lambda: {10**5000: 1}, {hex(10**5000): 1}),
    Payload("colliding keys", lambda: {1: "a", "1": "b"}, {"1 (int)": "a", "1": "b"}),
    Payload(
        "more colliding keys",
        lambda: {1: "a", "1": "b", "1 (int)": "c"},
        {"1 (int 2)": "a", "1": "b", "1 (int)": "c"},
    ),
    Payload(
        "colliding surrogate key",
        lambda: {"\ud800": 1, "\\ud800": 2},
        {"\\ud800 (str)": 1, "\\ud800": 2},
    ),
    Payload("null and None", lambda: {None: 1, "null": 2}, {"null (NoneType)": 1, "null": 2}),
    Payload("object key", lambda: {NoRepr(): 1}),
    Payload(
        "raising key",
        lambda: {RaisingRepr(): 1},
        {"<unrepresentable RaisingRepr: RuntimeError>": 1},
    ),
    Payload(
        "two raising keys",
        lambda: {RaisingRepr(): 1, RaisingRepr(): 2},
        {
            "<unrepresentable RaisingRepr: RuntimeError>": 1,
            "<unrepresentable RaisingRepr: RuntimeError> (RaisingRepr)": 2,
        },
    ),
    Payload("empty key", lambda: {"": 1}, {"": 1}),
    Payload("frozenset key", lambda: {frozenset([1]): 1}, {"frozenset({1})": 1}),
    # reprs
    Payload("raising repr", RaisingRepr, "<unrepresentable RaisingRepr: RuntimeError>"),
    Payload(
        "unusual repr",
        RaisingBaseRepr,
        "<unrepresentable RaisingBaseRepr: RaisingBaseRepr.Unusual>",
    ),
    Payload("exiting repr", ExitingRepr, "<unrepresentable ExitingRepr: SystemExit>"),
    Payload("exiting field", lambda: ExitingField(1), "<unrepresentable ExitingField: SystemExit>"),
    Payload("lying repr", LyingRepr, "<unrepresentable LyingRepr: TypeError>"),
    Payload("recursive repr", RecursiveRepr, "<unrepresentable RecursiveRepr: RecursionError>"),
    Payload("huge repr", HugeRepr),
    Payload("surrogate repr", SurrogateRepr, "a\\ud800b"),
    Payload("subclass repr", SubclassRepr, "<fine>"),
    Payload("plain repr", PlainRepr, "PlainRepr()"),
    Payload("no repr", NoRepr),
    Payload("lying class", LyingClass, "LyingClass()"),
    Payload("raising class", RaisingClass),
    Payload("raising getattribute", RaisingGetattribute),
    Payload("raising metaclass", OfRaisingMeta),
    Payload("bad truth", BadTruth, "BadTruth()"),
    Payload("mock", unittest.mock.Mock),
    Payload("magic mock", unittest.mock.MagicMock),
    # live things
    Payload("lock", threading.Lock),
    Payload("condition", threading.Condition),
    Payload("thread", threading.current_thread),
    Payload("queue", queue.Queue),
    Payload("socket", closed_socket),
    Payload("text stream", lambda: io.StringIO("abc")),
    Payload("generator", lambda: (i for i in range(3))),
    Payload("iterator", lambda: iter([1, 2])),
    Payload("map", lambda: map(str, [1])),
    Payload("endless iterator", itertools.count),
    Payload("coroutine", coroutine),
    Payload("event", asyncio.Event),
    Payload("context variable", lambda: contextvars.ContextVar("x")),
    Payload("context", contextvars.copy_context),
    Payload("weak reference", lambda: weakref.ref(Payload)),
    Payload("dead proxy", lambda: weakref.proxy(type("Gone", (), {})())),
    Payload("operator", lambda: operator.itemgetter(1)),
    Payload("ellipsis", lambda: ..., "Ellipsis"),
    Payload("not implemented", lambda: NotImplemented, "NotImplemented"),
    Payload("generic alias", lambda: list[int]),
    Payload("property", lambda: property()),
    Payload("traceback", lambda: with_frame(ValueError()).__traceback__),
    Payload("finaliser class", lambda: Finaliser),
]
"""Every odd value we know of."""
