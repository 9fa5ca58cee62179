"""One answer out of registries, collectors and files, whatever one of them does."""

from __future__ import annotations

import gzip
import importlib
import os
import urllib.parse
from wsgiref.util import setup_testing_defaults

import pytest
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Metric,
    Summary,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from support.scraping import NOBODY, ask_asgi, ask_wsgi, key, samples, total, write

import pylog_struct
import pylog_struct.metrics
from pylog_struct.errors import ConfigError
from pylog_struct.sinks import FailoverSink, MemorySink, NullSink, QueueSink
from pylog_struct.web import WSGIRequestMiddleware, metrics_asgi_app, metrics_wsgi_app
from pylog_struct.web._metrics.negotiation import accepts_gzip, chosen_encoder


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)


@pytest.fixture(name="registry")
def _registry():
    return CollectorRegistry()


@pytest.fixture(
    name="ask",
    params=[(metrics_asgi_app, ask_asgi), (metrics_wsgi_app, ask_wsgi)],
    ids=["asgi", "wsgi"],
)
def _ask(request):
    """Scrape once, over either interface: ``ask(registry, app=options, **request)``."""
    make, ask = request.param

    def scrape(registry=None, app=None, **how):
        return ask(make(registry, **(app or {})), **how)

    return scrape


class Collector:
    """Yields what it is given; raises what is an exception."""

    def __init__(self, *families):
        self.families = families
        self.asked = 0

    def collect(self):
        self.asked += 1
        for family in self.families:
            if isinstance(family, BaseException):
                raise family
            yield family


def gauge(name, value=1.0, **labels):
    family = GaugeMetricFamily(name, "A text.", labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


# -- HTTP ------------------------------------------------------------------------------------------


def test_a_scrape_is_what_prometheus_client_writes(ask, registry):
    Counter("c", "Count.", ["a"], registry=registry).labels("x").inc(3)
    Histogram("h", "Histogram.", registry=registry).observe(0.3)
    Summary("s", "Summary.", registry=registry).observe(0.3)
    Info("i", "Info.", registry=registry).info({"version": "1"})
    Enum("e", "State.", states=["on", "off"], registry=registry).state("off")

    answer = ask(registry)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.body == generate_latest(registry)
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["vary"] == "Accept, Accept-Encoding"


@pytest.mark.parametrize("path", ["", "/", "/metrics", "/metrics/", "/any/where", "/ä ö"])
@pytest.mark.parametrize("root", ["", "/api"])
def test_any_path_is_answered_without_a_redirect(ask, registry, path, root):
    Gauge("g", "Gauge.", registry=registry).set(5)
    answer = ask(registry, path=path, root=root)
    assert (answer.status, answer.samples) == (200, {("g", ()): 5.0})


def test_head_has_the_headers_of_get_and_no_body(ask, registry):
    Gauge("g", "Gauge.", registry=registry).set(5)
    got, headed = ask(registry), ask(registry, method="HEAD")
    assert (headed.status, headed.headers, headed.body) == (200, got.headers, b"")


def test_options_says_what_is_possible(ask, registry):
    answer = ask(registry, method="OPTIONS")
    assert (answer.status, answer.headers["allow"]) == (200, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "BREW"])
