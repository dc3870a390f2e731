"""A table of names: found by name and address, and the same after its way."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import CodecError
from meshnode.names.table import Member, NameTable, parse_table
from tests.unit.names.parts import CIDR, MEMBERS, TABLE, ULA

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


def test_members_are_found() -> None:
    """By name, and by either address."""
    assert TABLE.domain == "home.mesh"
    assert TABLE.member("bert") == MEMBERS[1]
    assert TABLE.member("nobody") is None
    assert [TABLE.name_of(one.ipv4) for one in MEMBERS] == ["anna", "bert", "c-3"]
    assert [TABLE.name_of(one.ipv6) for one in MEMBERS] == ["anna", "bert", "c-3"]
    assert TABLE.name_of(bytes(4)) is TABLE.name_of(bytes(16)) is None


@pytest.mark.parametrize(
    ("text", "is_held"),
    [
        ("10.77.255.255", True),
        ("10.78.0.0", False),
        ("fd11:2233:4455:ffff::1", True),
        ("fd11:2233:4456::1", False),
        ("::ffff:10.77.0.1", False),
    ],
)
def test_the_networks_addresses_are_known(text: str, is_held: bool) -> None:
    """Whether a member has them or not."""
    assert TABLE.holds(ipaddress.ip_address(text)) is is_held


def test_ranges_are_looked_into() -> None:
    """Both ends are in them."""
    ann = MEMBERS[0].ipv4
    assert TABLE.has_between(ann, ann)
    assert TABLE.has_between(bytes(4), bytes(b"\xff" * 4))
    assert not TABLE.has_between(bytes([10, 77, 4, 0]), bytes([10, 77, 255, 255]))


@given(
    st.dictionaries(
        LABELS,
        st.tuples(
            st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)
        ),
        max_size=30,
    )
)
def test_table_arrives_as_it_was(members: dict[str, tuple[bytes, bytes]]) -> None:
    """With the same bytes whatever the order was, and the same number."""
    made = [Member(name, *pair) for name, pair in members.items()]
    table = NameTable("home", "anna", cidr=CIDR, ula=ULA, members=made)
    data = table.serialise()
    again = parse_table(data)
    assert again.members == table.members == tuple(sorted(made, key=lambda m: m.name))
    assert (again.network, again.own) == ("home", "anna")
    assert (again.cidr, again.ula, again.serial) == (CIDR, ULA, table.serial)
    other = NameTable("home", "anna", cidr=CIDR, ula=ULA, members=made[::-1])
    assert other.serialise() == data


def test_ten_thousand_members_arrive() -> None:
    """In less than a megabyte."""
    made = [
        Member(
            f"member-{n}", (0x0A4D0000 + n).to_bytes(4, "big"), n.to_bytes(16, "big")
        )
        for n in range(10_000)
    ]
    data = NameTable("home", "a", cidr=CIDR, ula=ULA, members=made).serialise()
    assert len(data) < 400_000
    assert len(parse_table(data).members) == 10_000


def test_number_differs_when_the_names_do() -> None:
    """So that a cache may tell."""
    fewer = NameTable("home", "anna", cidr=CIDR, ula=ULA, members=MEMBERS[:2])
    assert fewer.serial != TABLE.serial


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"anna\nbert\nc-3", b"anna\nbert\nC-3"),
        (b"anna\nbert\nc-3", b"bert\nanna\nc-3"),
        (b"anna\nbert\nc-3", b"anna\nanna\nc-3"),
        (b"anna\nbert\nc-3", b"anna\nbert-c-3"),
        (b"home", b"-ome"),
    ],
)
def test_table_of_something_else_is_refused(before: bytes, after: bytes) -> None:
    """Names in order, an address for each, nothing that is no label."""
    with pytest.raises(CodecError):
        parse_table(TABLE.serialise().replace(before, after))
