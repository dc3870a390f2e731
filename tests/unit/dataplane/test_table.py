"""The forwarding table: idempotent commands, and the swap after a reset."""

from dataclasses import replace

import pytest

from meshnode.channels import endpoint_of
from meshnode.dataplane.routes import Owners
from meshnode.dataplane.table import (
    HELD_PER_REPORT,
    ForwardingTable,
    TablePeer,
    TableSession,
)
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    CloseChannel,
    Command,
    HeldSession,
    InstallSession,
    OpenChannel,
    PreferSession,
    ProgramComplete,
    RemoveAllowedIps,
    RemovePeer,
    Reset,
    RetireSession,
    Session,
    SessionsHeld,
    SetCipher,
    SetEndpoint,
    SetIdentity,
    SetLink,
    SetStandby,
    ShareOfPrefix,
    SharePrefix,
    UnsharePrefix,
    UseSession,
)
from meshnode.types import Cipher, Endpoint, Path, Prefix

Table = ForwardingTable[TablePeer[TableSession], TableSession]

PATH = Path(Endpoint("192.0.2.1", 51820))
OTHER_PATH = Path(Endpoint("192.0.2.2", 51820))
NET = Prefix.parse("10.0.0.0/24")
HOST = Prefix.parse("10.0.0.7/32")
CHACHA = Cipher.CHACHA20_POLY1305
INSIDE = bytes((10, 0, 0, 7))


def session(index: int, *, born_at: float = 1.0) -> Session:
    """Build a session whose keys tell it from others."""
    key = index.to_bytes(4, "big") * 8
    return Session(index, index + 1000, key, key[::-1], born_at, index % 2 == 0)


def new_table(generation: int = 3) -> Table:
    """Build a table as a worker of that generation has at its start."""
    return ForwardingTable(generation, TablePeer, TableSession)


def apply(table: Table, *commands: Command) -> None:
    """Obey commands that must be for us."""
    for command in commands:
        assert table.apply(command) is not None, command


@pytest.fixture
def table() -> Table:
    """A table with two peers; the first has a session in use."""
    built = new_table()
    apply(
        built,
        Reset(3),
        SetLink(1400, True),
        AddPeer(1),
        SetEndpoint(1, PATH),
        AddAllowedIps(1, (NET,)),
        AddPeer(2),
        ProgramComplete(),
        InstallSession(1, session(11)),
        UseSession(1, 11),
        InstallSession(2, session(22)),
    )
    return built


def test_nothing_is_obeyed_before_our_reset() -> None:
    """Commands and resets for an earlier worker change nothing."""
    built = new_table()
    for command in (AddPeer(1), SetLink(1300, True), Reset(2), AddPeer(1)):
        assert built.apply(command) is None
    assert not built.peers
    assert not built.is_up


def test_a_stale_reset_disturbs_no_program(table: Table) -> None:
    """A reset for another generation is not for us, at any time."""
    assert table.apply(Reset(2)) is None
    apply(table, ProgramComplete())
    assert set(table.peers) == {1, 2}


@pytest.mark.parametrize(
    ("born_at", "in_use"),
    [(0.5, 11), (1.0, 33), (2.0, 33)],
    ids=["older", "equal", "younger"],
)
def test_a_session_is_preferred_to_an_older_one(
    table: Table, born_at: float, in_use: int
) -> None:
    """Handshakes that cross confirm two sessions; the one begun last stays in use."""
    apply(table, InstallSession(1, session(33, born_at=born_at)), PreferSession(1, 33))
    assert table.peers[1].in_use is table.sessions[in_use]


def test_any_session_is_preferred_to_none(table: Table) -> None:
    """The first one of a peer is used as soon as it is confirmed."""
    apply(table, PreferSession(2, 22))
    assert table.peers[2].in_use is table.sessions[22]


def test_commands_take_effect(table: Table) -> None:
    """Every attribute the halves read is set by its command."""
    apply(table, SetIdentity(bytes(32)))
    assert (table.mtu, table.is_up, table.public_key) == (1400, True, bytes(32))
    assert table.peers[1].path == PATH
    assert table.routes.lookup(INSIDE) == 1
    assert table.peers[1].in_use is table.sessions[11]
    assert table.sessions[22].slot == 2
    assert table.sessions[11].expires_at == 181.0


@pytest.mark.parametrize(
    "command",
    [
        AddPeer(1),
        SetEndpoint(1, PATH),
        AddAllowedIps(1, (NET,)),
        InstallSession(1, session(11)),
        UseSession(1, 11),
        ProgramComplete(),
        RetireSession(1, 99),
        RetireSession(2, 11),
        RemovePeer(9),
        RemoveAllowedIps(2, (NET,)),
        UseSession(1, 22),
        UseSession(1, 99),
        UseSession(9, 11),
        PreferSession(1, 11),
        PreferSession(1, 22),
        PreferSession(1, 99),
        PreferSession(9, 11),
        InstallSession(9, session(33)),
        SetEndpoint(9, PATH),
        AddAllowedIps(9, (HOST,)),
    ],
)
def test_repeated_or_misdirected_commands_change_nothing(
    table: Table, command: Command
) -> None:
    """What is there already, or names what is not there, has no effect."""
    peers, sessions = dict(table.peers), dict(table.sessions)
    apply(table, command)
    assert table.peers == peers
    assert table.sessions == sessions
    assert table.peers[1].path == PATH
    assert table.peers[1].in_use is sessions[11]
    assert table.peers[2].in_use is None
    assert table.routes.lookup(INSIDE) == 1


