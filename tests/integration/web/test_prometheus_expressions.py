"""Every expression of the alerts and the dashboard, evaluated by a real Prometheus that scrapes us.

One application goes through all that the alerts are about, with the rules' durations divided by 150.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from support import prometheus_app
from support.process import environment
from support.prometheus_server import (
    DASHBOARD,
    DEPLOY,
    PATIENCE,
    RULES,
    Prometheus,
    promtool,
    quicker,
    rules,
)

if not DEPLOY.exists():
    pytest.skip("deploy/ is not part of what is installed", allow_module_level=True)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

JOB = "shop"
FACTOR = 150
UNSEEN = {"PylogDeliverySlow", "PylogFailoverFlapping", "PylogSpoolNotDrained", "PylogScrapeGaps"}
"""Alerts about what takes half a minute even so; their unit tests are enough."""
VARIABLES = {
    "job": ".+", "instance": ".+", "sink": ".+", "root": "queue",
    "__rate_interval": "1m", "__range": "5m",
}  # fmt: skip
SELECTOR = re.compile(r"\b(?:pylog_\w+|up|process_\w+|scrape_\w+)(?:\{[^}]*\})?")


def substituted(expression):
    """What Grafana sends for *expression*."""
    text = re.sub(r"\$(\w+)", lambda found: VARIABLES[found[1]], expression)
    assert "$" not in text
    return text


def dashboard_expressions():
    """Title → the expressions of each panel."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return {
        panel["title"]: [substituted(target["expr"]) for target in panel["targets"]]
        for panel in panels
        if panel["type"] != "row"
    }


def variable_selectors():
    """The series that the dashboard's variables are filled from."""
    variables = json.loads(DASHBOARD.read_text("utf-8"))["templating"]["list"]
    queries = [one["definition"] for one in variables if one["type"] == "query"]
    found = [re.fullmatch(r"label_values\((.+), (\w+)\)", query) for query in queries]
    return [(substituted(match[1]), match[2]) for match in found]


class Application:
    """The process that is scraped."""

    def __init__(self, folder):
        self._errors = (folder / "stderr").open("w")
        self.process = subprocess.Popen(
            [sys.executable, prometheus_app.__file__, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            env=environment(), text=True,
        )  # fmt: skip
        self.port = int(self.answer())

    def answer(self):
        line = self.process.stdout.readline()
        assert line, "the application ended"
        return line

    def tell(self, command):
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def end(self):
        if self.process.poll() is None:
            self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self._errors.close()


@pytest.fixture(name="application")
def _application(tmp_path):
    running = Application(tmp_path)
    yield running
    running.end()


def test_a_real_prometheus_evaluates_them_all(application, tmp_path):
    quick = quicker(RULES.read_text("utf-8"), FACTOR)
    (tmp_path / "quick.yml").write_text(quick)
    code, said = promtool("check", "rules", tmp_path / "quick.yml")
    assert code == 0, said
    targets = {JOB: application.port}
    with Prometheus(tmp_path / "prometheus", targets, rule_text=quick, interval="250ms") as server:
        fired = trouble(server, application)
        every_expression_finds_something(server)
        the_ledger_adds_up(server, application)
        fired |= ends(server, application)
        assert not server.broken_rules()
    assert fired >= {rule["alert"] for rule in rules() if "alert" in rule} - UNSEEN


def trouble(server, application):
    """First all is well; then the preferred target fails, and at last every one."""
    fired = set()

    def all_of(*names):
        def look():
            fired.update(server.firing())
            return fired.issuperset(names)

        return look

    used = f'pylog_failover_active{{job="{JOB}", target="elastic"}}'
    history = f"sum(count_over_time({used}[10m]))"
    server.wait_until(
        lambda: server.query(used) and server.total(history) > 30, "it is not scraped"
    )
    assert not server.firing() & {"PylogErrorsLost", "PylogFailoverActive", "PylogSinkStuck"}
    application.tell("elastic down")
    server.wait_until(
        all_of("PylogFailoverActive", "PylogSinkErrors", "PylogProcessingErrors", "PylogEventsAltered"),
        lambda: f"only {fired}",
    )  # fmt: skip
    assert "PylogErrorsLost" not in fired
    application.tell("all down")
    server.wait_until(
        all_of(
            "PylogFailoverAllFailed", "PylogSinkStuck", "PylogQueueNearlyFull", "PylogSpoolGrowing",
            "PylogRecordsLost",
        ),
        lambda: f"only {fired}",
    )  # fmt: skip
    assert "PylogErrorsLost" not in fired  # they are on disk
    application.tell("flood")  # more than the disk may hold
    server.wait_until(all_of("PylogErrorsLost"), lambda: f"only {fired}")
    return fired


def every_expression_finds_something(server):
    """Of the rules as they are, and of the dashboard: no error, and no series that is not there."""
    for rule in rules():
        server.query(rule["expr"])
        for selector in SELECTOR.findall(rule["expr"]):
            if 'job="pylog"' not in selector:
                assert server.query(f"last_over_time({selector}[10m])"), (rule, selector)
    panels = dashboard_expressions()
    assert len(panels) > 25
    for title, expressions in panels.items():
        for expression in expressions:
            found = server.query(expression)
            assert found, f"{title}: nothing for {expression}"
            assert any(value == value for _, value in found), f"{title}: only NaN"  # noqa: PLR0124
            for selector in SELECTOR.findall(expression):
                assert server.query(f"last_over_time({selector}[10m])"), (title, selector)
    variables = variable_selectors()
    assert len(variables) == 4
    for selector, label in variables:
        assert all(label in labels for labels, _ in server.query(selector)), selector


def the_ledger_adds_up(server, application):
    """What comes in is written, dropped (also on purpose) or waiting; nothing is left over."""
    application.tell("rest")
    balanced, emitted, discarded = application.answer().split()
    assert balanced == "True"
    (balance,) = dashboard_expressions()["Not accounted for"]
    scraped = f'sum(pylog_events_total{{job="{JOB}"}})'
    waiting = f'sum(pylog_queue_size{{job="{JOB}"}})'
    server.wait_until(
        lambda: server.total(scraped) >= int(emitted) and server.total(waiting) == 0,
        "the last events do not show, or something still waits",
    )
    assert int(discarded) > 0
    server.wait_until(
        lambda: server.total(balance) == 0,
        lambda: f"{server.total(balance)} are not accounted for, {discarded} were not wanted",
    )


def ends(server, application):
    """The endpoint shows nothing of ours any more, then it is gone."""
    fired = set()

    def alert(name):
        def look():
            fired.update(server.firing())
            return name in fired

        return look

    application.tell("bare")
    server.wait_until(alert("PylogMetricsAbsent"), "no PylogMetricsAbsent")
    server.wait_until(alert("PylogNothingScraped"), "no PylogNothingScraped")
    application.end()
    server.wait_until(alert("PylogTargetDown"), "no PylogTargetDown")
    return fired
