"""gunicorn's configuration: what the events look like, and that gunicorn's own lines are events, too."""

import pylog_struct

pylog_struct.configure(service="shop", format="json")

logger_class = "pylog_struct.web.gunicorn.GunicornLogger"
accesslog = ""  # the middleware has its own event for each request, which says more
workers = 2
