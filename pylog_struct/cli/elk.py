"""``pylog elk``: the template that our documents want, its installation, and a self-check."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
import orjson

from pylog_struct.clock import SYSTEM_CLOCK
from pylog_struct.elk.check import check as run_check
from pylog_struct.elk.cluster import Cluster, ClusterError
from pylog_struct.elk.setup import has_policies, install
from pylog_struct.elk.template import Plan
from pylog_struct.errors import ConfigError
from pylog_struct.sinks._elasticsearch.connection import connection

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check", "elk", "setup", "template"]

_OWNER = "pylog elk"
_OPTIONS = {"data_stream": "DATA_STREAM", "hosts": "--url", "basic_auth": "--user"}
_MARKS = {"ok": "ok", "warning": "WARNING", "failed": "FAILED"}


@click.group()
def elk() -> None:
    """Make Elasticsearch or OpenSearch ready for ECS documents, and see whether it is."""


def _plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for decorator in (
        click.argument("data_stream"),
        click.option("--retention", default="30d", help='Delete after; "" for never.  [30d]'),
        click.option("--rollover-age", default="1d", help="Begin a new index after.  [1d]"),
        click.option(
            "--rollover-size", default="50gb", help="Or when its primaries have this size.  [50gb]"
        ),
        click.option("--shards", type=click.IntRange(min=1), help="Primary shards."),
        click.option("--replicas", type=click.IntRange(min=0), help="Copies of each."),
        click.option("--nanoseconds", is_flag=True, help="date_nanos for @timestamp."),
    ):
        command = decorator(command)
    return command


def _connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for decorator in (
        click.option(
            "--url", "hosts", multiple=True, envvar="PYLOG_ELK_URL", show_envvar=True,
            default=["http://localhost:9200"], help="A node; may be repeated.",
        ),
        click.option("--api-key", envvar="PYLOG_ELK_API_KEY", show_envvar=True, help="Encoded, or ID:KEY."),
        click.option("--user", envvar="PYLOG_ELK_USER", show_envvar=True, help="USER:PASSWORD."),
        click.option("--ca-certs", help="PEM file to verify the servers with."),
        click.option("--fingerprint", help="SHA-256 of the certificate, instead."),
        click.option("--insecure", is_flag=True, help="Do not verify certificates."),
        click.option(
            "--timeout", type=click.FloatRange(0, min_open=True), default=30.0,
            help="Seconds for a request.  [30]",
        ),
    ):  # fmt: skip
        command = decorator(command)
    return command


def _usage_error(error: ConfigError) -> click.UsageError:
    """The same error under the name that the argument has on the command line."""
    argument, colon, text = str(error).removeprefix(f"{_OWNER}.").partition(": ")
    if not argument.isidentifier():
        return click.UsageError(str(error))
    option = _OPTIONS.get(argument, f"--{argument.replace('_', '-')}")
    return click.UsageError(f"{option}{colon}{text}")


def _plan(options: dict[str, Any]) -> Plan:
    try:
        return Plan(**options)
    except ConfigError as error:
        raise _usage_error(error) from error


def _cluster(
    hosts: tuple[str, ...],
    api_key: str | None,
    user: str | None,
    ca_certs: str | None,
    fingerprint: str | None,
    timeout: float,
    *,
    insecure: bool,
) -> Cluster:
    try:
        where = connection(
            _OWNER,
            hosts,
            api_key=api_key,
            basic_auth=user,
            ca_certs=ca_certs,
            fingerprint=fingerprint,
            verify_certs=not insecure,
        )
    except ConfigError as error:
        raise _usage_error(error) from error
    return Cluster(where, timeout=timeout)


@elk.command()
@_plan_options
@click.option(
    "--for",
    "flavour",
    type=click.Choice(["elasticsearch", "opensearch"]),
    default="elasticsearch",
    help="Whose template.  [elasticsearch]",
)
def template(flavour: Any, **options: Any) -> None:
    """Print what setup would install for DATA_STREAM, as requests; asks no server."""
    requests = {f"PUT {part.path}": part.body for part in _plan(options).parts(flavour)}
    click.echo(orjson.dumps(requests, option=orjson.OPT_INDENT_2))


@elk.command()
@_plan_options
@_connection_options
def setup(
    hosts: tuple[str, ...],
    api_key: str | None,
    user: str | None,
    ca_certs: str | None,
    fingerprint: str | None,
    insecure: bool,
    timeout: float,
    **options: Any,
) -> None:
    """Install template and retention for DATA_STREAM; a second time, nothing happens."""
    plan = _plan(options)
    try:
        with _cluster(
            hosts, api_key, user, ca_certs, fingerprint, timeout, insecure=insecure
        ) as cluster:
            server = cluster.server()
            click.echo(server.title)
            for done in install(cluster, server, plan):
                click.echo(f"{done.outcome:<9} {done.part.kind} {done.part.path}")
            if plan.retention and not has_policies(cluster, server):
                click.echo("skipped   retention policy: this server has none", err=True)
    except ClusterError as error:
        raise click.ClickException(str(error)) from error


@elk.command()
@_plan_options
@_connection_options
@click.option("--no-write", is_flag=True, help="Do not write a test document.")
def check(
    hosts: tuple[str, ...],
    api_key: str | None,
    user: str | None,
    ca_certs: str | None,
    fingerprint: str | None,
    insecure: bool,
    timeout: float,
    no_write: bool,
    **options: Any,
) -> None:
    """Say whether documents for DATA_STREAM would arrive; exits with 1 if not."""
    plan = _plan(options)
    if plan.data_stream.endswith("*"):
        raise click.UsageError("check needs one data stream, without *")
    failed = False
    try:
        with _cluster(
            hosts, api_key, user, ca_certs, fingerprint, timeout, insecure=insecure
        ) as cluster:
            for verdict in run_check(cluster, plan, SYSTEM_CLOCK, write=not no_write):
                failed = failed or verdict.result == "failed"
                click.echo(f"{_MARKS[verdict.result]:<7} {verdict.question}: {verdict.text}")
    except ClusterError as error:
        raise click.ClickException(str(error)) from error
    click.echo("documents would not arrive" if failed else "documents arrive")
    if failed:
        sys.exit(1)
