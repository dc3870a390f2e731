"""The metrics of a node in Prometheus' text format, from what its status says.

Pure: the status and peers that `meshnode status --json` and `meshnode peers --json`
show go in, text comes out. What a status does not have is left out. Every sample has
the labels `network` and, of a peer, `peer` with its name and `key`.
(https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4.)
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from meshnode.values import frozen

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of the reply that carries the text."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TYPES = ("counter", "gauge")


@frozen
class Sample:
    """One value and the labels that tell it from the others of its family."""

    value: float
    labels: Mapping[str, str]


@frozen
class Family:
    """All samples of one name; `type` is counter or gauge."""

    name: str
    type: str
    help: str
    samples: tuple[Sample, ...]


def expose(families: Iterable[Family]) -> str:
    """Return *families* as text; those without samples are left out.

    Raises:
        ValueError: if a name, label or type is none, or a family comes twice.
    """
    lines: list[str] = []
    seen: set[str] = set()
    for family in families:
        if not _NAME.fullmatch(family.name) or family.type not in _TYPES:
            raise ValueError(f"{family.name!r} is no {family.type!r} metric")
        if family.name in seen:
            raise ValueError(f"{family.name} is there twice")
        seen.add(family.name)
        if family.samples:
            lines.append(f"# HELP {family.name} {_escape(family.help)}")
            lines.append(f"# TYPE {family.name} {family.type}")
            lines += [_sample_line(family.name, sample) for sample in family.samples]
    return "".join(f"{line}\n" for line in lines)


def node_metrics(status: Mapping[str, Any], peers: Sequence[Mapping[str, Any]]) -> str:
    """Return the text for a node: its *status* and its *peers*."""
    network = {"network": str(status.get("network", ""))}
    return expose([*_node_families(status, network), *_peer_families(peers, network)])


# Name, type, help, and the key of the status: with a dot, of a table in it.
_NODE: Final = (
    ("ready", "gauge", "Whether the overlay address can be used.", "isReady"),
    ("members", "gauge", "Members of the network that are known.", "members"),
    ("silent_members", "gauge", "Members that do not answer.", "silent"),
    ("sessions", "gauge", "Peers with a session that can be used.", "sessions"),
    ("received_bytes_total", "counter", "Bytes received by UDP.", "receivedBytes"),
    ("sent_bytes_total", "counter", "Bytes sent by UDP.", "sentBytes"),
    ("charter_version", "gauge", "Version of the network's charter.", "charter"),
    ("policy_version", "gauge", "Version of the policy in force, 0: none.", "policy"),
    ("mtu_bytes", "gauge", "MTU of the interface.", "mtu"),
    (
        "certificate_end_timestamp_seconds",
        "gauge",
        "When our certificate ends.",
        "certificate.notAfter",
    ),
)
_PEER: Final = (
    ("has_session", "gauge", "Whether a session can be used.", "hasSession"),
    ("silent", "gauge", "Whether the member does not answer.", "isSilent"),
    ("received_bytes_total", "counter", "Bytes received from it.", "receivedBytes"),
    ("sent_bytes_total", "counter", "Bytes sent to it.", "sentBytes"),
    (
        "last_handshake_timestamp_seconds",
        "gauge",
        "When the last handshake was, 0: never.",
        "lastHandshake",
    ),
    (
        "certificate_end_timestamp_seconds",
        "gauge",
        "When its certificate ends.",
        "notAfter",
    ),
)


def _node_families(
    status: Mapping[str, Any], network: Mapping[str, str]
) -> list[Family]:
    facts = {
        key: str(status[key])
        for key in ("name", "interface", "engine", "key")
        if key in status
    }
    families = [
        Family(
            "meshnode_info",
            "gauge",
            "What the node is.",
            (Sample(1, {**network, **facts}),),
        ),
        *[
            Family(f"meshnode_{name}", kind, text, _one(_look_up(status, key), network))
            for name, kind, text, key in _NODE
        ],
    ]
    health = status.get("health")
    problems = len(health) if isinstance(health, list) else None
    text = "Conditions that a person should know of."
    families.append(
        Family("meshnode_health_problems", "gauge", text, _one(problems, network))
    )
    drops = status.get("drops")
    samples = [
        sample
        for reason, count in (drops if isinstance(drops, dict) else {}).items()
        for sample in _one(count, {**network, "reason": str(reason)})
    ]
    text = "Packets that were dropped, by reason."
    families.append(
        Family("meshnode_dropped_packets_total", "counter", text, tuple(samples))
    )
    offload = status.get("offload")
    samples = [
        sample
        for key, one in (offload if isinstance(offload, dict) else {}).items()
        for sample in _one(_look_up(one, "lowered"), {**network, "offload": str(key)})
    ]
    text = "Times that the kernel refused an offload, which is then used less."
    families.append(
        Family("meshnode_offload_lowered_total", "counter", text, tuple(samples))
    )
    return families


def _peer_families(
    peers: Sequence[Mapping[str, Any]], network: Mapping[str, str]
) -> list[Family]:
    labels = [
        {**network, "peer": str(peer.get("name", "")), "key": str(peer.get("key", ""))}
        for peer in peers
    ]
    pairs = list(zip(peers, labels, strict=True))
    addresses = [
        {key: str(peer[key]) for key in ("ipv4", "ipv6", "endpoint") if peer.get(key)}
        for peer in peers
    ]
    info = [
        Sample(1, {**own, **found})
        for own, found in zip(labels, addresses, strict=True)
    ]
    families = [
        Family("meshnode_peer_info", "gauge", "Where a member is.", tuple(info))
    ]
    for name, kind, text, key in _PEER:
        samples = [s for peer, own in pairs for s in _one(_look_up(peer, key), own)]
        families.append(Family(f"meshnode_peer_{name}", kind, text, tuple(samples)))
    return families


def _look_up(values: object, path: str) -> object:
    found: Any = values
    for key in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found


def _one(value: object, labels: Mapping[str, str]) -> tuple[Sample, ...]:
    """Return the sample of *value*, or none if it is no number."""
    if not isinstance(value, int | float):
        return ()
    return (Sample(value, labels),)


def _sample_line(name: str, sample: Sample) -> str:
    for label in sample.labels:
        if not _LABEL.fullmatch(label) or label.startswith("__"):
            raise ValueError(f"{label!r} is no label")
    labels = ",".join(
        f'{label}="{_escape_label(value)}"' for label, value in sample.labels.items()
    )
    return f"{name}{{{labels}}} {_number(sample.value)}"


def _number(value: float) -> str:
    if isinstance(value, bool | int):
        return str(int(value))
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _escape_label(text: str) -> str:
    return _escape(text).replace('"', '\\"')
