"""The one place that looks inside a mesh node, for the invariants."""

from collections.abc import Iterator
from typing import Final

from meshnode.mesh.admission import MAX_ADMITTED, MAX_STRANGERS
from meshnode.mesh.contacts import MAX_CONTACTS
from meshnode.mesh.dialling import MAX_DIALS
from meshnode.mesh.endpoint_book import MAX_RECORDS as MAX_ENDPOINTS
from meshnode.mesh.intake import MAX_SEEN
from meshnode.mesh.lookups import MAX_INTERESTS, MAX_SEARCHES
from meshnode.mesh.node import MeshNode
from meshnode.mesh.pings import MAX_OPEN
from meshnode.mesh.reach import MAX_SEEN as MAX_SEEN_AT
from meshnode.mesh.record_set import MAX_RECORDS, MAX_WAITING
from meshnode.mesh.rendezvous import MAX_SUBSCRIPTIONS
from meshnode.mesh.transfer import MAX_SHUNNED

_NEIGHBOURS: Final = 5


def believed_wall(node: MeshNode) -> float:
    """Return the wall seconds that the node used in its last step."""
    return node._wall


def is_sought(node: MeshNode, key: bytes) -> bool:
    """Whether the node dials the member, or asks others where it is."""
    dialler = node.reach.dialler
    return key in dialler._dials or key in dialler._lookups._searches


def table_sizes(node: MeshNode, *, members: int) -> Iterator[tuple[str, int, int]]:
    """Yield every table of the node with its size and its bound.

    *members* is how many the network has, those that it had included.
    """
    everybody = members + MAX_CONTACTS
    records, reach, sync = node.records, node.reach, node.sync
    dialler, rendezvous = reach.dialler, reach._rendezvous
    yield "records", len(records), 2 * MAX_RECORDS
    yield "waiting revocations", len(records._waiting), MAX_WAITING
    yield "records seen lately", len(sync.intake._seen), MAX_SEEN
    yield "neighbours", len(node.neighbours.chosen), _NEIGHBOURS
    yield "silent members", len(node.neighbours._silent), members
    yield "members to ask again", len(node.neighbours._retries), 64 + 4 * members
    yield "walks", len(sync._repair._walks), everybody
    yield "peers tried to repair from", len(sync._repair._tried), everybody
    yield "searches", len(dialler._lookups._searches), MAX_SEARCHES
    yield "interests", len(dialler._lookups._interests), MAX_INTERESTS
    yield "dials", len(dialler._dials), MAX_DIALS
    yield "cached endpoints", len(dialler._cached), everybody
    yield "who knows us", len(dialler._knows_us), everybody
    yield "endpoint records", len(rendezvous._book._heard), MAX_ENDPOINTS
    subscriptions = everybody * MAX_SUBSCRIPTIONS
    yield "subscriptions", len(rendezvous._subscriptions), subscriptions
    yield "members subscribed to", len(rendezvous._subscribers), subscriptions
    yield "own addresses seen", len(reach._seen), MAX_SEEN_AT
    yield "open pings", len(node.pings._questions), MAX_OPEN
    yield "sessions", len(node._sessions), members
    yield "shunned senders", len(sync.library._transfer._shunned), MAX_SHUNNED
    if node.office is not None:
        admitted = len(node.office._admissions)
        yield "admitted joiners", admitted, MAX_ADMITTED + MAX_STRANGERS
