"""The kill switch: its text, and that the kernel takes it."""

import shutil
import subprocess

import pytest

from meshnode.errors import HostError
from meshnode.host import nft
from meshnode.host.lock import (
    Lock,
    has_lock,
    lift_lock,
    lock_name,
    lock_text,
    put_lock,
)
from meshnode.types import Prefix

LAN = tuple(
    map(Prefix.parse, ("192.168.0.0/16", "192.168.1.0/24", "fd00::/64", "fd00:1::/64"))
)
LOCK = Lock("home-lab", "mesh0", 0x6D6E, LAN)


def test_all_that_leaves_is_listed() -> None:
    """The tunnel, our mark, the LAN, and what keeps the host on its link."""
    lines = [line.strip() for line in lock_text(LOCK).splitlines()]
    at = lines.index("chain leave {")
    assert lines[at + 1] == "type filter hook postrouting priority 300; policy accept;"
    rules = lines[at + 2 : lines.index("}", at)]
    assert rules[:4] == [
        'oifname { "mesh0", "lo" } accept',
        "meta mark 0x6d6e accept",
        "ip daddr { 192.168.0.0/16 } accept",
        "ip6 daddr { fd00::/64, fd00:1::/64 } accept",
    ]
    assert rules[-1] == "counter drop"
    assert [rule.split()[0] for rule in rules[4:-1]] == ["udp", "ip6", "icmpv6", "ip6"]
    assert "daddr" not in lock_text(Lock("a", "a", 1)).split("mark 0x1 accept")[1][:40]


def test_table_is_exchanged_whole() -> None:
    """In one load, so that there is no moment without it."""
    name = lock_name("home-lab")
    assert name == "meshnode_home_lab_lock"
    assert lock_text(LOCK).startswith(
        f"add table inet {name}\ndelete table inet {name}\ntable inet {name} {{\n"
    )


def test_it_is_put_seen_and_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By one table of that name."""
    tables: set[str] = set()

    def load(text: str) -> None:
        if "table inet meshnode_home_lab_lock {" in text:
            tables.add("meshnode_home_lab_lock")
        else:
            tables.clear()

    monkeypatch.setattr(nft, "load", load)
    monkeypatch.setattr(nft, "has_table", lambda name: name in tables)
    put_lock(LOCK)
    assert has_lock("home-lab")
    assert not has_lock("home")
    assert lift_lock("home-lab")
    assert not lift_lock("home-lab")


def test_a_refusal_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may think that it stands."""

    def refuse(text: str) -> None:
        raise HostError("cannot load firewall rules: no")

    monkeypatch.setattr(nft, "load", refuse)
    with pytest.raises(HostError, match="cannot load"):
        put_lock(LOCK)


@pytest.mark.root
@pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft")
def test_the_kernel_takes_it() -> None:
    """Twice, with prefixes that overlap, in a namespace of its own."""
    text = lock_text(LOCK)
    command = ["unshare", "-n", "nft", "-f", "-"]
    subprocess.run(command, input=text + text, text=True, check=True, timeout=20)
