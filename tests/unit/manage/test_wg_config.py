"""Files of wg-quick: read as `wg` would, refused where it would."""

import base64

import pytest

from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.errors import ConfigError
from meshnode.manage.config_values import HostPort
from meshnode.manage.wg_config import (
    MAX_CHARACTERS,
    WgConfig,
    WgPeer,
    parse_wg_config,
    serialise_device,
)
from meshnode.types import Prefix

PRIVATE = PrivateKey(bytes(range(32)))
KEYS = [PrivateKey(bytes((n,)) * 32).public_key() for n in range(1, 9)]
PSK = base64.b64encode(bytes(range(1, 33))).decode()

WHOLE = f"""
# The office.
[Interface]
PrivateKey = {PRIVATE.to_base64()}
Address = 10.0.0.1/24, fd00::1/64   # both
ListenPort = 51820
DNS = 1.1.1.1
PostUp = iptables -A FORWARD -i %i -j ACCEPT
PostUp = true

# laptop
[Peer]
PublicKey = {KEYS[0]}
PresharedKey = {PSK}
AllowedIPs = 10.0.0.2/32
AllowedIPs = 10.0.0.3/24, fd00::2
Endpoint = [2001:db8::1]:51820
PersistentKeepalive = 25

[peer]
publickey={KEYS[1]}
endpoint=vpn.Example.org:4500
persistentkeepalive=off
"""


def test_a_whole_file_is_read() -> None:
    """Case, blanks, comments and repeated keys are as `wg` takes them."""
    assert parse_wg_config(WHOLE) == WgConfig(
        private_key=PRIVATE,
        listen_port=51820,
        addresses=("10.0.0.1/24", "fd00::1/64"),
        peers=(
            WgPeer(
                KEYS[0],
                "laptop",
                PresharedKey(bytes(range(1, 33))),
                HostPort("2001:db8::1", 51820),
                tuple(map(Prefix.parse, ("10.0.0.2/32", "10.0.0.0/24", "fd00::2/128"))),
                25,
            ),
            WgPeer(KEYS[1], endpoint=HostPort("vpn.example.org", 4500)),
        ),
        left_out=("dns", "postup"),
    )


def test_secrets_are_not_shown() -> None:
    """Neither key is in the value's text."""
    shown = repr(parse_wg_config(WHOLE))
    assert PSK not in shown
    assert PRIVATE.to_base64() not in shown


def test_a_preshared_key_of_zeros_is_none() -> None:
    """As `wg` takes it."""
    zeros = base64.b64encode(bytes(32)).decode()
    text = f"[Peer]\nPublicKey={KEYS[0]}\nPresharedKey={zeros}\n"
    assert parse_wg_config(text).peers[0].preshared_key is None


@pytest.mark.parametrize(
    ("comment", "name"),
    [
        ("# laptop", "laptop"),
        ("#Name = Laptop-2", "laptop-2"),
        ("# name: phone", "phone"),
        ("# the laptop of my aunt", ""),
        ("", ""),
    ],
)
def test_a_comment_above_a_peer_names_it(comment: str, name: str) -> None:
    """If it is one name; others are for people."""
    text = f"{comment}\n[Peer]\nPublicKey = {KEYS[0]}\n"
    assert parse_wg_config(text).peers[0].name == name


def test_a_comment_names_only_what_follows_at_once() -> None:
    """A line between them makes it something else."""
    text = f"[Interface]\n# laptop\nListenPort=1\n[Peer]\nPublicKey={KEYS[0]}\n"
    assert parse_wg_config(text).peers[0].name == ""


