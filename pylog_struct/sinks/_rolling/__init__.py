"""The parts of :class:`pylog_struct.sinks.rolling_file.RollingFileSink`; none of them is public.

From the bottom up: ``periods`` (calendar), ``pattern`` (names), ``files`` and ``locks`` (the
operating system), ``state`` (what the processes share), ``archives``, ``compression``,
``retention`` and ``maintenance`` (off the write path), ``active`` (the file being written),
``rename`` and ``direct`` (the two ways to roll), ``plan`` and ``options`` (what the user asked for).
"""

from __future__ import annotations
