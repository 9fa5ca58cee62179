"""A real OpenSearch node: a process of its own on loopback, its data in a temporary folder."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from support import servers

NAME = "OpenSearch"
_HEAP = ("-Xms512m", "-Xmx768m")


class OpenSearch:
    """A running node, seen from a test."""

    def __init__(self, url):
        self.url = url

    def call(self, method, path, body=None):
        """The decoded answer; an error status is raised as ``HTTPError``."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.url + path, method=method, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def count(self, name):
        """How many documents there are; 0 if there is no such index."""
        try:
            self.call("POST", f"/{name}/_refresh")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return 0
            raise
        return self.call("GET", f"/{name}/_count")["count"]

    def hits(self, name, size=10_000):
        """All hits, as the server tells them."""
        self.call("POST", f"/{name}/_refresh")
        query = {"size": size, "query": {"match_all": {}}}
        return self.call("POST", f"/{name}/_search", query)["hits"]["hits"]

    def sources(self, name):
        """The lines of all documents, as bytes, as they were sent."""
        self.call("POST", f"/{name}/_refresh")
        found = []
        for hit in self.hits(name):
            path = f"/{hit['_index']}/_source/{hit['_id']}"
            with urllib.request.urlopen(self.url + path, timeout=60) as answer:
                found.append(answer.read())
        return found


class Node:
    """A node of a test's own, to be killed and started again on the same data and port.

    Args:
        command: From ``node_command``.
        home: An empty folder.
        settings: ``{"http.max_content_length": "1mb"}`` and the like.
    """

    def __init__(self, command, home, **settings):
        self.port = servers.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        settings = {"transport.port": servers.free_port(), **settings}
        pairs = [f"{key}={value}" for key, value in settings.items()]
        self._command = [*command, home, self.port, *pairs]
        self._home = home
        self.process = None
        self.client = OpenSearch(self.url)

    def start(self):
        """Start it, and wait until it takes documents."""
        self.process = servers.Process.start(self._command, self._home)
        self.process.wait_until(self._is_ready)
        return self

    def _is_ready(self):
        health = self.client.call("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s")
        return not health["timed_out"]


def node_command(tmp_path_factory, *options):
    """What starts a node, with *options* for Java; without Java or Maven the test is skipped."""
    java = servers.needs_java(NAME, 11)
    class_path = servers.class_path(NAME, "opensearch", tmp_path_factory)
    source = servers.POMS / "opensearch" / "Node.java"
    return [java, *_HEAP, *options, "-cp", class_path, source]


@pytest.fixture(scope="session")
def opensearch(tmp_path_factory):
    """The node that all tests of the run share."""
    command = node_command(tmp_path_factory, *servers.QUICK_JAVA)

    def start(home):
        node = Node(command, home, **{"cluster.max_shards_per_node": 5000}).start()
        return node.process, {"url": node.url}

    for facts in servers.shared("opensearch", tmp_path_factory, start):
        yield OpenSearch(facts["url"])
