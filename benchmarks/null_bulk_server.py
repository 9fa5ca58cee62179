"""A search engine that keeps nothing: it answers every bulk request at once, that all is created.

    python benchmarks/null_bulk_server.py

It prints its port and runs until it is ended.  What a client costs is left when the server costs
nothing.  Answers are as long as a real server's: 200 bytes for each document, or 25 for a client that
asks with ``filter_path`` for what it looks at.
"""

from __future__ import annotations

import re
import socket
import threading

SHORT = b'{"create":{"status":201}}'
LONG = (
    b'{"create":{"_index":".ds-logs-bench-00000000-000001","_id":"k3Zx1ZoBq0yJcX2mVt8w","_version":1,'
    b'"result":"created","_shards":{"total":1,"successful":1,"failed":0},"_seq_no":10000,'
    b'"_primary_term":1,"status":201}}'
)
ABOUT = b'{"version":{"number":"9.9.9"},"tagline":"You Know, for Search"}'


def answer(head, body):
    """The body of the answer."""
    target = head.split(b" ", 2)[1]
    if b"/_bulk" not in target:
        return ABOUT
    items = [SHORT if b"filter_path" in target else LONG] * (body.count(b"\n") // 2)
    took = b"" if b"filter_path" in target else b'"took":1,'
    return b'{%b"errors":false,"items":[%b]}' % (took, b",".join(items))


def serve(link):
    """All requests of one connection."""
    with link, link.makefile("rb") as stream:
        while first := stream.readline():
            head = first
            while (line := stream.readline()) not in {b"\r\n", b""}:
                head += line
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            said = answer(head, stream.read(int(length[1])) if length else b"")
            link.sendall(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                % (len(said), said)
            )


def main():
    """Serve until the process ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            link, _ = listener.accept()
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(link,), daemon=True).start()


if __name__ == "__main__":
    main()
