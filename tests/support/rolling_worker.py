"""A process of its own that writes numbered lines to a shared rolling file.

Arguments: path, pattern, identity, how many records, how many a batch, and a fault:
``none``, ``die-in-roll`` (SIGKILL between link and unlink of the first roll-over), or
``die-before-link``.  Prints the number of each batch that was accepted.
"""

from __future__ import annotations

import os
import signal
import sys

from pylog_struct.record import Record
from pylog_struct.sinks.rolling_file import RollingFileSink


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    path, pattern, identity, count, size, fault = sys.argv[1:7]
    real_unlink = os.unlink
    if fault == "die-before-link":
        os.link = die
    elif fault == "die-in-roll":
        os.unlink = lambda name, **keywords: (
            die() if name == path else real_unlink(name, **keywords)
        )
    sink = RollingFileSink(path, pattern=pattern, max_bytes="40 kB")
    os.write(1, b"ready\n")
    sys.stdin.readline()
    padding = "é" * 40
    for first in range(0, int(count), int(size)):
        batch = [
            Record(20, f'{{"id":"{identity}-{number}","p":"{padding}"}}'.encode())
            for number in range(first, first + int(size))
        ]
        sink.write(batch)
        sink.poll(__import__("time").monotonic())
        os.write(1, b"%d\n" % (first + int(size)))  # whole, however Python buffers its output
    sink.close(20)


if __name__ == "__main__":
    main()
