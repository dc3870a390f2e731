"""Charters and policies: which is in force, how they are fetched and served."""

import pytest

from meshnode.codec.messages import Chunk, Fetch, Hello
from meshnode.codec.records import Kind, Policy
from meshnode.crypto.signing import SigningKey
from meshnode.mesh.documents import create_policy, next_charter
from meshnode.mesh.library import Library
from meshnode.mesh.ports import KeepCharter, KeepPolicy
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.transfer import CHUNK_BYTES
from meshnode.simulation.population import EPOCH
from tests.unit.mesh.gossip_parts import Site, make_population

PEER = b"p" * 32


def policy_of(site: Site, version: int, text: str = "x" * 2500) -> bytes:
    """Return a policy by the authority."""
    network_id = site.population.network_id
    return create_policy(site.population.authority, network_id, Policy(version, text))


def second_charter(site: Site) -> bytes:
    """Return the charter after the first."""
    return next_charter(
        site.population.trust.charter,
        site.population.authority,
        name="later",
        authorities=(site.population.authority.public,),
        created=EPOCH,
    )


def hello(charter: int, policy: int) -> Hello:
    """Return a Hello that tells these versions."""
    return Hello(bytes(8), 0, charter, policy, wants_answer=False)


@pytest.fixture
def site() -> Site:
    """A node with the first charter and no policy."""
    return Site(make_population())


@pytest.fixture
def library(site: Site) -> Library:
    """Its library."""
    return site.sync.library


def feed(library: Library, kind: Kind, version: int, data: bytes) -> object:
    """Let a document arrive in parts; return what came of the last."""
    adopted = None
    for offset in range(0, len(data), CHUNK_BYTES):
        part = data[offset : offset + CHUNK_BYTES]
        chunk = Chunk(kind, version, offset, len(data), part)
        adopted = library.take_chunk(PEER, chunk, now=0.0)
    return adopted


def test_a_later_policy_is_fetched_kept_and_in_force(
    site: Site, library: Library
) -> None:
    """Part by part; its bytes are durable in the step that uses it."""
    data = policy_of(site, 7)
    library.take_hello(PEER, hello(1, 7), now=0.0)
    assert site.mailbox.taken() == [(PEER, Fetch(Kind.POLICY, 7, 0))]
    assert feed(library, Kind.POLICY, 7, data) == library.policy
    assert library.versions == (1, 7)
    assert site.kept() == [KeepPolicy(7, data)]


def test_charters_come_before_policies(site: Site, library: Library) -> None:
    """The next one, not the one offered: the chain has no gaps."""
    data = second_charter(site)
    library.take_hello(PEER, hello(9, 9), now=0.0)
    assert site.mailbox.taken() == [(PEER, Fetch(Kind.CHARTER, 2, 0))]
    assert feed(library, Kind.CHARTER, 2, data) == site.trust.charter
    assert site.trust.charter.name == "later"
    assert site.kept() == [KeepCharter(2, data)]


def test_what_is_no_later_is_not_fetched(site: Site, library: Library) -> None:
    """Neither an equal nor an older version."""
    library.adopt_policy(policy_of(site, 3), now=0.0)
    library.take_hello(PEER, hello(1, 3), now=0.0)
    library.take_hello(PEER, hello(0, 1), now=0.0)
    assert site.mailbox.taken() == []
    assert library.adopt_policy(policy_of(site, 2), now=0.0) is None
    assert library.adopt_policy(policy_of(site, 3, "other"), now=0.0) is None
    assert library.versions == (1, 3)


def test_a_forged_policy_is_refused_and_its_source_left_alone(
    site: Site, library: Library
) -> None:
    """What was in force stays."""
    forged = create_policy(
        SigningKey(b"f" * 32), site.population.network_id, Policy(7, "all")
    )
    library.take_hello(PEER, hello(1, 7), now=0.0)
    assert feed(library, Kind.POLICY, 7, forged) is None
    assert library.policy is None
    site.mailbox.taken()
    library.take_hello(PEER, hello(1, 7), now=1.0)
    assert site.mailbox.taken() == []


def test_a_document_of_another_version_than_it_was_offered_as(
    site: Site, library: Library
) -> None:
    """An old policy sold as a new one changes nothing."""
    library.adopt_policy(policy_of(site, 3), now=0.0)
    library.take_hello(PEER, hello(1, 9), now=0.0)
    assert feed(library, Kind.POLICY, 9, policy_of(site, 2)) is None
    assert library.versions == (1, 3)


def test_what_we_have_is_served_in_parts(site: Site, library: Library) -> None:
    """Both kinds; put together they are the document."""
    data = policy_of(site, 3)
    library.adopt_policy(data, now=0.0)
    got = b""
    while len(got) < len(data):
        library.take_fetch(PEER, Fetch(Kind.POLICY, 3, len(got)), now=0.0)
        ((key, chunk),) = site.mailbox.taken()
        assert isinstance(chunk, Chunk)
        assert (key, chunk.offset, chunk.total) == (PEER, len(got), len(data))
        got += chunk.data
    assert got == data
    library.take_fetch(PEER, Fetch(Kind.CHARTER, 1, 0), now=0.0)
    ((_, chunk),) = site.mailbox.taken()
    assert chunk == Chunk(
        Kind.CHARTER, 1, 0, len(site.population.charter), site.population.charter
    )


@pytest.mark.parametrize(
    "fetch",
    [
        Fetch(Kind.POLICY, 2, 0),
        Fetch(Kind.POLICY, 3, 65536),
        Fetch(Kind.CHARTER, 0, 0),
        Fetch(Kind.CHARTER, 2, 0),
    ],
)
def test_what_we_lack_is_not_answered(
    site: Site, library: Library, fetch: Fetch
) -> None:
    """Another version, or beyond the end."""
    library.adopt_policy(policy_of(site, 3), now=0.0)
    library.take_fetch(PEER, fetch, now=0.0)
    assert site.mailbox.taken() == []


def test_a_stored_policy_is_in_force_again(site: Site, library: Library) -> None:
    """A damaged one is refused."""
    assert library.load_policy(policy_of(site, 4)).version == 4
    assert library.versions == (1, 4)
    with pytest.raises(RecordRefused):
        library.load_policy(b"damaged")
    assert site.kept() == []


def test_a_lost_part_is_asked_for_again(site: Site, library: Library) -> None:
    """By the deadline."""
    library.take_hello(PEER, hello(1, 7), now=0.0)
    site.mailbox.taken()
    deadline = library.next_deadline()
    assert deadline is not None
    library.handle_deadline(now=deadline.at)
    assert site.mailbox.taken() == [(PEER, Fetch(Kind.POLICY, 7, 0))]
