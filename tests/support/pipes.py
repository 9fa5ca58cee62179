"""Pipes whose reader does what a test wants."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Pipe:
    """A pipe: ``writer`` is a raw file for the sink, ``reader`` the descriptor of the other end."""

    def __init__(self, *, blocking: bool = True) -> None:
        self.reader, write_end = os.pipe()
        self.writer = os.fdopen(write_end, "wb", buffering=0)
        os.set_blocking(write_end, blocking)
        self._thread: threading.Thread | None = None
        self.got = b""

    def fill(self) -> int:
        """Fill the pipe with newlines and return how many there are."""
        fd = self.writer.fileno()
        blocking = os.get_blocking(fd)
        os.set_blocking(fd, False)
        number = 0
        try:
            for size in (4096, 1):
                while True:
                    try:
                        number += os.write(fd, b"\n" * size)
                    except BlockingIOError:
                        break
        finally:
            os.set_blocking(fd, blocking)
        return number

    def read(self, number: int) -> bytes:
        """Read exactly so many bytes."""
        found = b""
        while len(found) < number:
            found += os.read(self.reader, number - len(found))
        return found

    def drain(self, chunk: int = 65536) -> None:
        """Start a reader that takes *chunk* bytes at a time until the writer is closed."""

        def work() -> None:
            while data := os.read(self.reader, chunk):
                self.got += data

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def hang_up(self) -> None:
        """Close the reading end."""
        os.close(self.reader)
        self.reader = -1

    def close(self) -> bytes:
        """Close the writer, wait for the reader, and return what it got."""
        self.writer.close()
        if self._thread is not None:
            self._thread.join()
        elif self.reader >= 0:
            while data := os.read(self.reader, 65536):
                self.got += data
        if self.reader >= 0:
            self.hang_up()
        return self.got


@contextmanager
def pipe(**options: Any) -> Iterator[Pipe]:
    made = Pipe(**options)
    try:
        yield made
    finally:
        made.close()
