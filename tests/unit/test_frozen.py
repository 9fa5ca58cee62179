"""Frozen values behave as the dataclasses that they stand for."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from inspect import signature

import pytest

from pylog_struct._frozen import frozen
from pylog_struct.processors.limits import Limits


@frozen
class Ours:
    """A value."""

    size: int
    name: str = "x"
    parts: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Theirs:
    """The same."""

    size: int
    name: str = "x"
    parts: list[int] = dataclasses.field(default_factory=list)


@frozen(kw_only=True)
class Checked:
    """With a check."""

    least: int = 0
    most: int = 9

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise ValueError("upside down")
        object.__setattr__(self, "least", self.least + 1)


BOTH = pytest.mark.parametrize("kind", [Ours, Theirs])


@BOTH
@pytest.mark.parametrize(
    ("args", "given"),
    [((1,), {}), ((), {"size": 1}), ((1, "y"), {"parts": [2]}), ((1, "y", [2]), {})],
)
def test_made_from_positions_names_and_defaults(kind, args, given):
    made = kind(*args, **given)

    assert repr(made) == f"{kind.__name__}" + repr(Theirs(*args, **given)).removeprefix("Theirs")
    assert dataclasses.asdict(made) == dataclasses.asdict(Theirs(*args, **given))
    assert kind(1).parts is not kind(1).parts


@BOTH
@pytest.mark.parametrize(
    ("args", "given"),
    [((), {}), ((1, "y", [], 4), {}), ((1,), {"size": 1}), ((1,), {"width": 1})],
    ids=["missing", "too many", "twice", "unknown"],
)
def test_wrong_arguments_are_a_type_error(kind, args, given):
    with pytest.raises(TypeError, match=kind.__name__):
        kind(*args, **given)


@BOTH
def test_nothing_can_be_set_or_deleted(kind):
    made = kind(1)

    for name in ("size", "other"):
        with pytest.raises(
            (dataclasses.FrozenInstanceError, TypeError)
        ):  # the latter: 3.11's slots
            setattr(made, name, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        del made.size
    assert made.size == 1
    assert not hasattr(made, "__dict__")


@BOTH
def test_equal_by_class_and_values(kind):
    assert kind(1) == kind(1)
    assert kind(1) != kind(2)
    assert kind(1) != (Theirs if kind is Ours else Ours)(1)
    assert hash(kind(1, "y", ())) == hash(kind(1, "y", ()))
    with pytest.raises(TypeError):
        hash(kind(1))


@BOTH
def test_copied_replaced_and_matched(kind):
    made = kind(1, parts=[2])

    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == copy.copy(made) == made
    assert dataclasses.replace(made, name="z") == kind(1, "z", [2])
    match made:
        case kind(1, name, parts=[2]):
            assert name == "x"
        case _:
            pytest.fail("no match")


def test_checked_after_it_was_filled():
    assert (Checked().least, Checked(most=3).most) == (1, 3)
    with pytest.raises(ValueError, match="upside down"):
        Checked(least=10)
    with pytest.raises(TypeError):
        Checked(1)


def test_the_signature_names_the_fields():
    shown = signature(Limits).parameters

    assert list(shown)[:2] == ["max_depth", "max_items"]
    assert shown["max_depth"].default == 32
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in shown.values())
