"""``pylog elk``: template, setup and check, against a server that remembers what it was sent."""

from __future__ import annotations

import orjson
import pytest
from click.testing import CliRunner
from support.fake_elasticsearch import FakeElasticsearch, Reply, error

from pylog_struct.cli.commands import pylog
from pylog_struct.elk.mapping import IGNORE_ABOVE, mapping
from pylog_struct.elk.template import Plan
from pylog_struct.errors import ConfigError
from pylog_struct.processors._ecs_fields import ecs_fields

STREAM = "logs-shop-default"


def elk(*arguments):
    return CliRunner().invoke(pylog, ["elk", *map(str, arguments)])


def answer(document):
    return Reply(body=orjson.dumps(document))


class FakeCluster(FakeElasticsearch):
    """Keeps templates and policies, and makes data streams from them."""

    def __init__(self, version, *, ism=True, **kinds):
        super().__init__()
        self.version = {"number": version, **kinds}
        self.ism = ism
        self.things = {}  # path → body
        self.stream = None  # the mapping of its newest index
        self.plain = False
        self.refuse = {}  # (method, beginning of a path) → Reply

    @property
    def url_option(self):
        return ("--url", self.url)

    def answer(self, request):
        for (method, beginning), reply in self.refuse.items():
            if request.method == method and request.path.startswith(beginning):
                return reply
        path = request.path
        if path == "/":
            return answer({"version": self.version})
        if path.startswith("/_plugins") and not self.ism:
            return Reply(400, b'{"error":"no handler found for uri [/_plugins/_ism/policies]"}')
        if path == "/_plugins/_ism/policies":
            return answer({"policies": []})
        if path.startswith("/_index_template/_simulate_index"):
            return answer({"template": {"mappings": self.effective}, "overlapping": []})
        if path == f"/_data_stream/{STREAM}":
            return self._data_stream()
        if path == f"/{STREAM}/_settings":
            return answer({STREAM: {}}) if self.plain else error(404, "index_not_found_exception")
        if path == "/.ds-1/_mapping":
            return answer({".ds-1": {"mappings": self.stream}})
        if path.startswith("/_") and request.method in {"GET", "PUT"}:
            return self._thing(request)
        if request.method == "DELETE":
            return answer({"result": "deleted"})
        if path.endswith("/_bulk"):
            self.stream = self.effective
            item = {"create": {"status": 201, "_index": ".ds-1", "_id": "x"}}
            self.requests.append(request)
            return answer({"errors": False, "items": [item]})
        return super().answer(request)

    @property
    def effective(self):
        for path, body in self.things.items():
            if path.startswith(("/_component_template", "/_index_template")) and "template" in body:
                return body["template"]["mappings"]
        return {}

    def _data_stream(self):
        if self.stream is None:
            return error(404, "index_not_found_exception")
        indices = [{"index_name": ".ds-0"}, {"index_name": ".ds-1"}]
        return answer({"data_streams": [{"name": STREAM, "indices": indices}]})

    def _thing(self, request):
        path = request.path
        if request.method == "PUT":
            self.requests.append(request)
            self.things[path] = orjson.loads(request.body)
            return answer({"acknowledged": True})
        if path not in self.things:
            return error(404, "resource_not_found_exception")
        body, name = self.things[path], path.rpartition("/")[2]
        if path.startswith("/_component_template"):
            return answer({"component_templates": [{"name": name, "component_template": body}]})
        if path.startswith("/_index_template"):
            return answer({"index_templates": [{"name": name, "index_template": body}]})
        if path.startswith("/_ilm"):
            return answer({name: {"version": 3, **body}})
        return answer({"_id": name, "_seq_no": 4, "_primary_term": 2, **body})


@pytest.fixture
def elastic():
    with FakeCluster("8.15.0", build_flavor="default") as cluster:
        yield cluster


@pytest.fixture
def opensearch():
    with FakeCluster("2.19.1", distribution="opensearch") as cluster:
        yield cluster


# -- the template ---------------------------------------------------------------------------------


def flat(properties, prefix=""):
    for name, body in properties.items():
        if "properties" in body:
            yield from flat(body["properties"], f"{prefix}{name}.")
        else:
            yield prefix + name, body


@pytest.mark.parametrize("flavour", ["elasticsearch", "opensearch"])
def test_every_field_of_ecs_is_mapped_and_no_string_can_be_too_long(flavour):
    found = dict(flat(mapping(flavour)["properties"]))

    assert ecs_fields().keys() <= found.keys()
    for path, body in found.items():
        if body["type"] == "keyword":
            assert body["ignore_above"] == IGNORE_ABOVE, path
        assert body["type"] != "constant_keyword", path
    assert IGNORE_ABOVE * 4 <= 32_766


