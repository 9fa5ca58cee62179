"""Fixtures for pytest: ``pytest_plugins = ["pylog_struct.testing.pytest_plugin"]`` in a conftest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pylog_struct.testing.captured import captured_logs as _captured_logs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["captured_logs"]


@pytest.fixture
def captured_logs(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    """Every event of the test as a dict, structlog's and the stdlib's; ``caplog`` sees both too."""
    with _captured_logs(mirror=caplog.handler) as entries:
        yield entries
