"""Every exception of the package, in one tree.

    PylogError
    ├── ConfigError              (also a ValueError) bad argument; nothing was started
    └── SinkError                some records of a batch were not accepted
        ├── SinkUnavailableError try again later, or elsewhere
        ├── SinkTimeoutError     the time given ran out; try again later, or elsewhere
        ├── SinkRejectedError    this document, never
        └── SinkClosedError      the sink was closed; it accepts nothing any more

An error says what you still own: :attr:`SinkError.unwritten` and :attr:`SinkError.retryable`
are all that a wrapper reads.  A log call raises none of them; see ``docs/explanation/delivery.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.record import Record

__all__ = [
    "ConfigError",
    "PylogError",
    "SinkClosedError",
    "SinkError",
    "SinkRejectedError",
    "SinkTimeoutError",
    "SinkUnavailableError",
]


class PylogError(Exception):
    """Base of everything that this package raises on purpose."""


class ConfigError(PylogError, ValueError):
    """A setting is wrong; the message names the place, the value and what would be right.

    Raised by constructors and :func:`pylog_struct.configure` before anything is opened or started.
    """


class SinkError(PylogError):
    """A sink did not take charge of some records of a batch.

    Args:
        message: What happened, in one line.
        unwritten: The records that are still the caller's, in the order of the batch.
        retryable: Whether the same records may be accepted later; the class decides by default.

    Attributes:
        retry_after: Seconds that the destination asked to be left alone for, if it did.
        reasons: One text for each record of *unwritten*, where a sink knows one for each.
    """

    retry_after: float | None = None
    reasons: tuple[str, ...] = ()

    default_retryable: ClassVar[bool] = True

    def __init__(
        self,
        message: str = "",
        unwritten: Sequence[Record] = (),
        *,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.unwritten: tuple[Record, ...] = tuple(unwritten)
        self.retryable: bool = self.default_retryable if retryable is None else retryable


class SinkUnavailableError(SinkError):
    """The destination cannot be reached, or refuses everything, for now."""


class SinkTimeoutError(SinkError):
    """The sink did not finish within the time it was given."""


class SinkRejectedError(SinkError):
    """The destination refuses these documents for good; sending them again cannot help."""

    default_retryable = False


class SinkClosedError(SinkError):
    """The sink was closed before this call."""

    default_retryable = False
