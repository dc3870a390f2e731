"""Every command and report survives its bytes."""

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode import forwarding as f
from meshnode.codec.forwarding import (
    decode_command,
    decode_report,
    encode_command,
    encode_report,
)
from meshnode.types import Cipher, Endpoint, Path, Prefix, Source

SLOTS = st.integers(0, 65535)
U16 = st.integers(0, 2**16 - 1)
U32 = st.integers(0, 2**32 - 1)
KEYS = st.binary(min_size=32, max_size=32)
INSTANTS = st.floats(allow_nan=False, allow_infinity=False)
HOSTS = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda n: str(ipaddress.IPv4Address(n))),
    st.integers(0, 2**128 - 1).map(lambda n: str(ipaddress.IPv6Address(n))),
)
PATHS = st.builds(
    Path,
    st.builds(Endpoint, HOSTS, U16, U32),
    st.none() | st.builds(Source, HOSTS, U32),
)


def prefixes(version: int, bits: int) -> st.SearchStrategy[Prefix]:
    """Prefixes of one family, of every length, without host bits."""
    return st.integers(0, bits).flatmap(
        lambda length: st.integers(0, 2**length - 1).map(
            lambda head: Prefix(version, head << (bits - length), length)
        )
    )


PREFIX = prefixes(4, 32) | prefixes(6, 128)
PREFIXES = st.lists(PREFIX, max_size=20).map(tuple)
FORWARD = st.lists(
    st.builds(f.ShareOfPrefix, SLOTS, st.integers(1, 255)), min_size=1, max_size=16
).map(tuple)
ACCEPT = st.lists(SLOTS, max_size=16).map(tuple)


def frames(most: int) -> st.SearchStrategy[bytes]:
    """Control frames of up to that many bytes."""
    return st.binary(max_size=most - 1).map(lambda rest: b"\x01" + rest)


SESSIONS = st.builds(f.Session, U32, U32, KEYS, KEYS, INSTANTS, st.booleans(), U32)
CIPHERS = st.sampled_from(Cipher)
HELD = st.builds(
    *(f.HeldSession, SLOTS, U32, U32, INSTANTS),
    *(st.booleans(), st.booleans(), CIPHERS),
)

COMMANDS: st.SearchStrategy[f.Command] = st.one_of(
    st.builds(f.Reset, st.integers(0, 2**64 - 1)),
    st.builds(f.ProgramComplete),
    st.builds(f.SetLink, U16, st.booleans()),
    st.builds(f.SetIdentity, st.just(b"") | KEYS),
    st.builds(f.AddPeer, SLOTS, st.booleans()),
    st.builds(f.RemovePeer, SLOTS),
    st.builds(f.SetEndpoint, SLOTS, st.none() | PATHS),
    st.builds(f.AddAllowedIps, SLOTS, PREFIXES),
    st.builds(f.RemoveAllowedIps, SLOTS, PREFIXES),
    st.builds(f.InstallSession, SLOTS, SESSIONS),
    st.builds(f.UseSession, SLOTS, U32),
    st.builds(f.PreferSession, SLOTS, U32),
    st.builds(f.SetCipher, SLOTS, U32, CIPHERS),
    st.builds(f.RetireSession, SLOTS, U32),
    st.builds(f.SendKeepalive, SLOTS),
    st.builds(f.DropStaged, SLOTS),
    st.builds(f.SharePrefix, PREFIX, FORWARD, ACCEPT),
    st.builds(f.UnsharePrefix, PREFIX),
    st.builds(f.SendControl, SLOTS, frames(1203)),
    st.builds(f.SendProbe, SLOTS, frames(1203), st.integers(1204, 65_455)),
)
REPORTS: st.SearchStrategy[f.Report] = st.one_of(
    st.builds(f.NeedSession, SLOTS),
    st.builds(f.TrafficResumed, SLOTS),
    st.builds(f.EndpointMoved, SLOTS, PATHS),
    st.builds(f.SessionConfirmed, SLOTS, U32),
    st.builds(f.RekeyDue, SLOTS, U32, st.booleans()),
    st.builds(f.HandshakeLoad),
    st.builds(f.ControlReceived, SLOTS, frames(1218), U16),
    st.builds(f.SessionsHeld, st.lists(HELD, max_size=20).map(tuple), st.booleans()),
)


@settings(deadline=None)
@given(COMMANDS)
def test_commands_round_trip(command: f.Command) -> None:
    """What is decoded equals what was encoded, in value and in type."""
    decoded = decode_command(encode_command(command))
    assert decoded == command
    assert type(decoded) is type(command)


@settings(deadline=None)
@given(REPORTS)
def test_reports_round_trip(report: f.Report) -> None:
    """What is decoded equals what was encoded, in value and in type."""
    decoded = decode_report(encode_report(report))
    assert decoded == report
    assert type(decoded) is type(report)
