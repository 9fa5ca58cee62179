"""The fields of the Elastic Common Schema that this package knows, with their types.

The facts (names and types) are those of ECS 9.4.0, ``generated/csv/fields.csv`` of the schema's
repository.  Left out are the subtrees that no application logs about itself: threat intelligence,
the ancestors of a process, entities, and the insides of executables and certificates.
"""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ECS_ROOTS", "ECS_VERSION", "OPEN_SUBTREES", "ecs_fields", "ecs_objects"]

ECS_VERSION: Final = "9.4.0"

ECS_ROOTS: Final = frozenset(
    [
        "agent",
        "client",
        "cloud",
        "container",
        "data_stream",
        "destination",
        "device",
        "dll",
        "dns",
        "ecs",
        "email",
        "entity",
        "error",
        "event",
        "faas",
        "file",
        "gen_ai",
        "group",
        "host",
        "http",
        "labels",
        "log",
        "network",
        "observer",
        "orchestrator",
        "organization",
        "package",
        "process",
        "registry",
        "related",
        "rule",
        "server",
        "service",
        "source",
        "span",
        "threat",
        "tls",
        "trace",
        "transaction",
        "url",
        "user",
        "user_agent",
        "volume",
        "vulnerability",
    ]
)
"""First parts of the names of ECS fields; each is an object in a mapping that follows ECS."""

OPEN_SUBTREES: Final = (
    "threat.",
    "entity.",
    "process.parent.",
    "process.entry_leader.",
    "process.session_leader.",
    "process.group_leader.",
    "process.previous.",
    "process.responsible.",
)
"""Subtrees of ECS whose fields are not in the table: what is under them is not second-guessed."""


@cache
def ecs_fields() -> Mapping[str, str]:
    """Return name → Elasticsearch type, such as ``"http.response.status_code"`` → ``"long"``."""
    fields: dict[str, str] = {}
    for line in _TABLE.strip().splitlines():
        root, kind, *names = line.split()
        fields.update({name if root == "-" else f"{root}.{name}": kind for name in names})
    return MappingProxyType(fields)


@cache
def ecs_objects() -> frozenset[str]:
    """Return the paths that have fields of ECS below them, such as ``"http.response"``."""
    found = set(ECS_ROOTS)
    for path in ecs_fields():
        while path := path.rpartition(".")[0]:
            found.add(path)
    return frozenset(found)


