"""A real Prometheus (Debian's) on loopback, and promtool: what scrapes, evaluates and judges us."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml
from support import servers

NAME = "Prometheus"
ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "alerts" / "pylog.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "pylog.json"
PATIENCE = 60.0
_DURATION = re.compile(r"(?<![\w.])(\d+)([smhd])(?![\w(])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def promtool(*arguments, stdin=None, cwd=None):
    """Run promtool; return its exit code and all that it said."""
    servers.needs(NAME, "promtool")
    done = subprocess.run(
        ["promtool", *map(str, arguments)],
        input=stdin, capture_output=True, text=True, check=False, timeout=PATIENCE, cwd=cwd,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def rules(path=RULES):
    """All rules of the file, in their order."""
    groups = yaml.safe_load(path.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def quicker(text, factor):
    """Return rules with every duration divided by *factor*: minutes of waiting are not for tests."""

    def shorter(found):
        seconds = int(found[1]) * _SECONDS[found[2]]
        return f"{max(1, round(seconds * 1000 / factor))}ms"

    document = yaml.safe_load(text)
    for group in document["groups"]:
        if "interval" in group:
            group["interval"] = _DURATION.sub(shorter, group["interval"])
        for rule in group["rules"]:
            rule["expr"] = _DURATION.sub(shorter, rule["expr"])
            if "for" in rule:
                rule["for"] = _DURATION.sub(shorter, rule["for"])
    return yaml.safe_dump(document, width=10_000)


class Prometheus:
    """One server that scrapes loopback ports and can be asked.

    Args:
        folder: Where its files are.
        targets: Job → port.
        rule_text: A file of rules.
        interval: Of scraping and evaluating.
    """

    def __init__(self, folder, targets, *, rule_text=None, interval="500ms"):
        servers.needs(NAME, "prometheus")
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.port = servers.free_port()
        configuration = {
            "global": {
                "scrape_interval": interval,
                "scrape_timeout": interval,
                "evaluation_interval": interval,
            },
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
                for job, port in targets.items()
            ],
        }
        if rule_text is not None:
            (self.folder / "rules.yml").write_text(rule_text)
            configuration["rule_files"] = ["rules.yml"]
        self._file = self.folder / "prometheus.yml"
        self._file.write_text(yaml.safe_dump(configuration))
        self.process = None

    def __enter__(self):
        command = [
            "prometheus",
            f"--config.file={self._file}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]
        self.process = servers.Process.start(command, self.folder, GOMAXPROCS="1")
        self.process.wait_until(self._is_ready, timeout=PATIENCE)
        return self

    def __exit__(self, *_):
        self.process.stop()

    def _is_ready(self):
        address = f"http://127.0.0.1:{self.port}/-/ready"
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200

    def _ask(self, what, **parameters):
        query = urllib.parse.urlencode(parameters)
        address = f"http://127.0.0.1:{self.port}/api/v1/{what}?{query}"
        try:
            with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                message = f"{parameters}: {error.read().decode()}"
            raise AssertionError(message) from None
        assert said["status"] == "success", said
        assert not said.get("warnings"), said
        return said["data"]

    def query(self, expression):
        """Evaluate *expression* now: a list of (labels, value)."""
        data = self._ask("query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def total(self, expression):
        """Return the one value that *expression* must have."""
        ((_, value),) = self.query(expression)
        return value

    def history(self, selector, window="1h"):
        """All samples of the last *window*: a list of (labels, [(time, value)])."""
        data = self._ask("query", query=f"{selector}[{window}]")
        return [
            (one["metric"], [(when, float(value)) for when, value in one["values"]])
            for one in data["result"]
        ]

    def firing(self):
        """The names of the alerts that fire."""
        return {
            alert["labels"]["alertname"]
            for alert in self._ask("alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def broken_rules(self):
        """Name → error, of the rules that could not be evaluated."""
        return {
            rule["name"]: rule["lastError"]
            for group in self._ask("rules")["groups"]
            for rule in group["rules"]
            if rule.get("lastError")
        }

    def wait_until(self, ready, why, timeout=PATIENCE):
        """Call *ready* until it returns something true, and return that."""
        ends = time.monotonic() + timeout
        while True:
            found = ready()
            if found:
                return found
            if time.monotonic() > ends:
                text = why() if callable(why) else why
                raise AssertionError(f"{text}\n{self.process.last_words()}")
            time.sleep(0.1)