def test_anything_else_is_refused(ask, registry, method):
    collector = Collector(gauge("g"))
    registry.register(collector)
    asked = collector.asked
    answer = ask(registry, method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert method.encode() in answer.body
    assert collector.asked == asked


# -- content negotiation ---------------------------------------------------------------------------

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
CLASSIC = "text/plain; version=0.0.4"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", CLASSIC),
        ("*/*", CLASSIC),
        ("text/plain", CLASSIC),
        ("text/html, text/*;q=0.5", CLASSIC),
        ("application/json", CLASSIC),
        ("text/plain;version=0.0.4;q=1,application/openmetrics-text;version=1.0.0;q=0.5", CLASSIC),
        ("application/openmetrics-text;version=1.0.0;q=0", CLASSIC),
        ("application/openmetrics-text;version=1.0.0;q=high", CLASSIC),
        (", ;;, =", CLASSIC),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0"),
        (PROMETHEUS, "application/openmetrics-text; version=1.0.0"),
        (
            "text/plain;q=0.1, application/openmetrics-text;version=1.0.0;q=0.9",
            "application/openmetrics-text; version=1.0.0",
        ),
    ],
)
def test_the_scraper_gets_the_format_that_it_prefers(ask, registry, accept, expected):
    Counter("c", "Count.", registry=registry).inc()
    answer = ask(registry, accept=accept)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith(expected)
    if "openmetrics" in expected:
        assert answer.body.endswith(b"# EOF\n")
        families = {family.name for family in parse_openmetrics(answer.body.decode())}
        assert families == {"c"}
    else:
        assert answer.body == generate_latest(registry)


def test_a_version_that_is_none_is_still_answered(ask, registry):
    """prometheus-client raises at it; older ones do not look at versions."""
    Counter("c", "Count.", registry=registry).inc()
    answer = ask(registry, accept="application/openmetrics-text;version=teapot")
    assert answer.status == 200
    assert b"c_total 1.0" in answer.body


def test_escaping_is_as_the_installed_prometheus_client_does_it():
    """Versions that know it say so in the content type; older ones keep the classic one."""
    accept = "text/plain;version=1.0.0;escaping=allow-utf-8"
    assert chosen_encoder(accept)[1] == choose_encoder(accept)[1]
    accept = "application/openmetrics-text;version=1.0.0;escaping=underscores"
    assert chosen_encoder(accept)[1] == choose_encoder(accept)[1]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0, deflate", False),
        ("*", True),
        ("*;q=0", False),
        ("*, gzip;q=0", False),
        ("identity", False),
        ("gzip;q=nonsense", False),
        ("br,zstd", False),
    ],
)
def test_gzip_is_used_if_it_may_be(header, expected):
    assert accepts_gzip(header) is expected


def test_a_compressed_scrape_is_the_same(ask, registry):
    Counter("c", "Count.", registry=registry).inc()
    answer = ask(registry, accept_encoding="gzip, deflate")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert gzip.decompress(answer.body) == generate_latest(registry)
    assert "content-encoding" not in ask(registry, accept_encoding="gzip;q=0").headers
    plain = ask(registry, app={"compress": False}, accept_encoding="gzip")
    assert "content-encoding" not in plain.headers


# -- name[] ----------------------------------------------------------------------------------------


def _query(*names):
    return urllib.parse.urlencode([("name[]", name) for name in names])


def test_names_choose_samples_and_other_collectors_are_not_even_asked(ask, registry):
    Counter("c", "Count.", ["a"], registry=registry).labels("x").inc(3)
    Histogram("h", "Histogram.", registry=registry, buckets=(1,)).observe(0.3)
    described = Collector(gauge("g"))
    described.describe = lambda: [gauge("g")]
    registry.register(described)
    nameless = Collector(gauge("n"), gauge("o"))
    registry.register(nameless)

    found = ask(registry, query=_query("c_total", "h_count", "n")).samples
    assert found == {("c_total", (("a", "x"),)): 3.0, ("h_count", ()): 1.0, ("n", ()): 1.0}
    assert described.asked == 0
    assert ask(registry, query=_query("nothing")).samples == {}
    assert len(ask(registry, query="name[]=").samples) == len(ask(registry).samples)
    assert len(ask(registry, query="name%5B%5D=c_total").samples) == 1


def test_names_choose_in_multiprocess_mode_too(ask, tmp_path):
    write(tmp_path, "counter", NOBODY, {key("c", "c_total"): 2.0, key("d", "d_total"): 2.0})
    found = ask(app={"multiprocess_dir": tmp_path}, query=_query("d_total"))
    assert found.samples == {("d_total", ()): 2.0}


