"""The configurations under deploy/: they parse, fit together, and their own programs take them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from support.rsyslog_server import rsyslogd
from support.servers import missing
from support.tls import certificate, write_ca, write_pair

from pylog_struct.processors._ecs_fields import ecs_fields

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
SERVICES = COMPOSE["services"]
SHIPPERS = ("filebeat", "logstash", "fluent-bit", "vector")


def documents(path):
    return yaml.safe_load((DEPLOY / path).read_text("utf-8"))


def published(service):
    """Port on the host → port in the container."""
    found = {}
    for text in SERVICES[service].get("ports", []):
        address, outside, inside = text.split(":")
        assert address == "127.0.0.1", f"{service} is open to the network"
        found[int(outside)] = int(inside)
    return found


# -- the compose file -----------------------------------------------------------------------------


def composer():
    """``docker compose``, or Debian's older ``docker-compose``, whichever this machine has."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            said = subprocess.run([*command, "version"], capture_output=True, check=False)
            if said.returncode == 0:
                return command
    return missing(
        "docker compose", "neither `docker compose version` nor `docker-compose version` works"
    )


def test_docker_compose_takes_the_compose_file():
    """By ``docker compose config``, which needs no engine."""
    profiles = [word for name in SHIPPERS for word in ("--profile", name)]
    done = subprocess.run(
        [*composer(), "-f", DEPLOY / "compose.yaml", *profiles, "config"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    understood = yaml.safe_load(done.stdout)
    assert set(understood["services"]) == set(SERVICES)
    assert set(understood["volumes"]) == set(COMPOSE["volumes"])


def test_the_compose_file_has_what_it_names():
    assert set(COMPOSE) == {"services", "volumes"}  # a name is not for docker-compose 1.29
    known = {
        "image", "command", "environment", "ports", "volumes", "depends_on", "healthcheck",
        "profiles", "extra_hosts", "user",
    }  # fmt: skip
    for name, service in SERVICES.items():
        assert set(service) <= known, name
        for other in service.get("depends_on", []):
            assert other in SERVICES
            if isinstance(service["depends_on"], dict):
                condition = service["depends_on"][other]["condition"]
                assert (condition == "service_healthy") == ("healthcheck" in SERVICES[other])
        for key, value in service.get("environment", {}).items():
            assert isinstance(value, str), f"{name}.{key}: YAML made a {type(value)} of it"
        for mount in service.get("volumes", []):
            source = mount.replace("${PYLOG_LOGS:-./logs}", "LOGS").split(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).exists(), f"{name}: {source}"
            elif source != "LOGS":
                assert source in COMPOSE["volumes"], f"{name}: {source}"


def test_the_issue_s_five_start_without_a_profile():
    without = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert without == {"elasticsearch", "kibana", "kafka", "prometheus", "grafana"}
    assert {name for name in SERVICES if name not in without} == set(SHIPPERS)


def test_images_are_pinned_and_those_of_elastic_agree():
    versions = {name: service["image"].rpartition(":")[2] for name, service in SERVICES.items()}
    for name, version in versions.items():
        assert re.fullmatch(r"v?\d+\.\d+\.\d+(-debian)?", version), f"{name}: {version}"
    elastic = {versions[name] for name in ("elasticsearch", "kibana", "filebeat", "logstash")}
    assert len(elastic) == 1


# -- ports ----------------------------------------------------------------------------------------


def listening():
    """Service → the ports that its own configuration names."""
    vector = documents("vector/vector.yaml")["sources"].values()
    fluent_bit = documents("fluent-bit/fluent-bit.yaml")["pipeline"]["inputs"]
    logstash = (DEPLOY / "logstash/pylog.conf").read_text("utf-8")
    return {
        "vector": {int(one["address"].rpartition(":")[2]) for one in vector if "address" in one},
        "fluent-bit": {one["port"] for one in fluent_bit if "port" in one},
        "logstash": {
            int(port) for port in re.findall(r"^ +port => (\d+)$", logstash, re.MULTILINE)
        },
    }


@pytest.mark.parametrize("service", ["vector", "fluent-bit", "logstash"])
def test_what_listens_is_published(service):
    ports = published(service)
    assert ports
    assert set(ports.values()) == listening()[service]
    assert all(outside == inside for outside, inside in ports.items())


def test_no_port_is_published_twice():
    every = [port for name in SERVICES for port in published(name)]
    assert len(every) == len(set(every))


def test_everything_speaks_to_elasticsearch_where_it_is():
    port = 9200
    assert published("elasticsearch") == {port: port}
    address = f"http://elasticsearch:{port}"
    assert documents("filebeat/filebeat.yml")["output.elasticsearch"]["hosts"] == [address]
    assert documents("vector/vector.yaml")["sinks"]["elasticsearch"]["endpoints"] == [address]
    (output,) = documents("fluent-bit/fluent-bit.yaml")["pipeline"]["outputs"]
    assert (output["host"], output["port"]) == ("elasticsearch", port)
    assert f'hosts => [ "{address}" ]' in (DEPLOY / "logstash/pylog.conf").read_text("utf-8")
    assert SERVICES["kibana"]["environment"]["ELASTICSEARCH_HOSTS"] == address
    grafana = documents("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    (prometheus_port,) = published("prometheus")
    assert [one["url"] for one in grafana] == [f"http://prometheus:{prometheus_port}"]


def test_all_shippers_write_the_same_data_stream():
    names = {
        documents("filebeat/filebeat.yml")["output.elasticsearch"]["index"],
        documents("fluent-bit/fluent-bit.yaml")["pipeline"]["outputs"][0]["index"],
        "-".join(
            documents("vector/vector.yaml")["sinks"]["elasticsearch"]["data_stream"][part]
            for part in ("type", "dataset", "namespace")
        ),
        "-".join(
            re.findall(
                r'data_stream_(?:type|dataset|namespace) => "(\w+)"',
                (DEPLOY / "logstash/pylog.conf").read_text("utf-8"),
            )
        ),
        *re.findall(
            r'searchIndex="(.+?)"',
            (DEPLOY / "rsyslog/files-to-elasticsearch.conf").read_text("utf-8"),
        ),
    }
    assert names == {"logs-pylog-default"}


def test_vector_adds_nothing_that_is_an_object_in_our_template():
    """By default ``host`` is a text: the index would refuse every event that came over a socket."""
    added = {
        "file": {"host_key": "host", "file_key": "file"},
        "socket": {"host_key": "host", "port_key": "port"},
        "http_server": {"path_key": "path"},
    }
    sources = documents("vector/vector.yaml")["sources"].values()
    assert {source["type"] for source in sources} == set(added)
    for source in sources:
        for option, default in added[source["type"]].items():
            name = source.get(option, default)
            assert name == "" or name in ecs_fields(), f"{source['type']}.{option}: {name}"


def test_kafka_tells_its_clients_names_that_they_can_reach():
    environment = SERVICES["kafka"]["environment"]
    (port,) = published("kafka")
    assert f"HOST://localhost:{port}" in environment["KAFKA_ADVERTISED_LISTENERS"]
    assert f"HOST://:{port}" in environment["KAFKA_LISTENERS"]
    for listener in ("HOST", "INSIDE", "CONTROLLER"):
        assert f"{listener}:PLAINTEXT" in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"]


def test_pages_name_ports_that_somebody_listens_on():
    known = {port for ports in listening().values() for port in ports}
    known |= {port for name in SERVICES for port in published(name)}
    for path in (DEPLOY / "rsyslog").glob("*.conf"):
        known |= {int(port) for port in re.findall(r'\bport="(\d+)"', path.read_text("utf-8"))}
    # Not ours to start: Loki, VictoriaLogs, an application's metrics.
    known |= {3100, 9428, 8000}
    pages = [*(ROOT / "docs/how-to").glob("ship-*.md"), ROOT / "docs/how-to/from-zero-to-kibana.md"]  # fmt: skip
    assert len(pages) > 3
    for page in pages:
        for port in re.findall(r"(?:localhost|example\.com):(\d+)", page.read_text("utf-8")):
            assert int(port) in known, f"{page.name}: nobody listens on {port}"


# -- the programs' own opinion --------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((DEPLOY / "rsyslog").glob("*.conf")), ids=lambda path: path.name)  # fmt: skip
def test_rsyslog_takes_its_configuration(path, tmp_path):
    daemon = rsyslogd("lmnsd_gtls", "omelasticsearch", "imfile", "fmhash")
    cert, key = write_pair(tmp_path, certificate())
    text = path.read_text("utf-8")
    for ours, tests in (
        ("/etc/rsyslog.d/tls/ca.pem", write_ca(tmp_path)),
        ("/etc/rsyslog.d/tls/server-cert.pem", cert),
        ("/etc/rsyslog.d/tls/server-key.pem", key),
        ("/var/spool/rsyslog", str(tmp_path)),
    ):
        text = text.replace(ours, tests)
    changed = tmp_path / "changed.conf"
    changed.write_text(text)
    done = subprocess.run(
        [daemon, "-N1", "-f", changed], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr


@pytest.mark.parametrize(
    "path", sorted(DEPLOY.rglob("*.y*ml")), ids=lambda path: str(path.relative_to(DEPLOY))
)  # fmt: skip
def test_yaml_is_yaml(path):
    assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict)


def test_logstash_s_braces_are_even():
    text = re.sub(r"#.*", "", (DEPLOY / "logstash/pylog.conf").read_text("utf-8"))
    for left, right in ("{}", "[]"):
        assert text.count(left) == text.count(right)
    assert [word for word in ("input", "filter", "output") if re.search(rf"^{word} \{{$", text, re.MULTILINE)] == ["input", "filter", "output"]  # fmt: skip


def test_the_overview_names_what_is_there():
    overview = (DEPLOY / "README.md").read_text("utf-8")
    named = re.findall(r"^\| `(\S+?)`", overview, re.MULTILINE)
    wanted = {"compose.yaml", "rsyslog/", "prometheus/", "grafana/"}
    assert wanted | {f"{name}/" for name in SHIPPERS} <= set(named)
    for name in named:
        assert (DEPLOY / name).exists(), name
