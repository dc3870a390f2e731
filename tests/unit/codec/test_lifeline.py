"""Bytes between supervisor and control."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec.lifeline import (
    MAX_MESSAGE_BYTES,
    MAX_REASON,
    Begin,
    ControlMessage,
    Direction,
    DropSocket,
    Failed,
    KeepSocket,
    LinkChanged,
    Ready,
    Rebind,
    Rebound,
    SupervisorMessage,
    WantCarrier,
    WantProxy,
    WantTls,
    Worker,
    WorkerStarted,
    decode_from_control,
    decode_from_supervisor,
    encode,
    workers_of,
)
from meshnode.errors import CodecError

_U16 = st.integers(0, 2**16 - 1)
_U32 = st.integers(0, 2**32 - 1)
_U64 = st.integers(0, 2**64 - 1)
_GENERATIONS = st.lists(_U64, min_size=1, max_size=16).map(tuple)
_FROM_SUPERVISOR = st.one_of(
    st.builds(Begin, _GENERATIONS, _GENERATIONS, _U16, st.booleans()),
    st.builds(WorkerStarted, st.sampled_from(workers_of(16)), _U64),
    st.builds(LinkChanged, _U16, st.booleans()),
    st.builds(Rebound, _U16),
)
_FROM_CONTROL = st.one_of(
    st.builds(Rebind, _U16, _U32),
    st.sampled_from([Ready(), WantTls(), WantProxy(), WantCarrier()]),
    st.builds(KeepSocket, _U16),
    st.builds(DropSocket, _U16),
    st.builds(Failed, st.integers(1, 125), st.text(max_size=MAX_REASON)),
)


EGRESS, INGRESS = workers_of(1)


@given(_FROM_SUPERVISOR)
def test_what_the_supervisor_says_comes_back(message: SupervisorMessage) -> None:
    """Every message is short, and is decoded to what it was."""
    data = encode(message)
    assert len(data) <= MAX_MESSAGE_BYTES
    assert decode_from_supervisor(data) == message


@given(_FROM_CONTROL)
def test_what_control_says_comes_back(message: ControlMessage) -> None:
    """Every message of control, too."""
    assert decode_from_control(encode(message)) == message


def test_golden_bytes() -> None:
    """The layout is number, then fields: a change of it is no accident."""
    begin = Begin((1,), (2, 3), 1420, up=True)
    assert encode(begin).hex() == "95019101920203cd058cc3"
    assert encode(WorkerStarted(EGRESS, 3)) == b"\x93\x02\xa6egress\x03"
    second = Worker(Direction.INGRESS, 1)
    assert encode(WorkerStarted(second, 3)) == b"\x93\x02\xa9ingress-1\x03"
    assert encode(LinkChanged(1280, up=False)).hex() == "9303cd0500c2"
    assert encode(Rebound(98)).hex() == "920462"
    assert encode(Rebind(51820, 42)).hex() == "9301cdca6c2a"
    assert encode(Ready()).hex() == "9102"
    assert encode(Failed(5, "no")).hex() == "930305a26e6f"


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        [0],
        [99],
        [True],
        [1.0],
        [1],
        [1, [1], [2], 1420],
        [1, [1], [2], 1420, 1],
        [1, [1], [2], 1420, True, 0],
        [1, [-1], [2], 1420, True],
        [1, [True], [2], 1420, True],
        [1, [1], [2], 70000, True],
        [1, [], [2], 1420, True],
        [1, 1, [2], 1420, True],
        [1, [1] * 17, [2], 1420, True],
        [2, "egress-0", 1],
        [2, "egress-01", 1],
        [2, "egress-16", 1],
        [2, "egress-", 1],
        [2, "ingress--1", 1],
        [2, "control", 1],
        [2, b"egress", 1],
        [2, ["egress"], 1],
        [4, 2**32],
        {1: 2},
        "x" * 200,
    ],
)
def test_what_is_no_message_is_refused(plain: Any) -> None:
    """Wrong numbers, types, ranges and lengths are one error."""
    with pytest.raises(CodecError):
        decode_from_supervisor(msgpack.packb(plain))


def test_directions_are_not_mixed() -> None:
    """A message that went the wrong way is not understood."""
    with pytest.raises(CodecError):
        decode_from_control(encode(LinkChanged(1420, up=True)))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    """What is decoded is what would be encoded so."""
    for decode in (decode_from_control, decode_from_supervisor):
        try:
            message = decode(data)
        except CodecError:
            continue
        assert decode(encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        *(Rebind(70000, 0), Rebind(1, -1), Rebound(-1), LinkChanged(2**16, True)),
        *(WorkerStarted(Worker(Direction.EGRESS, 16), 1), Begin((), (1,), 1, True)),
    ],
)
def test_fields_out_of_range_are_not_sent(message: Any) -> None:
    """Encoding checks as decoding does."""
    with pytest.raises(CodecError):
        encode(message)


def test_workers_have_names_by_their_number() -> None:
    """The first of each direction is called as where there is one only."""
    assert [worker.name for worker in workers_of(2)] == [
        *("egress", "egress-1", "ingress", "ingress-1")
    ]
    for worker in workers_of(16):
        assert Worker.parse(worker.name) == worker