# -- collectors that misbehave ---------------------------------------------------------------------


@pytest.fixture(name="counted")
def _counted():
    """How often a scrape had trouble, as the metrics say."""
    own = CollectorRegistry()
    pylog_struct.configure(sink=NullSink(), stdlib=False, registry=own)
    return lambda: own.get_sample_value("pylog_processing_errors_total", {"stage": "scrape"}) or 0


def test_a_collector_that_raises_is_left_out_said_and_counted(ask, registry, capfd, counted):
    Gauge("before", "Gauge.", registry=registry).set(1)
    registry.register(Collector(gauge("half"), ValueError("the database is gone")))
    Gauge("after", "Gauge.", registry=registry).set(2)

    answer = ask(registry)
    assert answer.status == 200
    assert answer.samples == {("before", ()): 1.0, ("after", ()): 2.0}
    assert "collector Collector raised and is left out (ValueError: the database is gone)" in (
        capfd.readouterr().err
    )
    assert counted() == 1


def test_the_same_scrape_shows_that_something_is_missing(ask, registry):
    registry.register(Collector(ValueError("no")))
    pylog_struct.configure(sink=NullSink(), stdlib=False, registry=registry)
    found = ask(registry).samples
    assert found["pylog_processing_errors_total", (("stage", "scrape"),)] == 1.0


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(gauge("g", "not a number"), id="a value that is none"),
        pytest.param(gauge("g", 1.0, a=5), id="a label that is no text"),
        pytest.param("no family", id="no family"),
    ],
)
@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text"])
def test_a_family_that_cannot_be_written_is_left_out(ask, registry, broken, accept, capfd, counted):
    good = Collector(gauge("good", 1.0), broken, gauge("fine", 2.0))
    answer = ask([registry, good], accept=accept)
    assert answer.status == 200
    assert "left out" in capfd.readouterr().err
    assert counted() == 1
    if broken != "no family":  # then the collector as such is of no use
        assert b"good 1.0" in answer.body
        assert b"fine 2.0" in answer.body
    assert b"EOF" in answer.body or "openmetrics" not in accept


def test_a_registry_like_object_is_one_collector(ask):
    assert ask(Collector(gauge("g", 7.0))).samples == {("g", ()): 7.0}


# -- clashing names --------------------------------------------------------------------------------


def test_two_registries_are_one_scrape(ask, registry, capfd):
    other = CollectorRegistry()
    Gauge("g", "Gauge.", registry=registry).set(1)
    Gauge("o", "Gauge.", registry=other).set(2)
    assert ask([registry, other, registry]).samples == {("g", ()): 1.0, ("o", ()): 2.0}
    assert capfd.readouterr().err == ""


def test_a_collector_in_two_registries_is_asked_once(ask, registry, capfd):
    collector = Collector(gauge("g", 1.0))
    other = CollectorRegistry()
    registry.register(collector)
    other.register(collector)
    assert ask([registry, other]).samples == {("g", ()): 1.0}
    assert collector.asked == 1
    assert capfd.readouterr().err == ""


def test_of_the_same_sample_twice_the_first_one_wins(ask, registry, capfd, counted):
    other = CollectorRegistry()
    for each, value in ((registry, 1.0), (other, 2.0)):
        metric = Gauge("g", "Gauge.", ["a"], registry=each)
        metric.labels("x").set(value)
        metric.labels(str(value)).set(value)
    assert ask([registry, other]).samples == {
        ("g", (("a", "x"),)): 1.0,
        ("g", (("a", "1.0"),)): 1.0,
        ("g", (("a", "2.0"),)): 2.0,
    }
    assert "1 samples of g are there twice" in capfd.readouterr().err
    assert counted() == 1