@pytest.mark.parametrize(
    ("flavour", "kind"), [("elasticsearch", "wildcard"), ("opensearch", "text")]
)
def test_both_stacks_are_searched_by_their_parts(flavour, kind):
    found = dict(flat(mapping(flavour)["properties"]))

    assert found["pylog.stack"] == found["error.stack_trace"]
    assert found["pylog.stack"]["type"] == kind


def test_opensearch_gets_only_types_that_it_has():
    kinds = {body["type"] for _, body in flat(mapping("opensearch")["properties"])}

    assert not kinds & {"flattened", "wildcard", "match_only_text"}


def test_template_prints_what_setup_would_send():
    result = elk("template", STREAM, "--for", "opensearch", "--retention", "7d", "--shards", 2)

    requests = orjson.loads(result.output)
    assert list(requests) == [
        f"PUT /_plugins/_ism/policies/pylog-{STREAM}",
        f"PUT /_index_template/pylog-{STREAM}",
    ]
    template = requests[f"PUT /_index_template/pylog-{STREAM}"]
    assert template["index_patterns"] == [STREAM]
    assert template["data_stream"] == {}
    assert template["template"]["settings"]["index"]["number_of_shards"] == 2
    assert b"7d" in orjson.dumps(requests)


def test_nanoseconds_are_for_the_time_stamp_only():
    def stamp(**options):
        return mapping("elasticsearch", **options)["properties"]["@timestamp"]["type"]

    assert (stamp(), stamp(nanoseconds=True)) == ("date", "date_nanos")


def test_one_template_may_serve_several_data_streams():
    plan = Plan(data_stream="logs-shop-*")

    assert plan.name == "pylog-logs-shop"
    assert plan.parts("elasticsearch")[-1].body["index_patterns"] == ["logs-shop-*"]


@pytest.mark.parametrize(
    "options",
    [
        {"data_stream": "Logs"},
        {"data_stream": "*"},
        {"data_stream": "a*b"},
        {"data_stream": "x", "retention": "30 days"},
        {"data_stream": "x", "rollover_age": "d"},
        {"data_stream": "x", "rollover_age": ""},
        {"data_stream": "x", "rollover_size": "50gbgb"},
        {"data_stream": "x", "rollover_size": "50 gb"},
        {"data_stream": "x", "rollover_size": "big"},
        {"data_stream": "x", "rollover_size": "gb"},
    ],
)
def test_a_plan_is_checked_before_anything_is_asked(options):
    with pytest.raises(ConfigError, match="use "):
        Plan(**options)


def test_a_wrong_plan_on_the_command_line_is_a_usage_error():
    result = elk("template", "Logs")

    assert result.exit_code == 2
    assert "DATA_STREAM: 'Logs' is no name" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--url", "ftp://x"], "Error: --url: 'ftp://x' is no node"),
        (["--user", "me"], "Error: --user: "),
        (["--rollover-size", "5"], "Error: --rollover-size: '5' is no size"),
        (["--timeout", "0"], "'--timeout': 0.0 is not in the range"),
        (
            ["--api-key", "a:b", "--user", "a:b"],
            "Error: pylog elk: api_key and basic_auth are given",
        ),
    ],
)
def test_wrong_options_have_their_own_names_in_the_error(arguments, said):
    result = elk("check", STREAM, *arguments)

    assert result.exit_code == 2
    assert said in result.output


# -- setup ----------------------------------------------------------------------------------------


def test_setup_installs_in_order_and_a_second_time_nothing(elastic):
    first = elk("setup", STREAM, *elastic.url_option)
    sent = [request.path for request in elastic.requests]
    second = elk("setup", STREAM, *elastic.url_option)

    assert first.exit_code == 0, first.output
    assert sent == [
        f"/_ilm/policy/pylog-{STREAM}",
        f"/_component_template/pylog-{STREAM}",
        f"/_index_template/pylog-{STREAM}",
    ]
    assert first.output.count("created") == 3
    assert second.output.count("unchanged") == 3
    assert len(elastic.requests) == 3
    component = elastic.things[f"/_component_template/pylog-{STREAM}"]["template"]
    assert component["settings"]["index"]["lifecycle"] == {"name": f"pylog-{STREAM}"}
    assert component["mappings"]["properties"]["labels"]["type"] == "flattened"


def test_setup_changes_what_is_different(elastic):
    elk("setup", STREAM, *elastic.url_option)
    result = elk("setup", STREAM, *elastic.url_option, "--retention", "7d", "--replicas", 0)

    assert "updated   retention policy" in result.output
    assert "updated   component template" in result.output
    assert "unchanged index template" in result.output


