"""gunicorn's configuration: ``logger_class`` is the one line; ``configure`` says what the events look like."""

import pylog_struct

pylog_struct.configure(service="shop", format="json")

logger_class = "pylog_struct.web.gunicorn.GunicornLogger"
worker_class = "uvicorn_worker.UvicornWorker"
workers = 2
