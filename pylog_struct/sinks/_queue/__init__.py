"""The parts of :class:`pylog_struct.sinks.bounded_queue.QueueSink`, one subject a module.

``options``   what the constructor accepts          ``buffer``    the bounded deque and its policies
``spill``     the file for what found no room       ``delivery``  one write and what its error means
``worker``    the thread                            ``overflow``  what a full queue does to its caller
``gap``       the sum of a loss, for ``log.gap``
"""

from __future__ import annotations
