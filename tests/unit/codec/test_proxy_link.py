"""What control and the proxy process say to each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec.proxy_link import (
    KEPT_SOCKET,
    MAX_LISTENERS,
    MAX_MEMBERS,
    MAX_PLAN_BYTES,
    MAX_SOCKETS,
    Ask,
    Counters,
    Counts,
    MemberName,
    PlannedExit,
    PlannedListener,
    PlannedResolver,
    PlannedUser,
    Problems,
    ProxyPlan,
    Setup,
    Started,
    decode_from_control,
    decode_from_proxy,
    decode_plan,
    encode,
    encode_plan,
)
from meshnode.errors import CodecError
from meshnode.types import Endpoint, Prefix

OVERLAY = (Prefix.parse("10.77.0.0/16"), Prefix.parse("fd00::/48"))
USER = PlannedUser("alice", "$argon2id$")
EXIT = PlannedExit(
    (Endpoint("10.77.0.1", 1080), Endpoint("fd00::1", 1080)),
    "home",
    ("192.0.2.1",),
    (Prefix.parse("192.168.0.0/24"),),
)

endpoints = st.builds(Endpoint, st.ip_addresses().map(str), st.integers(1, 65535))
listeners = st.builds(
    PlannedListener,
    st.text("abc:/.0123", max_size=60),
    st.sampled_from(["mixed", "socks", "http"]),
    st.integers(KEPT_SOCKET, MAX_SOCKETS - 1),
    st.none() | st.lists(endpoints, max_size=4, unique=True).map(tuple),
    st.sampled_from([None, (), (USER,)]),
    st.lists(st.text("ab*.", max_size=9), max_size=4, unique=True).map(tuple),
)
plans = st.builds(
    ProxyPlan,
    st.just("home"),
    st.just(OVERLAY),
    st.lists(listeners, max_size=4, unique_by=lambda one: one.place).map(tuple),
    st.sampled_from([None, EXIT]),
    st.lists(
        st.builds(
            MemberName,
            st.text("abc-", min_size=1, max_size=9),
            st.binary(min_size=4, max_size=4),
            st.binary(min_size=16, max_size=16),
        ),
        max_size=4,
        unique_by=lambda one: one.name,
    ).map(tuple),
    st.sampled_from([None, PlannedResolver("a", EXIT.places, EXIT.places)]),
)


@given(plan=plans)
def test_a_plan_survives(plan: ProxyPlan) -> None:
    """What is read is what was meant."""
    assert decode_plan(encode_plan(plan)) == plan


@pytest.mark.parametrize(
    "message",
    [
        Setup(1),
        Setup(MAX_PLAN_BYTES),
        Ask(7),
        Started(),
        Problems(()),
        Problems(("127.0.0.1:1: TCP port 1 is taken",)),
        Counts(7, ()),
        Counts(2**32 - 1, (Counters("127.0.0.1:1", 1, 2, 3, 2**63 - 1, 0),)),
    ],
)
def test_messages_survive(
    message: Setup | Ask | Started | Problems | Counts,
) -> None:
    """Each in its direction, and not in the other."""
    data = encode(message)
    to_process = isinstance(message, Setup | Ask)
    right, wrong = decode_from_control, decode_from_proxy
    if not to_process:
        assert decode_from_proxy(data) == message
        return
    assert right(data) == message
    with pytest.raises(CodecError):
        wrong(encode(Setup(1)))


def test_every_member_of_a_large_mesh_has_a_name() -> None:
    """And one more is refused before it is sent."""
    members = tuple(
        MemberName(f"m{n}", n.to_bytes(4, "big"), bytes(16)) for n in range(MAX_MEMBERS)
    )
    data = encode_plan(ProxyPlan("home", OVERLAY, members=members))
    assert decode_plan(data).members == members
    assert len(data) < MAX_PLAN_BYTES
    more = (*members, MemberName("more", bytes(4), bytes(16)))
    with pytest.raises(CodecError, match="items"):
        encode_plan(ProxyPlan("home", OVERLAY, members=more))


@pytest.mark.parametrize(
    "listener",
    [
        PlannedListener("x" * 129, "mixed"),
        PlannedListener("x", "mixed", MAX_SOCKETS),
        PlannedListener("x", "mixed", users=(USER, USER)),
        PlannedListener("x\0", "mixed"),
    ],
)
def test_what_is_out_of_range_is_not_sent(listener: PlannedListener) -> None:
    """The process must not be confused by control."""
    with pytest.raises(CodecError):
        encode_plan(ProxyPlan("home", OVERLAY, (listener,)))


def test_two_listeners_at_one_place_are_refused() -> None:
    """The place is what names them."""
    two = (PlannedListener("x", "mixed"), PlannedListener("x", "http"))
    with pytest.raises(CodecError, match="twice"):
        encode_plan(ProxyPlan("home", OVERLAY, two))


def test_all_listeners_are_counted_in_one_message() -> None:
    """The largest there is fits the link."""
    most = tuple(Counters(f"{n:0>128}", *[2**63 - 1] * 5) for n in range(MAX_LISTENERS))
    assert decode_from_proxy(encode(Counts(1, most))) == Counts(1, most)
    texts = tuple(f"{n:0>800}" for n in range(MAX_LISTENERS))
    assert decode_from_proxy(encode(Problems(texts))) == Problems(texts)


def test_hashes_are_not_shown() -> None:
    """In a log of a value, by mistake."""
    assert "argon2id" not in repr(PlannedListener("x", "mixed", users=(USER,)))


@pytest.mark.parametrize("data", [b"", b"\x90", b"\x91\x01", b"\xc1", b"\x92\x09\x90"])
def test_other_bytes_are_refused(data: bytes) -> None:
    """By every decoder."""
    for decode in (decode_from_control, decode_from_proxy, decode_plan):
        with pytest.raises(CodecError):
            decode(data)


def test_what_is_no_message_of_the_link() -> None:
    """Somebody else's values are not sent by mistake."""
    with pytest.raises(CodecError, match="no message of this link"):
        encode("hello")  # type: ignore[arg-type]
    with pytest.raises(CodecError, match="Setup"):
        encode(Setup(0))
    with pytest.raises(CodecError, match="too long"):
        decode_plan(bytes(MAX_PLAN_BYTES + 1))