def test_a_family_of_several_collectors_is_written_once(ask, registry, capfd):
    """One collector for each thing, all of them with the same metric: one block, nothing lost."""
    kept = gauge("temperature", 1.0, room="a")
    registry.register(Collector(kept))
    registry.register(Collector(gauge("temperature", 2.0, room="b")))
    for _ in range(2):
        answer = ask(registry)
        assert answer.body.count(b"# TYPE temperature") == 1
        assert len(answer.samples) == 2
    assert len(kept.samples) == 1  # the collector's own family is as it was
    assert capfd.readouterr().err == ""


def test_of_the_same_name_with_another_type_the_first_one_wins(ask, registry, capfd, counted):
    registry.register(Collector(gauge("x", 1.0)))
    registry.register(Collector(CounterMetricFamily("x", "Counter.", value=2)))
    registry.register(Collector(gauge("y", 3.0)))
    assert ask(registry).samples == {("x", ()): 1.0, ("y", ()): 3.0}
    assert "counter x clashes with gauge x and is left out" in capfd.readouterr().err
    assert counted() == 1


def test_a_name_that_is_another_ones_sample_is_left_out(ask, registry, capfd):
    registry.register(Collector(CounterMetricFamily("x", "Counter.", value=2)))
    registry.register(Collector(gauge("x_total", 1.0)))
    assert ask(registry).samples == {("x_total", ()): 2.0}
    assert "gauge x_total clashes with counter x" in capfd.readouterr().err


def test_the_target_of_a_registry_is_shown(ask):
    registry = CollectorRegistry(target_info={"service": "shop"})
    assert ask(registry).body == generate_latest(registry)
    assert ask(registry, query=_query("target_info")).samples == {
        ("target_info", (("service", "shop"),)): 1.0
    }


@pytest.mark.parametrize(
    "registry", [5, "registry", CollectorRegistry, [], [None], [CollectorRegistry(), object()]]
)
def test_what_is_no_registry_is_refused(registry):
    with pytest.raises(ConfigError, match="registry: "):
        metrics_asgi_app(registry)
    with pytest.raises(ConfigError, match="registry: "):
        metrics_wsgi_app(registry)


@pytest.mark.parametrize("collectors", [5, [5], Collector()])
def test_what_is_no_list_of_collectors_is_refused(collectors):
    with pytest.raises(ConfigError, match="collectors: "):
        metrics_asgi_app(collectors=collectors)


@pytest.mark.parametrize("directory", [5, "", b"bytes"])
def test_what_is_no_directory_is_refused(directory):
    with pytest.raises(ConfigError, match="multiprocess_dir: "):
        metrics_wsgi_app(multiprocess_dir=directory)


# -- our own metrics, and the application's --------------------------------------------------------


def test_the_default_is_the_default_registry_with_everything_in_it(ask):
    own = Counter("scrape_test_orders", "Orders.")
    try:
        own.inc(3)
        sink = MemorySink(name="kept")
        pylog_struct.configure(sink=sink, stdlib=False)
        pylog_struct.get_logger("shop").info("order placed")
        found = ask().samples
    finally:
        REGISTRY.unregister(own)
    assert found["scrape_test_orders_total", ()] == 3.0
    assert found["pylog_events_written_total", (("sink", "kept"),)] >= 1.0
    assert any(name.startswith("python_info") for name, _ in found)


def test_our_metrics_in_two_registries_are_shown_once(ask, registry, capfd):
    other = CollectorRegistry()
    pylog_struct.configure(sink=NullSink(name="one"), stdlib=False, registry=other)
    pylog_struct.configure(sink=NullSink(name="one"), stdlib=False, registry=registry)
    pylog_struct.get_logger("shop").info("order placed")
    found = ask([registry, other]).samples
    assert total(found, "pylog_events_total", level="info") == 1.0
    assert capfd.readouterr().err == ""