def test_a_new_session_under_an_old_index_replaces_it(table: Table) -> None:
    """Other keys are another session: the old one is retired first."""
    apply(table, InstallSession(1, replace(session(11), born_at=50.0)))
    assert table.peers[1].in_use is None
    assert table.sessions[11].expires_at == 230.0


def test_retiring_the_session_in_use(table: Table) -> None:
    """A retired session is neither found nor used."""
    apply(table, RetireSession(1, 11))
    assert set(table.sessions) == {22}
    assert table.peers[1].in_use is None


def test_removing_a_peer_removes_what_it_had(table: Table) -> None:
    """Sessions and prefixes go with their peer, those of others stay."""
    apply(table, RemovePeer(1))
    assert set(table.peers) == {2}
    assert set(table.sessions) == {22}
    assert table.routes.lookup(INSIDE) is None


def test_prefixes_move(table: Table) -> None:
    """A prefix given to another peer leaves its first owner."""
    apply(table, AddAllowedIps(2, (NET,)))
    assert table.routes.lookup(INSIDE) == 2
    apply(table, RemoveAllowedIps(1, (NET,)))
    assert table.routes.lookup(INSIDE) == 2
    apply(table, RemoveAllowedIps(2, (NET,)))
    assert table.routes.lookup(INSIDE) is None


def test_reset_answers_with_the_sessions() -> None:
    """Control learns of every session, and of none."""
    built = new_table()
    assert built.apply(Reset(3)) == [SessionsHeld((), last=True)]


def test_held_sessions_are_told_exactly(table: Table) -> None:
    """Age, role, use and cipher are those of the installed sessions."""
    apply(table, SetCipher(1, 11, Cipher.AES_256_GCM))
    assert table.apply(Reset(3)) == [
        SessionsHeld(
            (
                HeldSession(1, 11, 1011, 1.0, False, True, Cipher.AES_256_GCM),
                HeldSession(2, 22, 1022, 1.0, True, False, CHACHA),
            ),
            last=True,
        )
    ]


def test_a_cipher_is_of_one_session_of_one_peer(table: Table) -> None:
    """Of another's session, or one that is gone, nothing changes."""
    apply(
        table,
        SetCipher(2, 11, Cipher.AES_256_GCM),
        SetCipher(1, 12, Cipher.AES_256_GCM),
    )
    assert {one.cipher for one in table.sessions.values()} == {CHACHA}
    apply(table, SetCipher(1, 11, Cipher.AES_256_GCM))
    assert table.sessions[11].cipher is Cipher.AES_256_GCM
    assert table.sessions[22].cipher is CHACHA
    apply(table, InstallSession(1, session(11)))
    assert table.sessions[11].cipher is Cipher.AES_256_GCM
    apply(table, InstallSession(1, session(11, born_at=2.0)))
    assert table.sessions[11].cipher is CHACHA


def test_many_held_sessions_come_in_parts(table: Table) -> None:
    """No part is longer than the limit; only the final one says so."""
    count = 2 * HELD_PER_REPORT + 1
    for number in range(count - 2):
        apply(table, InstallSession(1, session(100 + number)))
    reports = table.apply(Reset(3))
    assert reports is not None
    assert [len(part.sessions) for part in reports] == [100, 100, 1]  # type: ignore[union-attr]
    assert [part.last for part in reports] == [False, False, True]  # type: ignore[union-attr]


def test_traffic_flows_until_the_program_is_complete(table: Table) -> None:
    """The old table is in use until the new one is whole, then all at once."""
    apply(table, Reset(3), AddPeer(2), SetEndpoint(2, OTHER_PATH))
    apply(table, AddAllowedIps(2, (HOST,)))
    assert set(table.peers) == {1, 2}
    assert table.peers[1].path == PATH
    assert table.peers[2].path is None
    assert table.routes.lookup(INSIDE) == 1
    apply(table, ProgramComplete())
    assert set(table.peers) == {2}
    assert table.peers[2].path == OTHER_PATH
    assert table.routes.lookup(INSIDE) == 2
    assert table.routes.lookup(bytes((10, 0, 0, 8))) is None
    assert set(table.sessions) == {22}


def test_sessions_survive_a_program(table: Table) -> None:
    """A peer that stays keeps its object, so its counters and what is staged."""
    peer, kept = table.peers[1], table.sessions[11]
    apply(table, Reset(3), AddPeer(1), SetEndpoint(1, OTHER_PATH), ProgramComplete())
    assert table.peers[1] is peer
    assert table.sessions == {11: kept}
    assert peer.in_use is kept
    assert peer.path == OTHER_PATH


