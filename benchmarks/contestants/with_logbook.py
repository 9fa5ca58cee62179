"""logbook, with a formatter that calls orjson."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from events import by_extra, text_by_extra

from contestants import Subject


def direct(path: Path) -> Subject:
    """A FileHandler, which flushes after each record."""
    import logbook
    import orjson

    dumps = orjson.dumps

    def form(record: Any, _handler: Any) -> str:
        fields = {"timestamp": record.time, "level": record.level_name, "event": record.message}
        return dumps({**fields, **record.extra}).decode()

    handler = logbook.FileHandler(path, encoding="utf-8", level=logbook.INFO)
    handler.formatter = form
    handler.push_application()
    logger = logbook.Logger("contest")

    def finish() -> None:
        handler.pop_application()
        handler.close()

    return Subject(by_extra(logger), partial(text_by_extra, logger), finish, handler.flush, logger)
