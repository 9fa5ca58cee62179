"""What is installed for one data stream: templates and a policy, as requests of the REST API."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from pylog_struct.elk.mapping import FIELDS_LIMIT, mapping
from pylog_struct.errors import ConfigError
from pylog_struct.sinks._elasticsearch.target import check_name

if TYPE_CHECKING:
    from pylog_struct.elk.mapping import Flavour

__all__ = ["Part", "Plan"]

_PRIORITY: Final = 250  # above the templates for logs-*-* that Elasticsearch brings along (100)

_AGE: Final = re.compile(r"[0-9]+[dhms]")
_SIZE: Final = re.compile(r"[0-9]+[kmgt]?b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """One thing to install: ``PUT path`` with *body*.

    Attributes:
        kind: What it is.
        path: Where it is.
        body: What it should be; ``_meta.digest`` in it tells one version from another.
    """

    kind: Literal["component template", "index template", "retention policy"]
    path: str
    body: dict[str, Any]

    @property
    def digest(self) -> str:
        """Of the body without itself."""
        return _digest(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What ``pylog elk setup`` installs.

    Args:
        data_stream: Its name; ``*`` at the end makes the template one for several.
        retention: After how long an index is deleted, such as ``"30d"``; empty for never.
        rollover_age: After how long a new index is begun.
        rollover_size: At which size, too: of all primary shards together.
        shards: Primary shards; None for the cluster's default.
        replicas: Copies of each; None for the cluster's default.
        nanoseconds: ``date_nanos`` for ``@timestamp``.

    Raises:
        ConfigError: a name or a duration is not usable.
    """

    data_stream: str
    retention: str = "30d"
    rollover_age: str = "1d"
    rollover_size: str = "50gb"
    shards: int | None = None
    replicas: int | None = None
    nanoseconds: bool = False

    def __post_init__(self) -> None:
        check_name(self.data_stream.removesuffix("*") or "*", "data_stream")
        for argument in ("retention", "rollover_age"):
            value = getattr(self, argument)
            never = argument == "retention" and not value
            if not never and not _AGE.fullmatch(value):
                msg = (
                    f'{argument}: {value!r} is no time; use a number and d, h, m or s, as in "30d"'
                )
                raise ConfigError(msg)
        if not _SIZE.fullmatch(self.rollover_size):
            msg = f'rollover_size: {self.rollover_size!r} is no size; use a text such as "50gb"'
            raise ConfigError(msg)

    @property
    def name(self) -> str:
        """Of everything that is installed."""
        return f"pylog-{self.data_stream.rstrip('*').rstrip('-.')}"

    def parts(self, flavour: Flavour, *, policies: bool = True) -> list[Part]:
        """Return what is to be installed, in the order in which it depends on each other.

        Args:
            flavour: Of which server.
            policies: Whether the server has retention policies.
        """
        policies = policies and bool(self.retention)
        found: list[Part] = []
        if policies:
            found.append(self._ilm() if flavour == "elasticsearch" else self._ism())
        settings = self._settings(flavour, policies=policies)
        body = {"settings": settings, "mappings": mapping(flavour, nanoseconds=self.nanoseconds)}
        index: dict[str, Any] = {
            "index_patterns": [self.data_stream],
            "data_stream": {},
            "priority": _PRIORITY,
        }
        if flavour == "elasticsearch":
            component = Part(
                "component template", f"/_component_template/{self.name}", {"template": body}
            )
            found.append(_signed(component))
            index["composed_of"] = [self.name]
        else:
            index["template"] = body
        found.append(_signed(Part("index template", f"/_index_template/{self.name}", index)))
        return found

    def _settings(self, flavour: Flavour, *, policies: bool) -> dict[str, Any]:
        fields: dict[str, Any] = {"limit": FIELDS_LIMIT}
        settings: dict[str, Any] = {
            "codec": "best_compression",
            "refresh_interval": "5s",
            "mapping": {"ignore_malformed": True, "total_fields": fields},
            "query": {"default_field": ["message", "error.message", "log.logger", "error.type"]},
        }
        if self.shards is not None:
            settings["number_of_shards"] = self.shards
        if self.replicas is not None:
            settings["number_of_replicas"] = self.replicas
        if policies and flavour == "elasticsearch":
            settings["lifecycle"] = {"name": self.name}
        return {"index": settings}

    def _ilm(self) -> Part:
        rollover = {"max_age": self.rollover_age, "max_size": self.rollover_size}
        phases = {
            "hot": {"min_age": "0ms", "actions": {"rollover": rollover}},
            "delete": {"min_age": self.retention, "actions": {"delete": {}}},
        }
        policy = {"policy": {"phases": phases, "_meta": {"managed_by": "pylog_struct"}}}
        return Part("retention policy", f"/_ilm/policy/{self.name}", policy)

    def _ism(self) -> Part:
        rollover = {"min_index_age": self.rollover_age, "min_size": self.rollover_size}
        policy = {
            "description": "installed by pylog_struct",
            "default_state": "hot",
            "states": [
                {
                    "name": "hot",
                    "actions": [{"rollover": rollover}],
                    "transitions": [
                        {"state_name": "delete", "conditions": {"min_index_age": self.retention}}
                    ],
                },
                {"name": "delete", "actions": [{"delete": {}}], "transitions": []},
            ],
            "ism_template": [{"index_patterns": [self.data_stream], "priority": _PRIORITY}],
        }
        return Part("retention policy", f"/_plugins/_ism/policies/{self.name}", {"policy": policy})


def _signed(part: Part) -> Part:
    meta = {"managed_by": "pylog_struct", "digest": part.digest}
    return Part(part.kind, part.path, {**part.body, "_meta": meta})


def _digest(body: dict[str, Any]) -> str:
    unsigned = {key: value for key, value in body.items() if key != "_meta"}
    return hashlib.sha256(orjson.dumps(unsigned, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
