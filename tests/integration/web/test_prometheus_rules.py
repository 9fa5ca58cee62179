"""The alert rules and the dashboard as such: promtool's opinion, unit tests, structure."""

from __future__ import annotations

import json
import re
from collections import defaultdict

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from support.prometheus_server import DASHBOARD, DEPLOY, ROOT, RULES, promtool, rules

import pylog_struct
from pylog_struct.sinks import FailoverSink, MemorySink, QueueSink

if not DEPLOY.exists():
    pytest.skip("deploy/ is not part of what is installed", allow_module_level=True)

PAGE = ROOT / "docs" / "how-to" / "dashboards-and-alerts.md"
UNIT_TESTS = DEPLOY / "prometheus" / "tests" / "pylog.yml"
ALERTS = [rule for rule in rules() if "alert" in rule]
NAMES = [rule["alert"] for rule in ALERTS]


# -- promtool -------------------------------------------------------------------------------------


def test_promtool_takes_the_configuration_and_the_rules_in_it():
    code, said = promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    assert code == 0, said
    assert f"{len(rules())} rules found" in said


def test_promtool_has_nothing_against_the_rules():
    code, said = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert code == 0, said


@pytest.mark.slow
def test_the_rules_pass_their_unit_tests():
    code, said = promtool("test", "rules", UNIT_TESTS.name, cwd=UNIT_TESTS.parent)
    assert code == 0, said
    assert "SUCCESS" in said


def test_a_unit_test_that_is_wrong_would_fail(tmp_path):
    document = yaml.safe_load(UNIT_TESTS.read_text("utf-8"))
    document["rule_files"] = [str(RULES)]
    case = next(test for test in document["tests"] if test["name"] == "no target at all")
    case["alert_rule_test"][0]["exp_alerts"] = []
    changed = tmp_path / "wrong.yml"
    changed.write_text(yaml.safe_dump({**document, "tests": [case]}))
    code, said = promtool("test", "rules", changed)
    assert code != 0
    assert "PylogNothingScraped" in said


def test_what_we_expose_passes_promtool_s_lint():
    registry = CollectorRegistry()
    pylog_struct.configure(
        sink=QueueSink(FailoverSink([MemorySink(), MemorySink()])), registry=registry
    )
    log = pylog_struct.get_logger("shop")
    log.info("order placed")
    pylog_struct.flush()
    text = generate_latest(registry).decode()
    assert "pylog_failover_active{" in text
    code, said = promtool("check", "metrics", stdin=text)
    assert (code, said) == (0, "")


# -- what every alert has -------------------------------------------------------------------------


def test_every_alert_has_unit_tests_that_say_when_it_fires_and_when_not():
    fires, quiet = defaultdict(int), defaultdict(int)
    for test in yaml.safe_load(UNIT_TESTS.read_text("utf-8"))["tests"]:
        for case in test.get("alert_rule_test", ()):
            (fires if case["exp_alerts"] else quiet)[case["alertname"]] += 1
    assert set(fires) == set(quiet) == set(NAMES)
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("rule", ALERTS, ids=NAMES)
def test_an_alert_says_what_who_how_bad_and_where_to_read_on(rule):
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    if rule["alert"] != "PylogNothingScraped":  # it has nobody to name
        assert "$labels.instance" in rule["annotations"]["summary"]
        assert "$labels.job" in rule["annotations"]["description"]
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page.endswith("docs/how-to/dashboards-and-alerts.md")
    assert anchor == rule["alert"].lower()


def test_the_page_explains_each_alert_under_its_anchor_and_no_other():
    text = PAGE.read_text("utf-8")
    assert re.findall(r"^### (Pylog\w+)$", text, re.MULTILINE) == NAMES
    for rule in ALERTS:
        section = text.partition(f"### {rule['alert']}\n")[2].partition("\n#")[0]
        assert f"*{rule['labels']['severity']}" in section, rule["alert"]
        assert "**What to do.**" in section, rule["alert"]


def test_the_preferred_target_can_be_said_by_hand_as_the_page_does(tmp_path):
    """A process that begins with its fallback: the rule as it comes cannot know, the page's can."""
    by_hand = re.search(
        r"^      - record: (\S+)\n +expr: (.+)$", PAGE.read_text("utf-8"), re.MULTILINE
    )
    document = yaml.safe_load(RULES.read_text("utf-8"))
    (replaced,) = (
        rule
        for group in document["groups"]
        for rule in group["rules"]
        if rule.get("record") == by_hand[1]
    )
    series = 'pylog_failover_active{job="shop", instance="a:80", sink="safe", target="%s"}'
    question = 'count(ALERTS{alertname="PylogFailoverActive", alertstate="firing", target="file"})'

    def firing():
        (tmp_path / "rules.yml").write_text(yaml.safe_dump(document))
        test = {
            "interval": "1m",
            "input_series": [
                {"series": series % "elastic", "values": "0x20"},
                {"series": series % "file", "values": "1x20"},
            ],
            "promql_expr_test": [
                {
                    "expr": question,
                    "eval_time": "10m",
                    "exp_samples": [{"labels": "{}", "value": 1}],
                }
            ],
        }
        (tmp_path / "test.yml").write_text(
            yaml.safe_dump(
                {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}
            )
        )
        code, _ = promtool("test", "rules", "test.yml", cwd=tmp_path)
        return code == 0

    assert not firing()
    replaced["expr"] = by_hand[2]
    assert firing()