PEER = f"[Peer]\nPublicKey = {KEYS[0]}\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ListenPort = 1", "line 1: it comes before"),
        ("[Interface]\nListenPort = 65536", "line 2: it has no port"),
        ("[Interface]\nListenPort = 1\nlistenport = 1", "line 3: the key is there"),
        ("[Interface]\nListenPort", "line 2: it is neither"),
        ("[Interface]\nListenPort =", "line 2: it is neither"),
        ("[Interface]\nAddress = 10.0.0.1/24,", "line 2: its list has an empty"),
        ("[Interface]\nAddress = 10.0.0.300", "line 2: it has no ADDRESS"),
        ("[Interface]\nAddress = fe80::1%eth0/64", "line 2: it has no ADDRESS"),
        ("[Interface]\nPublicKey = x", "line 2: it is no key of"),
        ("[Interface]\n[Interface]", "line 2: .Interface. is there twice"),
        ("[Interfaces]", "line 1: it is no section"),
        ("[Peer]\nAllowedIPs = 10.0.0.0/8", "a peer|the peer"),
        ("[Peer]\n[Peer]", "line 2: the peer that ends here has no PublicKey"),
        (f"{PEER}{PEER}", "is there twice"),
        (f"{PEER}PublicKey = {KEYS[1]}", "line 3: the key is there twice"),
        (f"{PEER}PersistentKeepalive = 65536", "line 3: it has neither"),
        (f"{PEER}Endpoint = 192.0.2.1", "line 3: its endpoint is not"),
        (f"{PEER}AllowedIPs = ten", "line 3: 'ten' is not an IP prefix"),
        (f"{PEER}Colour = red", "line 3: it is no key of"),
        (f"{PEER}Endpoint = a\x00b:1", "line 3: it has a character"),
        ("#" * (MAX_CHARACTERS + 1), "more than"),
    ],
)
def test_what_wg_refuses_is_refused(text: str, problem: str) -> None:
    """With the line and what is wrong there."""
    with pytest.raises(ConfigError, match=problem):
        parse_wg_config(text)


@pytest.mark.parametrize("key", ["PrivateKey", "PresharedKey"])
def test_a_damaged_secret_is_not_repeated(key: str) -> None:
    """An error may end up in a log."""
    secret = PRIVATE.to_base64()[:-2]
    section = "[Interface]" if key == "PrivateKey" else "[Peer]"
    with pytest.raises(ConfigError) as refused:
        parse_wg_config(f"{section}\n{key} = {secret}\n")
    assert secret[:8] not in str(refused.value)


def test_too_many_peers_are_refused() -> None:
    """Before they cost anything."""
    text = "".join(
        f"[Peer]\nPublicKey={PublicKey(n.to_bytes(32, 'big'))}\n" for n in range(1026)
    )
    with pytest.raises(ConfigError, match="more than 1024 peers"):
        parse_wg_config(text)


@pytest.mark.parametrize("private_key", [PRIVATE, None])
def test_a_device_gets_a_file_that_can_be_read_again(
    private_key: PrivateKey | None,
) -> None:
    """What is written says what was asked for."""
    text = serialise_device(
        private_key=private_key,
        addresses=("10.0.0.9/32", "fd00::9/128"),
        peer_key=str(KEYS[0]),
        endpoint="vpn.example.org:51820",
        allowed_ips=("10.0.0.0/8", "fd00::/8"),
        keepalive=25,
    )
    assert parse_wg_config(text) == WgConfig(
        private_key=private_key,
        addresses=("10.0.0.9/32", "fd00::9/128"),
        peers=(
            WgPeer(
                KEYS[0],
                endpoint=HostPort("vpn.example.org", 51820),
                allowed_ips=tuple(map(Prefix.parse, ("10.0.0.0/8", "fd00::/8"))),
                keepalive=25,
            ),
        ),
    )


def test_a_device_may_not_know_where_its_gateway_is() -> None:
    """Then there is no line for it."""
    text = serialise_device(
        private_key=None,
        addresses=("10.0.0.9/32",),
        peer_key=str(KEYS[0]),
        endpoint="",
        allowed_ips=("10.0.0.0/8",),
        keepalive=25,
    )
    assert "Endpoint" not in text
