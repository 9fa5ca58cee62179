"""gunicorn's configuration: ``logger_class`` is the one line; ``configure`` says what the events look like.

gunicorn applies gevent's monkey patches in each worker, after this file was read.  To apply them
before anything is imported works as well: ``from gevent import monkey; monkey.patch_all()`` first.
"""

import pylog_struct

pylog_struct.configure(service="shop", format="json", queue_size=4096)

logger_class = "pylog_struct.web.gunicorn.GunicornLogger"
worker_class = "gevent"
workers = 2
