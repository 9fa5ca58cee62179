"""librdkafka's mock cluster: a broker inside this process that fails in the ways that a test asks for.

It listens on loopback like a real one.  The Python client has no names for it, so it is used
through the library that the client brings along.

It does not check sequence numbers.  An idempotent client takes it for granted that a broker does: fail
one of several requests of a partition, and the client takes that one for written when a later one is.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
from support import servers

PRODUCE, METADATA, INIT_PRODUCER_ID = 0, 3, 22

NOT_ENOUGH_REPLICAS, MSG_SIZE_TOO_LARGE, TOPIC_AUTHORIZATION_FAILED = 19, 10, 29
INVALID_RECORD, CLUSTER_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_OR_PART = 87, 31, 3
REQUEST_TIMED_OUT, OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_TIMESTAMP = 7, 45, 32

_PRODUCER = 0
_NEEDED = {
    "rd_kafka_conf_new": (ctypes.c_void_p, []),
    "rd_kafka_conf_set": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t],
    ),
    "rd_kafka_new": (
        ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t],
    ),
    "rd_kafka_destroy": (None, [ctypes.c_void_p]),
    "rd_kafka_mock_cluster_new": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int]),
    "rd_kafka_mock_cluster_destroy": (None, [ctypes.c_void_p]),
    "rd_kafka_mock_cluster_bootstraps": (ctypes.c_char_p, [ctypes.c_void_p]),
    "rd_kafka_mock_topic_create": (
        ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int],
    ),
    "rd_kafka_mock_topic_set_error": (
        None, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int],
    ),
    "rd_kafka_mock_push_request_errors_array": (
        None,
        [ctypes.c_void_p, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)],
    ),
    "rd_kafka_mock_clear_request_errors": (None, [ctypes.c_void_p, ctypes.c_int16]),
    "rd_kafka_mock_broker_set_down": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_up": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_rtt": (
        ctypes.c_int, [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int],
    ),
    "rd_kafka_mock_start_request_tracking": (None, [ctypes.c_void_p]),
    "rd_kafka_mock_get_requests": (
        ctypes.POINTER(ctypes.c_void_p), [ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)],
    ),
    "rd_kafka_mock_request_api_key": (ctypes.c_int16, [ctypes.c_void_p]),
    "rd_kafka_mock_request_destroy_array": (
        None, [ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t],
    ),
}  # fmt: skip


def _library():
    import confluent_kafka

    folder = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    found = sorted(folder.glob("librdkafka*.so*"))
    if not found:
        servers.missing("librdkafka's mock cluster", "this confluent-kafka brings no library along")
    library = ctypes.CDLL(str(found[0]))
    for name, (result, arguments) in _NEEDED.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class MockCluster:
    """A cluster of one broker."""

    def __init__(self):
        self._library = _library()
        self.names = 0
        reason = ctypes.create_string_buffer(512)
        call = self._library
        conf = call.rd_kafka_conf_new()
        assert not call.rd_kafka_conf_set(conf, b"log_level", b"0", reason, len(reason)), (
            reason.value
        )
        self._handle = call.rd_kafka_new(_PRODUCER, conf, reason, len(reason))
        assert self._handle, reason.value
        self._cluster = call.rd_kafka_mock_cluster_new(self._handle, 1)
        self.bootstrap = call.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._handle)

    def create(self, topic, partitions=1):
        """Make a topic."""
        assert not self._library.rd_kafka_mock_topic_create(
            self._cluster, topic.encode(), partitions, 1
        )

    def fail_topic(self, topic, code):
        """Answer every question about *topic* with *code*; 0 ends it."""
        self._library.rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), code)

    def fail(self, request, *codes):
        """Answer the next requests of that kind with *codes*, one each."""
        array = (ctypes.c_int * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, request, len(codes), array
        )

    def heal(self, request):
        """Forget the errors that were not used up."""
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, request)

    def down(self):
        """Refuse connections, and break those there are."""
        self._library.rd_kafka_mock_broker_set_down(self._cluster, 1)

    def up(self):
        """Take connections again."""
        self._library.rd_kafka_mock_broker_set_up(self._cluster, 1)

    def delay(self, seconds):
        """Answer that much later."""
        self._library.rd_kafka_mock_broker_set_rtt(self._cluster, 1, int(seconds * 1000))

    def track(self):
        """Start to note requests."""
        self._library.rd_kafka_mock_start_request_tracking(self._cluster)

    def requests(self, kind):
        """How many requests of that kind came since :meth:`track`."""
        number = ctypes.c_size_t()
        found = self._library.rd_kafka_mock_get_requests(self._cluster, ctypes.byref(number))
        keys = [
            self._library.rd_kafka_mock_request_api_key(found[at]) for at in range(number.value)
        ]
        self._library.rd_kafka_mock_request_destroy_array(found, number)
        return keys.count(kind)


@pytest.fixture
def cluster():
    """A mock cluster with the topic ``logs`` of two partitions."""
    with MockCluster() as mock:
        mock.create("logs", 2)
        yield mock