def test_what_is_recorded_is_used():
    expressions = "\n".join(rule["expr"] for rule in ALERTS)
    recorded = [rule["record"] for rule in rules() if "record" in rule]
    assert recorded
    for name in recorded:
        assert name in expressions, name


# -- the dashboard --------------------------------------------------------------------------------

DOCUMENT = json.loads(DASHBOARD.read_text("utf-8"))
PANELS = DOCUMENT["panels"]
DRAWN = [panel for panel in PANELS if panel["type"] != "row"]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
KNOWN_UNITS = {"short", "ops", "s", "bytes", "Bps", "percentunit"}


def test_the_dashboard_is_of_a_current_schema_and_has_an_identity():
    assert DOCUMENT["schemaVersion"] >= 41  # of Grafana 12
    assert DOCUMENT["id"] is None  # given by the Grafana that loads it
    assert DOCUMENT["uid"] == "pylog-struct"
    assert DOCUMENT["title"] == "pylog_struct"
    assert "__inputs" not in DOCUMENT  # of "export for sharing"; provisioning cannot fill them in


def test_rows_are_those_of_the_subject():
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert rows == ["Overview", "Queues", "Drops", "Sinks", "Failover", "Files", "Spool", "Process"]


def test_ids_are_unique_and_nothing_overlaps():
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in PANELS:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("panel", DRAWN, ids=lambda panel: panel["title"])
def test_a_panel_is_complete(panel):
    assert panel["type"] in {"stat", "timeseries", "state-timeline"}  # no panel of old, no Angular
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["datasource"] == SOURCE
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] in KNOWN_UNITS
    steps = defaults["thresholds"]["steps"]
    assert steps[0]["value"] is None
    values = [step["value"] for step in steps[1:]]
    assert values == sorted(values)
    references = [target["refId"] for target in panel["targets"]]
    assert references
    assert len(references) == len(set(references))
    for target in panel["targets"]:
        assert target["datasource"] == SOURCE
        assert target["instant"] != target["range"]
        named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        grouped = re.search(r"\b(?:sum|max|avg) by \(([\w, ]+)\)", target["expr"])
        kept = set(grouped[1].split(", ")) if grouped else {"instance"}
        assert named <= kept, "a legend that names a label which is not there"
        assert named == kept - {"le"} or not grouped or len(panel["targets"]) > 1


def test_titles_are_unique_and_rates_follow_the_chosen_interval():
    titles = [panel["title"] for panel in DRAWN]
    assert len(titles) == len(set(titles))
    for panel in DRAWN:
        for target in panel["targets"]:
            for window in re.findall(r"rate\([^\[]+\[([^\]]+)\]", target["expr"]):
                assert window == "$__rate_interval"


def test_variables_are_used_and_none_other():
    known = {variable["name"] for variable in DOCUMENT["templating"]["list"]}
    assert known == {"datasource", "job", "instance", "sink", "root"}
    text = json.dumps(DOCUMENT)
    used = set(re.findall(r"\$\{?(\w+)\}?", text)) - {"__rate_interval", "__range", "__all"}
    assert used == known


def test_what_the_schema_requires_is_there():
    """What Grafana's own strict reader (foundation SDK) missed once."""
    for one in DOCUMENT["templating"]["list"]:
        assert one["current"].keys() >= {"text", "value"}, one["name"]
    for panel in DOCUMENT["panels"]:
        legend = panel.get("options", {}).get("legend")
        if legend is not None:
            assert legend.keys() >= {"calcs", "displayMode", "placement", "showLegend"}


def test_provisioning_loads_the_folder_that_compose_mounts():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    mounts = dict(
        mount.split(":")[:2]
        for mount in compose["services"]["grafana"]["volumes"]
        if mount[0] == "."
    )
    provisioning = DEPLOY / "grafana" / "provisioning" / "dashboards" / "pylog.yaml"
    (provider,) = yaml.safe_load(provisioning.read_text("utf-8"))["providers"]
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    rules_at = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text("utf-8"))
    assert rules_at["rule_files"] == ["alerts/*.yml"]
