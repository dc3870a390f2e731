"""The file resolv.conf: what is written, and what is there again afterwards."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import HostError
from meshnode.host.changes import RestoreFile, parse_change, serialise_change
from meshnode.host.journal import Journal, open_journal
from meshnode.host.resolv_conf import (
    give_back,
    nameservers,
    own_resolvers,
    owner_of,
    resolv_conf_text,
    take_over,
)
from meshnode.hostplan import Dns
from meshnode.types import Endpoint

DNS = Dns(
    network="home",
    interface="mesh0",
    servers=("10.77.0.1", "fd11:2233:4455::1"),
    domains=("home.mesh", "77.10.in-addr.arpa"),
)
BEFORE = """# by hand
domain lan.example
nameserver 192.0.2.1
nameserver 2001:db8::1%gone0
nameserver 192.0.2.1
nameserver 192.0.2.3
nameserver name
options edns0 timeout:1
"""
MARKER = '# Written by meshnode for the network home; "meshnode down home" undoes it.\n'


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """The journal of an interface."""
    one = open_journal("mesh0", tmp_path / "run")
    yield one
    one.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file, as somebody else wrote it."""
    path = tmp_path / "resolv.conf"
    path.write_text(BEFORE)
    return path


def test_servers_are_read() -> None:
    """Once each, and only addresses."""
    assert nameservers(BEFORE) == ("192.0.2.1", "2001:db8::1%gone0", "192.0.2.3")
    assert nameservers("nameserver\n; nameserver 192.0.2.1\n") == ()


def test_an_exit_asks_the_resolvers_of_its_host() -> None:
    """But not itself, nor by an interface that is gone."""
    text = f"{BEFORE}nameserver fe80::53%lo\nnameserver 10.77.0.1\n"
    found = own_resolvers(text, without=("10.77.0.1",))
    assert found == (
        Endpoint("192.0.2.1", 53),
        Endpoint("192.0.2.3", 53),
        Endpoint("fe80::53", 53, 1),
    )


def test_ours_is_the_first_server() -> None:
    """The C library asks three; what else was said stays."""
    assert resolv_conf_text(DNS, BEFORE) == MARKER + (
        "nameserver 10.77.0.1\n"
        "nameserver 192.0.2.1\n"
        "nameserver 2001:db8::1%gone0\n"
        "search home.mesh lan.example\n"
        "options edns0 timeout:1\n"
    )


def test_ours_is_the_only_server_for_all_names() -> None:
    """Nobody outside hears of any; and nothing need be searched."""
    text = resolv_conf_text(replace(DNS, takes_all=True, searches=False), BEFORE)
    assert nameservers(text) == ("10.77.0.1",)
    assert "search lan.example\n" in text
    assert "search" not in resolv_conf_text(replace(DNS, searches=False), "")


def test_file_is_marked() -> None:
    """So that another network does not take it."""
    assert owner_of(resolv_conf_text(DNS, BEFORE)) == "home"
    assert owner_of(BEFORE) is None


def test_file_is_given_back_as_it_was(journal: Journal, file: Path) -> None:
    """Byte by byte, through a link, after any number of changes."""
    data = BEFORE.encode() + b"# \xff\xfe\n"
    file.write_bytes(data)
    link = file.with_name("link")
    link.symlink_to(file)
    for dns in (DNS, DNS, replace(DNS, searches=False), replace(DNS, takes_all=True)):
        take_over(dns, journal, str(link))
        assert owner_of(file.read_text("latin-1")) == "home"
    assert len(journal.pending()) == 3
    give_back(journal, str(link))
    assert file.read_bytes() == data
    assert link.is_symlink()
    give_back(journal, str(link))
    assert file.read_bytes() == data


def test_file_that_was_missing_goes(journal: Journal, file: Path) -> None:
    """It was made by us."""
    file.unlink()
    take_over(DNS, journal, str(file))
    take_over(replace(DNS, searches=False), journal, str(file))
    assert nameservers(file.read_text()) == ("10.77.0.1",)
    give_back(journal, str(file))
    assert not file.exists()


def test_what_somebody_wrote_since_stays(journal: Journal, file: Path) -> None:
    """Even if our marker is still in it; when we write again, it is what was before."""
    take_over(DNS, journal, str(file))
    theirs = file.read_text() + "options rotate\n"
    file.write_text(theirs)
    give_back(journal, str(file))
    assert file.read_text() == theirs
    file.write_text("nameserver 192.0.2.9\n")
    take_over(DNS, journal, str(file))
    assert nameservers(file.read_text()) == ("10.77.0.1", "192.0.2.9")
    assert journal.undo_all() == [f"restored {file}"]
    assert file.read_text() == "nameserver 192.0.2.9\n"


def test_other_network_does_not_take_it(journal: Journal, file: Path) -> None:
    """Else the first to end would leave the other's."""
    take_over(DNS, journal, str(file))
    with pytest.raises(HostError, match="network home already"):
        take_over(replace(DNS, network="work"), journal, str(file))


@pytest.mark.parametrize("cut", [lambda text: "", lambda text: text[:9]])
def test_what_was_cut_short_is_restored(
    journal: Journal, file: Path, cut: Callable[[str], str]
) -> None:
    """We were killed while we wrote."""
    take_over(DNS, journal, str(file))
    file.write_text(cut(file.read_text()))
    assert journal.undo_all() == [f"restored {file}"]
    assert file.read_text() == BEFORE


@given(before=st.binary(max_size=400), is_there=st.booleans())
def test_journal_entry_comes_back(before: bytes, is_there: bool) -> None:
    """As JSON, whatever the bytes were."""
    text = before.decode("latin-1")
    change = RestoreFile(
        "/etc/resolv.conf", text, resolv_conf_text(DNS, text), is_there
    )
    assert parse_change(serialise_change(change)) == change
