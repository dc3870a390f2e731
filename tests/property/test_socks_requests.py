"""Whatever a client of any version asks, by encoders of the tests' own: it arrives."""

import ipaddress
import struct

from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec.proxies import Credentials, Socks5
from meshnode.codec.socks import Command
from meshnode.proxy.outlets import Refusal
from meshnode.proxy.socks_dialogue import SocksDialogue
from meshnode.proxy.socks_messages import (
    Login,
    Request,
    encode_granted,
    encode_refused,
)
from meshnode.types import Endpoint, Target

LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=20)
NAMES = st.lists(LABELS, min_size=1, max_size=5).map(lambda labels: ".".join(labels))
REAL_NAMES = NAMES.filter(lambda name: Target(name, 0).address is None)
ADDRESSES = st.ip_addresses().map(str)
PORTS = st.integers(0, 65535)
SECRETS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)
TARGETS = st.builds(Target, REAL_NAMES | ADDRESSES, PORTS)
PLACES = st.builds(Endpoint, ADDRESSES, PORTS)


def socks5(command: Command, target: Target) -> bytes:
    """Encode a request by the letter of RFC 1928, 4."""
    address = target.address
    if address is None:
        host = b"\x03" + len(target.host).to_bytes(1, "big") + target.host.encode()
    else:
        host = (b"\x01" if address.version == 4 else b"\x04") + address.packed
    return struct.pack(">BBB", 5, command, 0) + host + struct.pack(">H", target.port)


def socks4(command: Command, target: Target, user: bytes) -> bytes:
    """Encode a request of SOCKS4, with a name as 4a does."""
    address = target.address
    packed = b"\0\0\0\x07" if address is None else address.packed
    name = target.host.encode() + b"\0" if address is None else b""
    return struct.pack(">BBH", 4, command, target.port) + packed + user + b"\0" + name


@given(st.sampled_from(Command), TARGETS, SECRETS, SECRETS, st.binary(max_size=50))
def test_five(
    command: Command, target: Target, user: str, password: str, rest: bytes
) -> None:
    """With a login, all in one breath."""
    dialogue = SocksDialogue(wants_login=True)
    words = b"\x05\x01\x02\x01"
    for secret in (user.encode(), password.encode()):
        words += len(secret).to_bytes(1, "big") + secret
    dialogue.receive(words + socks5(command, target) + rest)
    assert dialogue.next_event() == Login(user, password)
    dialogue.answer_login(is_known=True)
    assert dialogue.next_event() == Request(5, command, target)
    assert dialogue.rest == rest


@given(
    st.sampled_from((Command.CONNECT, Command.BIND)),
    st.builds(Target, REAL_NAMES | st.ip_addresses(v=4).map(str), PORTS),
    st.binary(max_size=255).map(lambda user: user.replace(b"\0", b"")),
    st.binary(max_size=50),
)
def test_four(command: Command, target: Target, user: bytes, rest: bytes) -> None:
    """Addresses, and names by 4a; but for those that say that a name follows."""
    address = target.address
    if address is not None and 0 < int(ipaddress.IPv4Address(str(address))) < 256:
        return
    dialogue = SocksDialogue(wants_login=False)
    dialogue.receive(socks4(command, target, user) + rest)
    assert dialogue.next_event() == Request(4, command, target)
    assert dialogue.rest == rest


@given(st.sampled_from(Command), TARGETS, st.booleans(), PLACES, PLACES)
def test_our_client_and_our_server(
    command: Command, target: Target, has_user: bool, first: Endpoint, last: Endpoint
) -> None:
    """They understand one another, in every command."""
    user = Credentials("carol", "s3cret") if has_user else Credentials()
    client = Socks5(target, user, command)
    server = SocksDialogue(wants_login=has_user)
    request = None
    for _ in range(4):
        server.receive(client.data_to_send())
        event = server.next_event()
        if isinstance(event, Login):
            server.answer_login(is_known=True)
        elif event is not None:
            request = event
        client.receive(server.data_to_send())
    assert request == Request(5, command, target)
    client.receive(encode_granted(request, first))
    assert client.place == first
    if command == Command.BIND:
        assert client.is_waiting
        client.receive(encode_granted(request, last))
        assert client.place == last
    assert client.is_open


@given(PLACES)
def test_answers_of_four_have_eight_bytes(place: Endpoint) -> None:
    """Whatever they say."""
    request = Request(4, Command.CONNECT, Target("a.example", 1))
    assert len(encode_granted(request, place)) == 8
    for refusal in Refusal:
        assert len(encode_refused(request, refusal)) == 8