def test_an_endpoint_not_programmed_is_forgotten(table: Table) -> None:
    """The new table is the whole truth about paths, too."""
    apply(table, Reset(3), AddPeer(1), ProgramComplete())
    assert table.peers[1].path is None


def test_a_program_can_start_over(table: Table) -> None:
    """Control may die in the middle: the next reset begins afresh."""
    apply(table, Reset(3), AddPeer(5), Reset(3), AddPeer(1), ProgramComplete())
    assert set(table.peers) == {1}


def test_sessions_of_new_peers_during_a_program(table: Table) -> None:
    """A handshake may finish before the program is complete."""
    apply(
        table,
        Reset(3),
        AddPeer(5),
        InstallSession(5, session(55)),
        UseSession(5, 55),
        AddPeer(6),
        RemovePeer(6),
        ProgramComplete(),
    )
    assert table.peers[5].in_use is table.sessions[55]
    assert set(table.peers) == {5}


SHARED = SharePrefix(HOST, (ShareOfPrefix(1, 2), ShareOfPrefix(2, 1)), (1, 2))


def test_a_sought_peer_is_one_until_told_otherwise(table: Table) -> None:
    """The command is repeated to change it; path and session stay."""
    assert not table.peers[1].is_sought
    apply(table, AddPeer(1, is_sought=True))
    assert table.peers[1].is_sought
    assert table.peers[1].path == PATH
    assert table.peers[1].in_use is table.sessions[11]
    apply(table, AddPeer(1))
    assert not table.peers[1].is_sought


def test_prefixes_are_shared_and_unshared(table: Table) -> None:
    """A shared prefix has its owners, beside that of the peer around it."""
    apply(table, SHARED)
    found = table.routes.lookup(INSIDE)
    assert isinstance(found, Owners)
    assert found.forward == SHARED.forward
    apply(table, SHARED)
    assert table.routes.lookup(INSIDE) is found
    apply(table, UnsharePrefix(HOST))
    assert table.routes.lookup(INSIDE) == 1


def test_a_removed_peer_leaves_its_shares(table: Table) -> None:
    """The others carry its flows."""
    apply(table, SHARED, RemovePeer(1))
    found = table.routes.lookup(INSIDE)
    assert isinstance(found, Owners)
    assert found.forward == (ShareOfPrefix(2, 1),)
    assert found.accept == {2}


def test_a_program_brings_its_shares(table: Table) -> None:
    """What was shared before counts until the program is whole, and then no more."""
    apply(table, SHARED, Reset(3), AddPeer(1), AddPeer(2, is_sought=True))
    apply(table, replace(SHARED, prefix=NET), RemovePeer(1))
    assert isinstance(table.routes.lookup(INSIDE), Owners)
    apply(table, ProgramComplete())
    found = table.routes.lookup(bytes((10, 0, 0, 9)))
    assert isinstance(found, Owners)
    assert found.forward == (ShareOfPrefix(2, 1),)
    assert table.peers[2].is_sought


BEHIND = Path(endpoint_of(7))


def test_a_channel_leads_by_the_peer_that_has_it(table: Table) -> None:
    """An endpoint leads to itself; a channel that goes on to another is no way out."""
    assert table.way_of(OTHER_PATH) == (OTHER_PATH, 0)
    assert table.way_of(BEHIND) == (None, 0)
    apply(table, OpenChannel(7, 1, 70))
    assert table.way_of(BEHIND) == (PATH, 70)
    apply(table, SetEndpoint(1, BEHIND))
    assert table.direct_path(1) is None
    assert table.way_of(BEHIND)[0] is None
    apply(table, SetEndpoint(1, PATH), OpenChannel(7, 1, 70, onward=2))
    assert table.way_of(BEHIND) == (None, 0)
    apply(table, OpenChannel(7, 1, 71), CloseChannel(8))
    assert table.way_of(BEHIND) == (PATH, 71)
    apply(table, CloseChannel(7))
    assert table.way_of(BEHIND) == (None, 0)


def test_channels_are_only_between_peers(table: Table) -> None:
    """Of the program, while there is one."""
    apply(table, OpenChannel(7, 9, 70), OpenChannel(8, 1, 80, onward=9))
    assert table.channels.find(7) is table.channels.find(8) is None
    apply(table, Reset(3), AddPeer(9), OpenChannel(7, 9, 70), OpenChannel(8, 1, 80))
    apply(table, ProgramComplete())
    assert table.channels.find(7) is not None
    assert table.channels.find(8) is None


def test_a_removed_peer_takes_channels_and_standby_along(table: Table) -> None:
    """From the table in use, and from the program under way."""
    apply(table, OpenChannel(7, 1, 70), SetStandby(1, OTHER_PATH))
    assert table.peers[1].standby == OTHER_PATH
    apply(table, Reset(3), AddPeer(1), AddPeer(2), OpenChannel(8, 2, 80, onward=1))
    apply(table, SetStandby(1, OTHER_PATH), RemovePeer(1))
    assert table.channels.find(7) is None
    apply(table, AddPeer(1), ProgramComplete())
    assert table.channels.find(8) is None
    assert table.peers[1].standby is None
