"""hypercorn's configuration: ``logger_class`` is the one line."""

from pylog_struct.web.hypercorn import HypercornLogger

logger_class = HypercornLogger
workers = 2
