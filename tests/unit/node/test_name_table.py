"""The table of names: who is a member, and when it is made anew."""

import ipaddress
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnode.mesh.events import MemberJoined, PeerUp
from meshnode.names.table import parse_table
from meshnode.node.name_table import NameBook, own_addresses
from tests.unit.node.shell_parts import Shell


@pytest.fixture
def shell(
    rng: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    """A founder's shell that has started."""
    one = Shell(rng, tmp_path, monkeypatch)
    one.start()
    yield one
    one.close()


def test_members_are_in_the_table(shell: Shell) -> None:
    """With the addresses that they have, ourselves included."""
    node = shell.node
    table = NameBook(shell.shell).table
    assert table.network == node.trust.charter.name
    assert table.own == node.own.certificate.name
    assert {one.name for one in table.members} == {
        member.certificate.name for member in node.membership
    }
    ours = table.member(table.own)
    assert ours is not None
    found = [str(ipaddress.ip_address(one)) for one in (ours.ipv4, ours.ipv6)]
    assert found == list(own_addresses(node))
    assert all(table.holds(ipaddress.ip_address(one)) for one in found)
    assert parse_table(table.serialise()).members == table.members


def test_table_is_made_anew_when_members_change(shell: Shell) -> None:
    """Only then, and who wants to know is told once."""
    told = []
    book = NameBook(shell.shell)
    book.on_change = lambda: told.append(1)
    first = book.table
    shell.shell._tell(PeerUp("x", bytes(32)))
    assert book.table is first
    assert not told
    shell.shell._tell(MemberJoined("x", bytes(32)))
    shell.shell._tell(MemberJoined("y", bytes(32)))
    assert told == [1]
    assert book.table is not first


def test_who_is_no_member_finds_itself(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its certificate may have ended."""
    monkeypatch.setattr(type(shell.node.membership), "__iter__", lambda _: iter(()))
    monkeypatch.setattr(shell.node.membership, "by_key", lambda _: None, raising=False)
    (member,) = NameBook(shell.shell).table.members
    assert member.name == shell.node.own.certificate.name