def test_opensearch_is_recognised_and_its_policy_replaced_by_version(opensearch):
    elk("setup", STREAM, *opensearch.url_option)
    result = elk("setup", STREAM, *opensearch.url_option, "--retention", "7d")

    assert "OpenSearch 2.19.1" in result.output
    assert "updated   retention policy" in result.output
    assert opensearch.requests[-1].query == "if_seq_no=4&if_primary_term=2"
    assert not any(path.startswith("/_component") for path in opensearch.things)


def test_without_retention_policies_the_rest_is_installed():
    with FakeCluster("2.19.1", distribution="opensearch", ism=False) as cluster:
        result = elk("setup", STREAM, *cluster.url_option)
        assert "this server has none" in result.output
    assert list(cluster.things) == [f"/_index_template/pylog-{STREAM}"]

    with FakeCluster("8.11.0", build_flavor="serverless") as cluster:
        result = elk("setup", STREAM, *cluster.url_option)
        assert "(serverless)" in result.output
    assert not any(path.startswith("/_ilm") for path in cluster.things)


def test_a_policy_plugin_that_was_never_used_is_there(opensearch):
    opensearch.refuse["GET", "/_plugins/_ism/policies"] = error(404, "index_not_found_exception")

    elk("setup", STREAM, *opensearch.url_option)

    assert f"/_plugins/_ism/policies/pylog-{STREAM}" in opensearch.things


def test_a_policy_plugin_that_fails_is_no_missing_one(opensearch):
    opensearch.refuse["GET", "/_plugins/_ism"] = error(500, "some_exception", "oh no")

    result = elk("setup", STREAM, *opensearch.url_option)

    assert result.exit_code == 1
    assert "oh no" in result.output
    assert opensearch.things == {}


def test_an_answer_of_an_odd_shape_is_as_good_as_none(elastic):
    elastic.refuse["GET", "/_index_template/pylog"] = answer({"index_templates": []})

    assert "created   index template" in elk("setup", STREAM, *elastic.url_option).output


def test_retention_can_be_left_out(elastic):
    elk("setup", STREAM, *elastic.url_option, "--retention", "")

    assert not any(path.startswith("/_ilm") for path in elastic.things)


def test_a_refused_part_ends_the_setup_with_the_reason(elastic):
    elastic.refuse["PUT", "/_component"] = error(403, "security_exception", "not you")

    result = elk("setup", STREAM, *elastic.url_option)

    assert result.exit_code == 1
    assert "PUT /_component_template" in result.output
    assert "not you" in result.output
    assert f"/_index_template/pylog-{STREAM}" not in elastic.things


# -- check ----------------------------------------------------------------------------------------


def test_check_of_a_good_cluster(elastic):
    elk("setup", STREAM, *elastic.url_option)

    result = elk("check", STREAM, *elastic.url_option)

    assert result.exit_code == 0, result.output
    assert "FAILED" not in result.output
    assert "WARNING" not in result.output
    assert "Elasticsearch 8.15.0" in result.output
    assert "will be made by the first document" in result.output
    assert "policy pylog-logs-shop-default deletes after 30d" in result.output
    assert "a test document was written and deleted" in result.output
    again = elk("check", STREAM, *elastic.url_option)
    assert "its newest index is ours" in again.output


def test_check_of_a_cluster_that_nobody_prepared(elastic):
    result = elk("check", STREAM, *elastic.url_option)

    assert result.exit_code == 1
    assert (
        "FAILED  template: component template pylog-logs-shop-default is missing" in result.output
    )
    assert "policy pylog-logs-shop-default is missing" in result.output
    assert "not tried" in result.output
    assert elastic.bulks == []


def test_check_finds_what_is_different(elastic):
    elk("setup", STREAM, *elastic.url_option, "--retention", "7d", "--shards", 3)
    elastic.stream = {"properties": {}}

    result = elk("check", STREAM, *elastic.url_option)

    assert result.exit_code == 0
    assert "WARNING template: component template" in result.output
    assert "WARNING retention: policy" in result.output
    assert "WARNING data stream: logs-shop-default's newest index is older" in result.output


def test_a_question_that_cannot_be_answered_is_a_failure(elastic):
    elk("setup", STREAM, *elastic.url_option)
    elastic.refuse["GET", "/_data_stream"] = error(500, "some_exception", "oh no")

    result = elk("check", STREAM, *elastic.url_option)

    assert result.exit_code == 1
    assert "FAILED  data stream: 500 some_exception: oh no" in result.output


