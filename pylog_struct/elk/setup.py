"""Installs what a plan says, and nothing that is there already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pylog_struct.elk.cluster import ClusterError

if TYPE_CHECKING:
    from pylog_struct.elk.cluster import Cluster, Server
    from pylog_struct.elk.template import Part, Plan

__all__ = ["Done", "has_policies", "install", "installed", "same"]

_UNKNOWN_PATH = frozenset({400, 404, 405, 410})


@dataclass(frozen=True, slots=True)
class Done:
    """What was done about one part of a plan."""

    part: Part
    outcome: Literal["created", "updated", "unchanged"]


def install(cluster: Cluster, server: Server, plan: Plan) -> list[Done]:
    """Install what is missing or different; a second call changes nothing.

    Raises:
        ClusterError: the cluster refused a part; those before it are installed.
    """
    done: list[Done] = []
    for part in plan.parts(server.flavour, policies=has_policies(cluster, server)):
        there = installed(cluster, part)
        if there is not None and same(part, there):
            done.append(Done(part, "unchanged"))
            continue
        path = part.path
        if there is not None and "_seq_no" in there:  # ISM wants to know which version is replaced
            path += f"?if_seq_no={there['_seq_no']}&if_primary_term={there['_primary_term']}"
        try:
            cluster.call("PUT", path, part.body)
        except ClusterError as error:
            raise ClusterError(f"PUT {part.path}: {error}", error.status) from error
        done.append(Done(part, "created" if there is None else "updated"))
    return done


def has_policies(cluster: Cluster, server: Server) -> bool:
    """Whether there is anything that deletes old indices (a plug-in of OpenSearch, not serverless)."""
    if server.serverless:
        return False
    if server.flavour == "elasticsearch":
        return True
    try:
        cluster.call("GET", "/_plugins/_ism/policies?size=1")
    except ClusterError as error:
        if error.status in _UNKNOWN_PATH and "no handler" in str(error):
            return False
        if error.status == 404:  # the plug-in is there, its index is not yet
            return True
        raise
    return True


def installed(cluster: Cluster, part: Part) -> dict[str, Any] | None:
    """Return what is there under the name of *part*, None if nothing is."""
    answer = cluster.find(part.path)
    if answer is None:
        return None
    try:
        if part.kind == "component template":
            return dict(answer["component_templates"][0]["component_template"])
        if part.kind == "index template":
            return dict(answer["index_templates"][0]["index_template"])
        if "/_ilm/" in part.path:
            return dict(answer[part.path.rpartition("/")[2]])
        return dict(answer)
    except (LookupError, TypeError):
        return None


def same(part: Part, there: dict[str, Any]) -> bool:
    """Whether what is there is what we would install.

    Servers hand a template back in a form of their own, so the digest that we put into it counts;
    policies keep no digest, and are compared by what we say in them.
    """
    if part.kind == "retention policy":
        return _covers(there.get("policy"), part.body["policy"])
    meta = there.get("_meta")
    return isinstance(meta, dict) and meta.get("digest") == part.digest


def _covers(there: Any, wanted: Any) -> bool:
    """Whether *there* says all that *wanted* says; servers add defaults."""
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(
            _covers(there.get(key), value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(there, list)
            and len(there) == len(wanted)
            and all(map(_covers, there, wanted))
        )
    return str(there) == str(wanted)