def test_configured_twice_mounted_twice_and_reloaded_the_counts_go_on(registry):
    """P61: nothing is registered twice, whatever is done twice."""
    pylog_struct.configure(sink=NullSink(name="main"), stdlib=False, registry=registry)
    first, second = metrics_asgi_app(registry), metrics_wsgi_app(registry)
    log = pylog_struct.get_logger("shop")
    log.warning("one")
    pylog_struct.configure(sink=NullSink(name="main"), stdlib=False, registry=registry)
    log.warning("two")
    importlib.reload(importlib.import_module("pylog_struct.web.metrics"))
    again = importlib.reload(importlib.import_module("pylog_struct.web.mount"))
    third = metrics_asgi_app(registry)
    fourth = again.mount_metrics(lambda environ, start_response: [], registry=registry)
    pylog_struct.configure(sink=NullSink(name="main"), stdlib=False, registry=registry)
    log.warning("three")

    found = [
        ask_asgi(first).samples, ask_wsgi(second).samples,
        ask_asgi(third).samples, ask_wsgi(fourth).samples,
    ]  # fmt: skip
    for each in found:
        assert total(each, "pylog_events_total", level="warning") == 3.0


@pytest.mark.slow
def test_a_hundred_thousand_loggers_and_paths_add_no_series(ask, registry):
    """P62: label values come from closed sets."""
    sink = QueueSink(NullSink(name="end"), name="main", capacity=1_000_000, policy="block")
    pylog_struct.configure(level="DEBUG", sink=sink, stdlib=False, registry=registry)
    for level in ("debug", "info", "warning", "error"):
        getattr(pylog_struct.get_logger("warm"), level)("request", path="/")
    assert pylog_struct.flush(60)
    before = set(ask(registry).samples)

    for number in range(100_000):
        level = ("debug", "info", "warning", "error")[number % 4]
        log = pylog_struct.get_logger(f"shop.{number}")
        getattr(log, level)("request", path=f"/orders/{number}", user=number)
    assert pylog_struct.flush(60)

    found = ask(registry).samples
    assert set(found) == before
    assert total(found, "pylog_events_total") == 100_004.0


@pytest.mark.slow
def test_a_hundred_thousand_paths_that_are_asked_for_add_no_series(ask, registry):
    """P62, as a scanner does it: each request has its access event, and no path is a label."""
    sink = QueueSink(NullSink(name="end"), name="main", capacity=1_000_000, policy="block")
    pylog_struct.configure(sink=sink, stdlib=False, registry=registry)

    def page(environ, start_response):
        start_response("200 OK" if environ["PATH_INFO"] == "/" else "404 Not Found", [])
        return [b""]

    app, environ = WSGIRequestMiddleware(page), {}
    setup_testing_defaults(environ)

    def request(path):
        body = app({**environ, "PATH_INFO": path}, lambda *_: None)
        assert b"".join(body) == b""
        body.close()

    for path in ("/", "/missing"):
        request(path)
    assert pylog_struct.flush(60)
    before = set(ask(registry).samples)

    for number in range(100_000):
        request(f"/{number}")
    assert pylog_struct.flush(60)

    found = ask(registry).samples
    assert set(found) == before
    assert total(found, "pylog_events_total") == 100_002.0


# -- multiprocess mode -----------------------------------------------------------------------------


def test_the_files_are_the_scrape_and_a_registry_adds_nothing_to_it(ask, registry, tmp_path):
    Gauge("only_here", "Gauge.", registry=registry).set(1)
    write(tmp_path, "counter", NOBODY, {key("c", "c_total"): 2.0})
    write(tmp_path, "counter", os.getpid(), {key("c", "c_total"): 3.0})
    answer = ask(registry, app={"multiprocess_dir": tmp_path})
    assert answer.samples == {("c_total", ()): 5.0}


def test_more_collectors_are_asked_in_both_modes(ask, registry, tmp_path):
    extra = Collector(gauge("rows", 7.0))
    write(tmp_path, "counter", NOBODY, {key("c", "c_total"): 2.0})
    both = ask(registry, app={"multiprocess_dir": tmp_path, "collectors": [extra]})
    assert both.samples == {("c_total", ()): 2.0, ("rows", ()): 7.0}
    assert ask(registry, app={"collectors": [extra]}).samples == {("rows", ()): 7.0}