# One line: the first part of the names ("-": none), the type, the rest of each name.
_TABLE: Final = """
- date @timestamp
- keyword tags
- match_only_text message
agent keyword build.original ephemeral_id id name type version
client geo_point geo.location
client ip ip nat.ip
client keyword address as.organization.name domain geo.city_name geo.continent_code
client keyword geo.continent_name geo.country_iso_code geo.country_name geo.name geo.postal_code
client keyword geo.region_iso_code geo.region_name geo.timezone mac registered_domain subdomain
client keyword top_level_domain user.domain user.email user.full_name user.group.domain
client keyword user.group.id user.group.name user.hash user.id user.name user.roles
client long as.number bytes nat.port packets port
cloud keyword account.id account.name availability_zone instance.id instance.name machine.type
cloud keyword origin.account.id origin.account.name origin.availability_zone origin.instance.id
cloud keyword origin.instance.name origin.machine.type origin.project.id origin.project.name
cloud keyword origin.provider origin.region origin.service.name project.id project.name provider
cloud keyword region service.name target.account.id target.account.name target.availability_zone
cloud keyword target.instance.id target.instance.name target.machine.type target.project.id
cloud keyword target.project.name target.provider target.region target.service.name
container boolean security_context.privileged
container keyword id image.hash.all image.name image.tag name runtime
container long disk.read.bytes disk.write.bytes network.egress.bytes network.ingress.bytes
container scaled_float cpu.usage memory.usage
data_stream constant_keyword dataset namespace type
destination geo_point geo.location
destination ip ip nat.ip
destination keyword address as.organization.name domain geo.city_name geo.continent_code
destination keyword geo.continent_name geo.country_iso_code geo.country_name geo.name
destination keyword geo.postal_code geo.region_iso_code geo.region_name geo.timezone mac
destination keyword registered_domain subdomain top_level_domain user.domain user.email
destination keyword user.full_name user.group.domain user.group.id user.group.name user.hash user.id
destination keyword user.name user.roles
destination long as.number bytes nat.port packets port
device keyword id manufacturer model.identifier model.name product.id product.name serial_number
device keyword type vendor.id vendor.name
dll keyword hash.cdhash hash.md5 hash.sha1 hash.sha256 hash.sha384 hash.sha512 hash.ssdeep hash.tlsh
dll keyword name origin_referrer_url origin_url path
dns ip resolved_ip
dns keyword answers.class answers.data answers.name answers.type header_flags id op_code
dns keyword question.class question.name question.registered_domain question.subdomain
dns keyword question.top_level_domain question.type response_code type
dns long answers.ttl
ecs keyword version
email date delivery_timestamp origination_timestamp
email keyword attachments.file.extension attachments.file.hash.cdhash attachments.file.hash.md5
email keyword attachments.file.hash.sha1 attachments.file.hash.sha256 attachments.file.hash.sha384
email keyword attachments.file.hash.sha512 attachments.file.hash.ssdeep attachments.file.hash.tlsh
email keyword attachments.file.mime_type attachments.file.name bcc.address cc.address content_type
email keyword direction from.address local_id reply_to.address sender.address subject to.address
email keyword x_mailer
email long attachments.file.size
email wildcard message_id
error keyword code id type
error match_only_text message
error wildcard stack_trace
event date created end ingested start
event float risk_score risk_score_norm
event keyword action agent_id_status category code dataset hash id kind module original outcome
event keyword provider reason reference timezone type url
event long duration sequence severity
faas boolean coldstart
faas keyword execution id name trigger.request_id trigger.type version
file date accessed created ctime mtime
file keyword attributes device directory drive_letter extension fork_name gid group hash.cdhash
file keyword hash.md5 hash.sha1 hash.sha256 hash.sha384 hash.sha512 hash.ssdeep hash.tlsh inode
file keyword mime_type mode name origin_referrer_url origin_url owner path target_path type uid
file long size
gen_ai double request.frequency_penalty request.presence_penalty request.temperature request.top_k
gen_ai double request.top_p
gen_ai integer request.choice.count request.max_tokens request.seed usage.input_tokens
gen_ai integer usage.output_tokens
gen_ai keyword agent.description agent.id agent.name operation.name output.type request.model
gen_ai keyword response.id response.model system token.type tool.call.id tool.name tool.type
group keyword domain id name
host float risk.calculated_score risk.calculated_score_norm risk.static_score risk.static_score_norm
host float target.risk.calculated_score target.risk.calculated_score_norm target.risk.static_score
host float target.risk.static_score_norm
host geo_point geo.location target.geo.location
host ip ip target.ip
host keyword architecture boot.id domain geo.city_name geo.continent_code geo.continent_name
host keyword geo.country_iso_code geo.country_name geo.name geo.postal_code geo.region_iso_code
host keyword geo.region_name geo.timezone hostname id mac name os.family os.full os.kernel os.name
host keyword os.platform os.type os.version pid_ns_ino risk.calculated_level risk.static_level
host keyword target.architecture target.boot.id target.domain target.geo.city_name
host keyword target.geo.continent_code target.geo.continent_name target.geo.country_iso_code
host keyword target.geo.country_name target.geo.name target.geo.postal_code
host keyword target.geo.region_iso_code target.geo.region_name target.geo.timezone target.hostname
host keyword target.id target.mac target.name target.os.family target.os.full target.os.kernel
host keyword target.os.name target.os.platform target.os.type target.os.version target.pid_ns_ino
host keyword target.risk.calculated_level target.risk.static_level target.type type
host long disk.read.bytes disk.write.bytes network.egress.bytes network.egress.packets
host long network.ingress.bytes network.ingress.packets target.disk.read.bytes
host long target.disk.write.bytes target.network.egress.bytes target.network.egress.packets
host long target.network.ingress.bytes target.network.ingress.packets target.uptime uptime
host scaled_float cpu.usage target.cpu.usage
http keyword request.id request.method request.mime_type request.referrer response.mime_type version
http long request.body.bytes request.bytes response.body.bytes response.bytes response.status_code
http wildcard request.body.content response.body.content
log flattened syslog.structured_data
log keyword file.path level logger origin.file.name origin.function syslog.appname
log keyword syslog.facility.name syslog.hostname syslog.msgid syslog.procid syslog.severity.name
log keyword syslog.version
log long origin.file.line syslog.facility.code syslog.priority syslog.severity.code
network ip forwarded_ip
network keyword application community_id direction iana_number inner.vlan.id inner.vlan.name name
network keyword protocol transport type vlan.id vlan.name
network long bytes packets
observer geo_point geo.location
observer ip ip
observer keyword egress.interface.alias egress.interface.id egress.interface.name egress.vlan.id
observer keyword egress.vlan.name egress.zone geo.city_name geo.continent_code geo.continent_name
observer keyword geo.country_iso_code geo.country_name geo.name geo.postal_code geo.region_iso_code
observer keyword geo.region_name geo.timezone hostname ingress.interface.alias ingress.interface.id
observer keyword ingress.interface.name ingress.vlan.id ingress.vlan.name ingress.zone mac name
observer keyword os.family os.full os.kernel os.name os.platform os.type os.version product
observer keyword serial_number type vendor version
orchestrator ip resource.ip
orchestrator keyword api_version cluster.id cluster.name cluster.url cluster.version namespace
orchestrator keyword organization resource.annotation resource.id resource.label resource.name
orchestrator keyword resource.parent.type resource.type type
organization keyword id name
package date installed
package keyword architecture build_version checksum description install_scope license name path
package keyword reference type version
package long size
process boolean interactive io.max_bytes_per_process_exceeded
process date end start
process keyword args entity_id env_vars executable group.id group.name hash.cdhash hash.md5
process keyword hash.sha1 hash.sha256 hash.sha384 hash.sha512 hash.ssdeep hash.tlsh io.type name
process keyword real_group.id real_group.name real_user.id real_user.name saved_group.id
process keyword saved_group.name saved_user.id saved_user.name supplemental_groups.id
process keyword supplemental_groups.name thread.capabilities.effective thread.capabilities.permitted
process keyword thread.name title user.id user.name working_directory
process long args_count exit_code io.bytes_skipped.length io.bytes_skipped.offset
process long io.total_bytes_captured io.total_bytes_skipped pid thread.id tty.char_device.major
process long tty.char_device.minor tty.columns tty.rows uptime vpid
process wildcard command_line
registry keyword data.bytes data.type hive key path value
registry wildcard data.strings
related ip ip
related keyword hash hosts user
rule keyword author category description id license name reference ruleset uuid version
server geo_point geo.location
server ip ip nat.ip
server keyword address as.organization.name domain geo.city_name geo.continent_code
server keyword geo.continent_name geo.country_iso_code geo.country_name geo.name geo.postal_code
server keyword geo.region_iso_code geo.region_name geo.timezone mac registered_domain subdomain
server keyword top_level_domain user.domain user.email user.full_name user.group.domain
server keyword user.group.id user.group.name user.hash user.id user.name user.roles
server long as.number bytes nat.port packets port
service keyword address environment ephemeral_id id name node.name node.role node.roles
service keyword origin.address origin.environment origin.ephemeral_id origin.id origin.name
service keyword origin.node.name origin.node.role origin.node.roles origin.state origin.type
service keyword origin.version state target.address target.environment target.ephemeral_id target.id
service keyword target.name target.node.name target.node.role target.node.roles target.state
service keyword target.type target.version type version
source geo_point geo.location
source ip ip nat.ip
source keyword address as.organization.name domain geo.city_name geo.continent_code
source keyword geo.continent_name geo.country_iso_code geo.country_name geo.name geo.postal_code
source keyword geo.region_iso_code geo.region_name geo.timezone mac registered_domain subdomain
source keyword top_level_domain user.domain user.email user.full_name user.group.domain
source keyword user.group.id user.group.name user.hash user.id user.name user.roles
source long as.number bytes nat.port packets port
span keyword id
tls boolean established resumed
tls date client.not_after client.not_before server.not_after server.not_before
tls keyword cipher client.certificate client.certificate_chain client.hash.md5 client.hash.sha1
tls keyword client.hash.sha256 client.issuer client.ja3 client.server_name client.subject
tls keyword client.supported_ciphers curve next_protocol server.certificate server.certificate_chain
tls keyword server.hash.md5 server.hash.sha1 server.hash.sha256 server.issuer server.ja3s
tls keyword server.subject version version_protocol
trace keyword id
transaction keyword id
url keyword domain extension fragment password query registered_domain scheme subdomain
url keyword top_level_domain username
url long port
url wildcard full original path
user float changes.risk.calculated_score changes.risk.calculated_score_norm
user float changes.risk.static_score changes.risk.static_score_norm effective.risk.calculated_score
user float effective.risk.calculated_score_norm effective.risk.static_score
user float effective.risk.static_score_norm risk.calculated_score risk.calculated_score_norm
user float risk.static_score risk.static_score_norm target.risk.calculated_score
user float target.risk.calculated_score_norm target.risk.static_score target.risk.static_score_norm
user keyword changes.domain changes.email changes.full_name changes.group.domain changes.group.id
user keyword changes.group.name changes.hash changes.id changes.name changes.risk.calculated_level
user keyword changes.risk.static_level changes.roles domain effective.domain effective.email
user keyword effective.full_name effective.group.domain effective.group.id effective.group.name
user keyword effective.hash effective.id effective.name effective.risk.calculated_level
user keyword effective.risk.static_level effective.roles email full_name group.domain group.id
user keyword group.name hash id name risk.calculated_level risk.static_level roles target.domain
user keyword target.email target.full_name target.group.domain target.group.id target.group.name
user keyword target.hash target.id target.name target.risk.calculated_level target.risk.static_level
user keyword target.roles
user_agent keyword device.name name original os.family os.full os.kernel os.name os.platform os.type
user_agent keyword os.version version
volume boolean removable writable
volume keyword bus_type default_access device_name device_type dos_name file_system_type mount_name
volume keyword nt_name product_id product_name serial_number vendor_id vendor_name
volume long size
vulnerability float score.base score.environmental score.temporal
vulnerability keyword category classification description enumeration id reference report_id
vulnerability keyword scanner.vendor score.version severity
"""
