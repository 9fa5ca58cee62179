"""gunicorn's gevent worker and the queue, with gevent's patches before our import and after it.

A thousand requests are logged, and the worker leaves by itself when it is
told to: were it stuck, gunicorn would kill it after the grace period, and say so.
"""

from __future__ import annotations

import http.client
import json
from collections import Counter

import pytest
from support.web_servers import PATIENCE, serving

pytest.importorskip("gevent")
pytestmark = pytest.mark.slow  # all together

REQUESTS = 1000
CONFIGURE = """
import pylog_struct
from pylog_struct.sinks import QueueSink, StreamSink
pylog_struct.configure(format="json", sink=QueueSink(StreamSink("stdout")))
"""
PLAIN = """
import pylog_struct
pylog_struct.configure(format="json")
"""
PATCH = """
from gevent import monkey
monkey.patch_all()
"""
SETTINGS = """
logger_class = "pylog_struct.web.gunicorn.GunicornLogger"
worker_class = "gevent"
bind = "127.0.0.1:{port}"
control_socket_disable = True
graceful_timeout = 5
"""
APP = """
import structlog
logger = structlog.get_logger("shop")

def app(environ, start_response):
    logger.info("order placed", number=int(environ["QUERY_STRING"]))
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]
"""


@pytest.mark.parametrize(
    "configuration",
    [PATCH + CONFIGURE, CONFIGURE, CONFIGURE + PATCH, "", PLAIN, PATCH + PLAIN],
    ids=[
        "patched before",
        "patched by the worker",
        "patched after",
        "configured in the application",
        "without a queue",
        "without a queue, patched before",
    ],
)
def test_a_thousand_requests_through_a_queue(configuration, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "app.py").write_text(APP if configuration else CONFIGURE + APP)
    (folder / "gunicorn.conf.py").write_text(configuration + SETTINGS.replace("{port}", "0"))
    arguments = ("app:app", "--bind", "127.0.0.1:{port}")
    with serving("gunicorn", *arguments, cwd=folder, logs=tmp_path) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        for number in range(REQUESTS):
            connection.request("GET", f"/?{number}")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
        connection.close()
        assert server.stop() == 0

    counted = Counter(json.dumps(one, sort_keys=True) for one in server.events)
    assert max(counted.values()) == 1
    orders = [one["number"] for one in server.named("order placed")]
    assert sorted(orders) == list(range(REQUESTS))
    assert len(server.access("/")) == REQUESTS
    texts = [one["event"] for one in server.events]
    assert sum(text.startswith("Worker exiting") for text in texts) == 1
    assert not any("was sent" in text or "graceful timeout" in text for text in texts)
