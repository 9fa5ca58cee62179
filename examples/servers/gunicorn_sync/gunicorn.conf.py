"""gunicorn's configuration: ``logger_class`` is the one line; ``configure`` says what the events look like.

With a queue: each worker writes from a thread of its own, and drains its queue when it exits.
"""

import pylog_struct

pylog_struct.configure(service="shop", format="json", queue_size=4096)

logger_class = "pylog_struct.web.gunicorn.GunicornLogger"
workers = 2