def test_a_server_without_data_streams_is_asked_no_further(elastic):
    elk("setup", STREAM, *elastic.url_option)
    elastic.refuse["GET", "/_data_stream"] = error(400, "invalid_index_name_exception")

    assert "will be made by the first document" in elk("check", STREAM, *elastic.url_option).output


def test_check_without_retention(elastic):
    elk("setup", STREAM, *elastic.url_option, "--retention", "")

    result = elk("check", STREAM, *elastic.url_option, "--retention", "")

    assert result.exit_code == 0
    assert "retention: none is wanted" in result.output


def test_check_where_nothing_deletes_old_indices():
    with FakeCluster("2.19.1", distribution="opensearch", ism=False) as cluster:
        elk("setup", STREAM, *cluster.url_option)
        result = elk("check", STREAM, *cluster.url_option)

    assert result.exit_code == 0
    assert "nothing deletes old indices" in result.output


def test_check_finds_an_index_in_the_way(elastic):
    elk("setup", STREAM, *elastic.url_option)
    elastic.plain = True

    result = elk("check", STREAM, *elastic.url_option)

    assert result.exit_code == 1
    assert "is an ordinary index" in result.output


def test_check_finds_a_template_of_somebody_else_on_top(elastic):
    elk("setup", STREAM, *elastic.url_option)
    elastic.refuse["POST", "/_index_template/_simulate"] = answer({"template": {}})

    result = elk("check", STREAM, *elastic.url_option)

    assert result.exit_code == 1
    assert "somebody else's template" in result.output


@pytest.mark.parametrize(
    ("reply", "text", "code"),
    [
        (error(403, "security_exception", "not you"), "FAILED  write: 403", 1),
        (
            answer({"items": [{"create": {"status": 400, "error": {"type": "t", "reason": "r"}}}]}),
            "FAILED  write: 400 t: r",
            1,
        ),
        (answer({"hello": "world"}), "is not the bulk API", 1),
    ],
)
def test_check_finds_that_writing_is_not_allowed(elastic, reply, text, code):
    elk("setup", STREAM, *elastic.url_option)
    elastic.refuse["POST", f"/{STREAM}/_bulk"] = reply

    result = elk("check", STREAM, *elastic.url_option)

    assert result.exit_code == code
    assert text in result.output


def test_a_test_document_that_stays_is_a_warning(elastic):
    elk("setup", STREAM, *elastic.url_option)
    elastic.refuse["DELETE", "/"] = error(403, "security_exception", "no delete")

    result = elk("check", STREAM, *elastic.url_option)

    assert result.exit_code == 0
    assert "WARNING write: a test document was written, and stays" in result.output


def test_no_write_writes_nothing(elastic):
    elk("setup", STREAM, *elastic.url_option)

    assert elk("check", STREAM, *elastic.url_option, "--no-write").exit_code == 0
    assert elastic.bulks == []


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (error(401, "security_exception", "who are you"), "check api_key"),
        (Reply(200, b"<html>"), "no Elasticsearch"),
        (Reply(200, b"{}"), "no Elasticsearch or OpenSearch"),
        (Reply(500, b""), "500"),
    ],
)
def test_what_is_no_cluster_is_recognised(elastic, reply, text):
    elastic.refuse["GET", "/"] = reply

    for command in ("check", "setup"):
        result = elk(command, STREAM, *elastic.url_option)
        assert result.exit_code == 1
        assert text in result.output


def test_nobody_there():
    with FakeElasticsearch() as closed:
        url = closed.url

    result = elk("check", STREAM, "--url", url)

    assert result.exit_code == 1
    assert "FAILED  reachable" in result.output


def test_an_unknown_version_is_a_warning():
    with FakeCluster("6.8.0") as cluster:
        result = elk("check", STREAM, *cluster.url_option)

    assert "WARNING version: Elasticsearch 6.8.0" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "logs-*"),
        ("check", STREAM, "--url", "localhost"),
        ("setup", STREAM, "--api-key", "a", "--user", "b:c"),
    ],
)
def test_wrong_usage(arguments):
    assert elk(*arguments).exit_code == 2


def test_the_login_may_come_from_the_environment(elastic):
    seen = []
    original = elastic.answer

    def watching(request):
        seen.append(request.headers.get("authorization"))
        return original(request)

    elastic.answer = watching
    CliRunner().invoke(
        pylog,
        ["elk", "setup", STREAM],
        env={"PYLOG_ELK_URL": elastic.url, "PYLOG_ELK_API_KEY": "secret"},
    )

    assert set(seen) == {"ApiKey secret"}
