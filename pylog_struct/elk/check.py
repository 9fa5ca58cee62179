"""Would our documents arrive?  Asked of the cluster itself, question by question."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import orjson

from pylog_struct.elk.cluster import ClusterError
from pylog_struct.elk.mapping import mapping
from pylog_struct.elk.setup import has_policies, installed, same
from pylog_struct.notices import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pylog_struct.clock import Clock
    from pylog_struct.elk.cluster import Cluster, Server
    from pylog_struct.elk.template import Plan

__all__ = ["Verdict", "check"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one question.

    Attributes:
        question: What was looked at.
        result: ``warning`` means that documents arrive, but something is not as it should be.
        text: What was found, and what to do.
    """

    question: str
    result: Literal["ok", "warning", "failed"]
    text: str


def check(cluster: Cluster, plan: Plan, clock: Clock, *, write: bool = True) -> Iterator[Verdict]:
    """Yield one verdict after the other; stops where nothing more can be found out.

    Args:
        cluster: Whom to ask.
        plan: What should be installed; its data stream without ``*``.
        clock: For the test document.
        write: Whether to write a document and delete it again.  It creates the data stream.
    """
    try:
        server = cluster.server()
    except ClusterError as error:
        yield Verdict("reachable", "failed", str(error))
        return
    yield Verdict("reachable", "ok", "the cluster answers")
    known = "" if server.supported else "; not a version that this package is tested with"
    yield Verdict("version", "ok" if server.supported else "warning", f"{server.title}{known}")
    questions: list[tuple[str, Callable[[], Iterator[Verdict]]]] = [
        ("template", lambda: _templates(cluster, server, plan)),
        ("data stream", lambda: _data_stream(cluster, plan)),
        ("retention", lambda: _retention(cluster, server, plan)),
    ]
    if write:
        questions.append(("write", lambda: _write(cluster, plan, clock)))
    failed = False
    for question, ask in questions:
        if question == "write" and failed:  # it might make an index that is in the way later
            yield Verdict("write", "warning", "not tried, because of what failed before")
            return
        try:
            for verdict in ask():
                failed = failed or verdict.result == "failed"
                yield verdict
        except ClusterError as error:
            failed = True
            yield Verdict(question, "failed", str(error))


def _templates(cluster: Cluster, server: Server, plan: Plan) -> Iterator[Verdict]:
    for part in plan.parts(server.flavour, policies=has_policies(cluster, server)):
        if part.kind == "retention policy":
            continue
        name = part.path.rpartition("/")[2]
        there = installed(cluster, part)
        if there is None:
            yield Verdict(
                "template", "failed", f"{part.kind} {name} is missing; run: pylog elk setup"
            )
        elif not same(part, there):
            text = f"{part.kind} {name} is another one than this version's; run: pylog elk setup"
            yield Verdict("template", "warning", text)
        else:
            yield Verdict("template", "ok", f"{part.kind} {name} is installed")
    simulated = cluster.call("POST", f"/_index_template/_simulate_index/{plan.data_stream}")
    mappings = (simulated.get("template") or {}).get("mappings") or {}
    if (mappings.get("_meta") or {}).get("managed_by") != "pylog_struct":
        text = "a new index would be made from somebody else's template, or from none"
        yield Verdict("template", "failed", text)


def _data_stream(cluster: Cluster, plan: Plan) -> Iterator[Verdict]:
    name = plan.data_stream
    try:
        found = cluster.find(f"/_data_stream/{name}")
    except ClusterError as error:
        if error.status != 400:
            raise
        found = None
    if not found or not found.get("data_streams"):
        if cluster.find(f"/{name}/_settings?filter_path=*.settings.index.uuid"):
            text = f"{name} is an ordinary index, made before the template; delete or rename it"
            yield Verdict("data stream", "failed", text)
        else:
            yield Verdict("data stream", "ok", f"{name} will be made by the first document")
        return
    index = found["data_streams"][0]["indices"][-1]["index_name"]
    mappings: Any = cluster.call("GET", f"/{index}/_mapping")[index].get("mappings") or {}
    if mappings.get("_meta") == mapping("elasticsearch")["_meta"]:
        yield Verdict("data stream", "ok", f"{name} is there, and its newest index is ours")
    else:
        text = f"{name}'s newest index is older than the template; run: POST /{name}/_rollover"
        yield Verdict("data stream", "warning", text)


def _retention(cluster: Cluster, server: Server, plan: Plan) -> Iterator[Verdict]:
    if not plan.retention:
        yield Verdict("retention", "ok", "none is wanted")
        return
    if not has_policies(cluster, server):
        text = f"{server.title} has no retention policies here: nothing deletes old indices"
        yield Verdict("retention", "warning", text)
        return
    part = plan.parts(server.flavour)[0]
    name = part.path.rpartition("/")[2]
    there = installed(cluster, part)
    if there is None:
        yield Verdict("retention", "warning", f"policy {name} is missing; run: pylog elk setup")
    elif not same(part, there):
        text = f"policy {name} says something else than {plan.retention}; run: pylog elk setup"
        yield Verdict("retention", "warning", text)
    else:
        yield Verdict("retention", "ok", f"policy {name} deletes after {plan.retention}")


def _write(cluster: Cluster, plan: Plan, clock: Clock) -> Iterator[Verdict]:
    identity = f"pylog-check-{uuid.uuid4().hex}"
    document = {
        "@timestamp": timestamp(clock.time()),
        "log.level": "debug",
        "message": "a test document of pylog elk check; it is deleted at once",
        "log.logger": "pylog_struct",
        "labels": {"check": "true"},
    }
    action = orjson.dumps({"create": {"_id": identity}})
    body = b"%b\n%b\n" % (action, orjson.dumps(document))
    answer = cluster.call("POST", f"/{plan.data_stream}/_bulk", ndjson=body)
    try:
        item = answer["items"][0]["create"]
        status, index = item["status"], item.get("_index", "")
    except (LookupError, TypeError):
        yield Verdict("write", "failed", "what answers the bulk API is not the bulk API")
        return
    if status >= 300:
        error = item.get("error") or {}
        text = f"{status} {error.get('type', 'error')}: {error.get('reason', 'no reason given')}"
        yield Verdict("write", "failed", text)
        return
    try:
        cluster.call("DELETE", f"/{index}/_doc/{identity}")
    except ClusterError as error:
        text = f"a test document was written, and stays, under {identity}: {error}"
        yield Verdict("write", "warning", text)
    else:
        yield Verdict("write", "ok", "a test document was written and deleted")
