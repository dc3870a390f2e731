"""Which cipher is on the wire between real nodes, and that all packets arrive."""

from pathlib import Path

import pytest

from tests.e2e.capture import Capture
from tests.e2e.mesh_parts import MeshHost, Site, await_acquainted
from tests.unit.dataplane.reference.halves import needs_aes
from topology.hosts import Lab, wait_until

pytestmark = [pytest.mark.root, needs_aes]

AES, CHACHA = "aes-256-gcm", "chacha20-poly1305"
DATA, AES_DATA = 4, 8
RELAYED, PROBE = 5, 6
COUNT = 40


def mesh(lab: Lab, **ciphers: str) -> list[MeshHost]:
    """Make a network of hosts with these settings; the first one founds it."""
    site = Site(lab)
    hosts = [site.host(name) for name in ciphers]
    founder, *others = hosts
    founder.found()
    founder.configure(cipher=ciphers[founder.name])
    founder.up()
    for host in others:
        words = ("join", "-", "--name", host.name, "--no-up")
        host.run(*words, stdin=founder.invite())
        host.configure(cipher=ciphers[host.name])
        host.up()
    await_acquainted(hosts)
    return hosts


def exchange(one: MeshHost, other: MeshHost) -> None:
    """Let two exchange packets of many sizes; none may be lost."""
    one.pings(other)
    for size in (0, 56, 1300, 4000):
        one.host.run(f"ping -n -q -c {COUNT} -i 0.01 -W 5 -s {size} {other.address}")


def cipher_between(one: MeshHost, other: MeshHost) -> tuple[str, str]:
    """Return what each sends the other under."""
    return tuple(a.peers()[b.name]["cipher"] for a, b in ((one, other), (other, one)))


def kinds_of(capture: Capture, source: str, destination: str) -> list[int]:
    """Return the types that went there, but for probes and what a relay carries."""
    kinds = capture.kinds(source, destination)
    return [kind for kind in kinds if kind not in (RELAYED, PROBE)]


def test_two_that_prefer_aes_use_it_and_the_third_does_not(
    lab: Lab, tmp_path: Path
) -> None:
    """On the wire, both ways; no packet is lost when the cipher changes."""
    anna, bert, carl = mesh(lab, anna="auto", bert="auto", carl=CHACHA)
    capture = Capture(anna.port, tmp_path)
    for one, other in ((anna, bert), (anna, carl), (carl, anna)):
        exchange(one, other)
    wait_until(
        lambda: cipher_between(anna, bert) == (AES, AES), "both of them send AES"
    )
    exchange(bert, anna)
    capture.end()
    v4 = {host.name: host.port.v4 for host in (anna, bert, carl)}
    for one, other in (("anna", "bert"), ("bert", "anna")):
        kinds = kinds_of(capture, v4[one], v4[other])
        assert set(kinds) <= {1, 2, DATA, AES_DATA, 7}
        assert kinds[-4 * COUNT :] == [AES_DATA] * 4 * COUNT
    for one, other in (("anna", "carl"), ("carl", "anna")):
        kinds = kinds_of(capture, v4[one], v4[other])
        assert kinds.count(DATA) > 4 * COUNT
        assert AES_DATA not in kinds
    assert cipher_between(anna, carl) == (CHACHA, CHACHA)
    table = anna.run("peers").stdout.splitlines()
    assert [line.split()[-1] for line in table] == ["CIPHER", AES, CHACHA]


def test_settings_count_from_the_next_session_on(lab: Lab, tmp_path: Path) -> None:
    """Who comes back without AES is not sent any, by whoever remembers it."""
    anna, bert = mesh(lab, anna="auto", bert="auto")
    exchange(anna, bert)
    wait_until(
        lambda: cipher_between(anna, bert) == (AES, AES), "both of them send AES"
    )
    bert.down()
    bert.configure(cipher=CHACHA)
    bert.up()
    anna.pings(bert)
    capture = Capture(anna.port, tmp_path)
    exchange(anna, bert)
    exchange(bert, anna)
    capture.end()
    for one, other in ((anna, bert), (bert, anna)):
        kinds = kinds_of(capture, one.port.v4, other.port.v4)
        assert kinds.count(DATA) > 4 * COUNT
        assert AES_DATA not in kinds
    assert cipher_between(anna, bert) == (CHACHA, CHACHA)
    for host in (anna, bert):
        host.down()
