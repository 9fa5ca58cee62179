"""What client libraries say inside a sink stays out of the pipeline."""

from __future__ import annotations

import logging
import threading
import warnings

import urllib3
from support.events import memory_pipeline, only_the_bridge

from pylog_struct._clients import quiet


def events(sink):
    return [record.fields["event"] for record in sink.records]


def test_only_clients_only_inside_and_only_this_thread():
    sink = memory_pipeline()
    client = logging.getLogger("urllib3.connectionpool")
    with quiet():
        client.debug("inside")
        with quiet():
            client.debug("nested")
        client.debug("still inside")
        logging.getLogger("urllib3x").info("somebody else")
        logging.getLogger("app").info("the application")
        other = threading.Thread(target=client.info, args=("another thread",))
        other.start()
        other.join()
    client.debug("after")

    assert events(sink) == ["somebody else", "the application", "another thread", "after"]


def test_warnings_and_worse_go_to_the_diagnostics_channel(capfd):
    sink = memory_pipeline()
    only_the_bridge()
    with quiet():
        logging.getLogger("elastic_transport.node_pool").warning("node %s is gone", "a")
        logging.getLogger("opensearch").error("bad %d", "format")

    assert events(sink) == []
    said = capfd.readouterr().err
    assert "elastic_transport.node_pool: node a is gone" in said
    assert "opensearch: bad %d" in said


def test_their_warnings_do_not_come_back_either(capfd):
    sink = memory_pipeline(warnings=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # The hook is what is tested; catch_warnings has put the stdlib's back on its way in.
        with quiet():
            warnings.warn("trust nobody", urllib3.exceptions.InsecureRequestWarning, stacklevel=1)
            warnings.warn("an ordinary one", UserWarning, stacklevel=1)

    assert events(sink) == ["an ordinary one"]
    assert "InsecureRequestWarning: trust nobody" in capfd.readouterr().err
