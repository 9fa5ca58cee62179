"""The benchmark runs, counts lines, and judges its table rightly.  No test here fails on a time."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
if not BENCHMARKS.is_dir():  # a wheel may be tested without them
    pytest.skip("the benchmarks are not here", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

# The path had to come first.
import apart  # noqa: E402
import measuring  # noqa: E402
import report  # noqa: E402
import targets  # noqa: E402
from contestants import CONTESTANTS  # noqa: E402
from contestants.shared_file import WHO as SHARED  # noqa: E402
from effort import EFFORTS, Case, Effort  # noqa: E402
from results import Results  # noqa: E402
from run import broken  # noqa: E402
from scenarios import NAMES, scenario  # noqa: E402
from scenarios.imports import MODULES  # noqa: E402
from scenarios.paced import stretch  # noqa: E402
from scenarios.parts import LABELS as PARTS  # noqa: E402

TINY = EFFORTS["tiny"]
OURS = ("ours", "ours_queued", "ours_pure", "ours_queued_pure")
ROLLING = {*OURS, "concurrent_log_handler"}


def installed(contestant):
    packages = CONTESTANTS[contestant].packages
    try:
        for package in packages:
            importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def run(name, case, tmp_path):
    return apart.one(name, case, tmp_path, 100)


class TestContestants:
    @pytest.mark.parametrize("contestant", list(CONTESTANTS))
    def test_all_lines_are_in_the_file_or_it_says_that_it_is_not_installed(
        self, contestant, tmp_path
    ):
        found = run("throughput", Case.of(contestant, events=50), tmp_path)
        if not installed(contestant):
            assert "missing" in found
            return
        assert "error" not in found, found
        assert found["lost"] == 0
        assert found["late"] == 0, "drain() promised more than was in the file"
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("contestant", [name for name in CONTESTANTS if installed(name)])
    def test_every_line_holds_the_same_eight_fields(self, contestant, tmp_path):
        code = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "from pathlib import Path; from contestants import CONTESTANTS\n"
            "subject = CONTESTANTS[sys.argv[2]].build(Path(sys.argv[3]))\n"
            "for number in range(3): subject.emit(number)\n"
            "subject.sized('some text')(3); subject.drain(); subject.finish()\n"
        )
        path = tmp_path / "app.jsonl"
        subprocess.run(
            [sys.executable, "-c", code, BENCHMARKS, contestant, path], check=True, timeout=100
        )
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        assert len(lines) == 4
        for number, line in enumerate(lines):
            text = json.dumps(line)
            assert "order placed" in text
            fields = line["record"]["extra"] if "record" in line else line
            assert fields["order_id"] == number
            if number == 3:
                assert fields["text"] == "some text"
                continue
            assert (fields["customer"], fields["route"]) == ("c-1042", "/orders/{id}")
            assert (fields["status"], fields["duration_ms"]) == (201, 12.5)
            assert fields["cached"] is False
            assert fields["items"] == ["a1", "b2", "c3"]


def first_cases():
    """For each scenario the first tiny case of each of ours, and of whom rolling is compared with."""
    for name in NAMES:
        seen = set()
        for case in scenario(name).cases(TINY):
            if case.contestant in ROLLING - seen:
                seen.add(case.contestant)
                yield pytest.param(name, case, id=f"{name}-{case.contestant}")


class TestScenarios:
    @pytest.mark.parametrize(("name", "case"), list(first_cases()))
    def test_runs_and_loses_nothing(self, name, case, tmp_path):
        found = run(name, case, tmp_path)
        if "missing" in found:
            assert case.contestant not in OURS, found["missing"]
            pytest.skip(found["missing"])
        if case.contestant not in OURS and "not done after" in found.get("error", ""):
            return  # their processes can wait for each other for minutes; the report names it
        assert "error" not in found, found
        assert found["lost"] == 0
        assert not found.get("failed")

    @pytest.mark.parametrize("piece", list(PARTS))
    def test_pieces(self, piece, tmp_path):
        assert run("parts", Case.of(piece, times=10), tmp_path)["nanoseconds"] >= 0

    @pytest.mark.parametrize(
        ("feature", "least"),
        [("exception", 100), ("all", 100), ("ecs", 100), ("processor", 19), ("scraped", 0)],
    )
    def test_features_reach_the_line(self, feature, least, tmp_path):
        plain = run("features", Case.of("ours", feature="plain", events=20), tmp_path)
        found = run("features", Case.of("ours", feature=feature, events=20), tmp_path)
        assert found["lost"] == 0
        longer = found["line_bytes"] - plain["line_bytes"]
        assert longer >= least
        assert longer < 10 or feature != "scraped"

    @pytest.mark.parametrize("name", NAMES)
    def test_every_form_names_known_contestants_and_renders(self, name):
        for effort in EFFORTS.values():
            for case in scenario(name).cases(effort):
                known = {*CONTESTANTS, *SHARED, *MODULES, *PARTS}
                assert case.contestant in known
                assert json.loads(json.dumps(dict(case.options))) == dict(case.options)
        assert scenario(name).TITLE
        assert name in report.SECTIONS

    def test_a_slow_case_is_ended_and_becomes_a_result(self, tmp_path):
        found = apart.one("memory", Case.of("ours", events=100_000_000), tmp_path, 0.5)
        assert "not done after 0.5 s" in found["error"]
        assert list(tmp_path.iterdir()) == []

    def test_a_case_that_raises_becomes_a_result(self, tmp_path):
        assert "KeyError" in run("throughput", Case.of("nobody", events=1), tmp_path)["error"]

    def test_the_rest_goes_on_when_one_fails_and_that_one_is_not_tried_again(
        self, tmp_path, monkeypatch
    ):
        told, tried = [], []
        one = apart.one

        def counting(name, case, where):
            tried.append(case.contestant)
            return one(name, case, where)

        monkeypatch.setattr(apart, "one", counting)
        plan = {"throughput": [Case.of("nobody", events=1), Case.of("bare", events=10)]}
        effort = Effort("tiny", 2, 10)
        found = apart.contest(plan, effort, tmp_path, lambda *what: told.append(what))
        nobody, bare = found["throughput"]
        assert "KeyError" in nobody["error"]
        assert nobody["runs"] == []
        assert [one["lost"] for one in bare["runs"]] == [0, 0]
        assert len(told) == 4
        assert sorted(tried) == ["bare", "bare", "nobody"]


class TestMeasuring:
    def test_percentiles_are_values_that_were_measured(self):
        ordered = list(range(1, 1001))
        assert [measuring.percentile(ordered, p) for p in (0, 50, 99, 99.9, 100)] == [
            1,
            500,
            990,
            999,
            1000,
        ]
        assert measuring.percentile([7], 99.9) == 7

    def test_lines_are_counted_over_blocks(self, tmp_path):
        path = tmp_path / "many"
        path.write_bytes(b"x" * 1_048_575 + b"\n" + b"y\n" * 3 + b"no end")
        assert measuring.lines_in([path, tmp_path / "absent"]) == 4

    def test_events_that_a_slow_call_delays_have_waited_since_they_were_due(self):
        def emit(number):
            if number == 2:
                time.sleep(0.02)

        took = stretch(emit, 10, 0.0)
        assert len(took) == 10
        # Due 0.2 ms after the slow call began, and each 0.2 ms after the one before.
        assert all(nanoseconds > 15_000_000 for nanoseconds in took[2:])

    def test_the_clocks_own_time_is_taken_off(self):
        assert measuring.distribution([1000.0] * 10, 40.0)["p50"] == pytest.approx(0.96)


def results_of(**throughput):
    """Results with µs until in the file for some contestants."""
    return Results(
        {
            "throughput": [
                {
                    "contestant": who,
                    "options": {},
                    "runs": [{"done_us": us, "lost": 0} for us in runs],
                }
                for who, runs in throughput.items()
            ]
        }
    )


class TestTable:
    def test_rows_compare_medians(self):
        rows = targets.table(results_of(structlog=[10, 6, 7], ours=[2, 100, 3.5]))
        row = rows[0]
        assert row["value"] == pytest.approx(2.0)  # 7 / 3.5
        assert (row["measured"], row["least"], row["aim"]) == ("2.00 ×", "≥ 1.6 ×", "≥ 2.5 ×")
        assert row["verdict"] == "pass"
        assert {row["verdict"] for row in rows[1:]} == {"not measured"}

    @pytest.mark.parametrize(
        ("more", "value", "verdict"),
        [
            (True, 1.5, "aim"),
            (True, 1.499, "aim"),  # it is printed as 1.50
            (True, 1.494, "pass"),
            (True, 1.0, "pass"),
            (True, 0.994, "FAIL"),
            (True, None, "not measured"),
            (False, 1.0, "aim"),
            (False, 1.2, "pass"),
            (False, 1.5, "pass"),
            (False, 1.51, "FAIL"),
        ],
    )
    def test_verdicts(self, more, value, verdict):
        least, aim = (1.0, 1.5) if more else (1.5, 1.0)
        target = targets.Target("a row", least, aim, lambda _: value, more=more)
        assert target.judge(value) == verdict

    def test_a_contestant_without_a_time_gives_no_ratio(self):
        assert targets.quotient(1.0, 0.0) is None
        assert targets.quotient(None, 1.0) is None
        assert targets.quotient(1.0, -2.0) is None, "less than nothing is a measurement gone wrong"
        assert targets.quotient(3.0, 2.0) == 1.5

    def test_every_row_asks_for_what_the_scenarios_deliver(self, tmp_path):
        """Cases of the quick form, each with the keys that one real measurement of its scenario had."""
        planned = {}
        for name in NAMES:
            cases = scenario(name).cases(EFFORTS["quick"])
            if not cases:
                continue
            tiny = next(case for case in scenario(name).cases(TINY) if case.contestant in OURS)
            found = run(name, tiny, tmp_path)
            ones = dict.fromkeys(found, 1.0)
            planned[name] = [
                {"contestant": case.contestant, "options": dict(case.options), "runs": [ones]}
                for case in cases
            ]
        verdicts = {row["row"]: row["verdict"] for row in targets.table(Results(planned))}
        assert "not measured" not in verdicts.values(), verdicts

    @pytest.mark.parametrize(
        ("number", "text"),
        [(10_000_000, "10⁷"), (1000, "10³"), (300_000, "300,000"), (None, "10⁷")],
    )
    def test_numbers_of_events(self, number, text):
        assert targets.power(number) == text


class TestReport:
    def test_loss_absence_and_failure_are_told(self):
        results = Results(
            {
                "throughput": [
                    {"contestant": "ours", "options": {}, "runs": [{"lost": 3}, {"lost": 0}]},
                    {
                        "contestant": "picologging",
                        "options": {},
                        "runs": [],
                        "missing": "No module",
                    },
                    {"contestant": "loguru", "options": {}, "runs": [], "error": "died"},
                ]
            }
        )
        told = "\n".join(report.remarks(results))
        assert "pylog_struct, synchronous lost 3 lines" in told
        assert "picologging, orjson: not installed (No module). It has wheels up to" in told
        assert "loguru, serialize failed: died" in told
        table = report.throughput(results)
        assert "| 3 |" in table
        assert "not installed" in table
        assert "failed: died" in table

    def test_the_command_prints_the_table_and_writes_json_and_plots(self, tmp_path):
        made = tmp_path / "out" / "bench.json"
        command = [sys.executable, BENCHMARKS / "run.py", "--tiny", "--json", made]
        plots = importlib.util.find_spec("matplotlib") is not None
        if plots:
            command += ["--plots", tmp_path / "plots"]
        ended = subprocess.run(
            [*command, "--only", "throughput,filtered", "--contestants", "bare,ours,structlog"],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert "| synchronous rolling file, events/s, to structlog's fast set-up |" in ended.stdout
        assert "not measured" in ended.stdout
        document = json.loads(made.read_text("utf-8"))
        assert {"facts", "effort", "scenarios", "table"} == set(document)
        assert document["facts"]["packages"]["structlog"]
        assert len(document["table"]) == len(targets.TARGETS)
        if plots:
            assert (tmp_path / "plots" / "bench-throughput.svg").stat().st_size > 1000
        readme = report.readme(document, "docs/images")
        assert "docs/images/bench-throughput.svg" in readme
        assert "| pylog_struct, synchronous |" in readme
        assert str(ROOT) not in readme + made.read_text("utf-8")

    def test_only_trouble_of_ours_fails_the_run(self):
        def document(who, **case):
            entry = {"contestant": who, "options": {}, "runs": [{"lost": 0}]} | case
            return {"scenarios": {"throughput": [entry]}}

        assert not broken(document("ours"))
        assert not broken(document("loguru", error="died"))
        assert broken(document("ours", error="died"))
        assert broken(document("ours_queued", runs=[{"lost": 1}]))

    def test_an_unknown_scenario_is_refused(self):
        ended = subprocess.run(
            [sys.executable, BENCHMARKS / "run.py", "--only", "speed"],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert ended.returncode
        assert "no scenario is called speed" in ended.stderr


KEPT = ROOT / "docs" / "reference" / "bench.json"


@pytest.mark.skipif(not KEPT.exists(), reason="no run of the benchmark is published here")
@pytest.mark.parametrize(
    ("page", "images", "make"),
    [
        (ROOT / "README.md", "docs/images", report.readme),
        (ROOT / "docs" / "reference" / "benchmarks.md", "../images", report.page),
    ],
)
def test_what_is_published_is_what_the_kept_json_says(page, images, make):
    document = json.loads(KEPT.read_text("utf-8"))
    assert make(document, images) in page.read_text("utf-8")