def test_the_environment_is_asked_at_each_scrape(registry, tmp_path, monkeypatch):
    app = metrics_wsgi_app(registry)
    assert ask_wsgi(app).samples == {}
    write(tmp_path, "counter", NOBODY, {key("c", "c_total"): 2.0})
    for name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
        with monkeypatch.context() as context:
            context.setenv(name, os.fspath(tmp_path))
            assert ask_wsgi(app).samples == {("c_total", ()): 2.0}
    assert ask_wsgi(app).samples == {}


def test_a_directory_that_is_not_there_is_a_failed_scrape(ask, tmp_path, capfd):
    """An empty one would look as if all were well."""
    answer = ask(app={"multiprocess_dir": tmp_path / "missing"})
    assert answer.status == 500
    assert b"PROMETHEUS_MULTIPROC_DIR cannot be read: No such file" in answer.body
    assert os.fspath(tmp_path).encode() not in answer.body
    assert "missing" in capfd.readouterr().err


def test_a_broken_file_is_counted(ask, tmp_path, counted, capfd):
    (tmp_path / f"counter_{os.getpid()}.db").write_bytes(b"\xff" * 100)
    assert ask(app={"multiprocess_dir": tmp_path}).status == 200
    assert counted() == 1
    assert "cannot be read" in capfd.readouterr().err


def test_without_folding_the_files_stay(ask, tmp_path):
    path = write(tmp_path, "counter", NOBODY, {key("c", "c_total"): 2.0})
    ask(app={"multiprocess_dir": tmp_path, "fold": False})
    assert path.exists()
    ask(app={"multiprocess_dir": tmp_path})
    assert not path.exists()


def test_openmetrics_of_the_files_is_valid(ask, tmp_path):
    bounds = {"0.5": 1.0, "1.0": 0.0, "10.0": 2.0, "+Inf": 3.0}
    for owner in (os.getpid(), NOBODY):
        values = {
            key("h", "h_bucket", {"le": bound, "a": label}): count
            for bound, count in reversed(bounds.items())
            for label in "xy"
        }
        values |= {key("h", "h_sum", {"a": label}): 5.0 for label in "xy"}
        write(tmp_path, "histogram", owner, values)
        write(tmp_path, "counter", owner, {key("c", "c_total"): 1.0})
    answer = ask(app={"multiprocess_dir": tmp_path}, accept="application/openmetrics-text")
    (histogram,) = [
        family for family in parse_openmetrics(answer.body.decode()) if family.type == "histogram"
    ]
    assert [(sample.name, sample.value) for sample in histogram.samples][:6] == [
        ("h_bucket", 2.0), ("h_bucket", 2.0), ("h_bucket", 6.0), ("h_bucket", 12.0),
        ("h_sum", 10.0), ("h_count", 12.0),
    ]  # fmt: skip


def test_failover_and_queue_gauges_are_there(ask, registry):
    """In one process; with several see tests/integration/web/test_metrics_servers.py."""
    tree = QueueSink(FailoverSink([NullSink(name="a"), NullSink(name="b")], name="safe"), name="q")
    pylog_struct.configure(sink=tree, stdlib=False, registry=registry)
    pylog_struct.get_logger("shop").info("order placed")
    assert pylog_struct.flush(60)
    found = ask(registry).samples
    assert found["pylog_failover_active", (("sink", "safe"), ("target", "a"))] == 1.0
    assert found["pylog_queue_size", (("sink", "q"),)] == 0.0
    assert found["pylog_queue_high_watermark", (("sink", "q"),)] >= 1.0


def test_families_of_a_metric_class_that_is_unknown_are_passed_on(ask, registry):
    family = Metric("odd", "Odd.", "unknown")
    family.add_sample("odd", {}, 1)
    registry.register(Collector(family))
    assert samples(ask(registry).body.decode()) == {("odd", ()): 1.0}
