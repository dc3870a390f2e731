"""Every verb of the control socket: its result, and what it refuses."""

import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from meshnode.codec.records import Role
from meshnode.crypto.keys import PrivateKey, PublicKey
from meshnode.errors import ConfigError, MeshnodeError
from meshnode.host.dns import DnsPlanner
from meshnode.host.journal import Journal
from meshnode.manage.api_protocol import Request
from meshnode.manage.api_server import EventStream
from meshnode.manage.config_values import DnsSettings
from meshnode.mesh.pings import Answer
from meshnode.mesh.refusal import RecordRefused, Refusal
from meshnode.mesh.requests import Request as PaperRequest
from meshnode.mesh.requests import parse_bundle, serialise_request
from meshnode.mesh.token import parse_token
from meshnode.node import mesh_api
from meshnode.node.host_names import HostNames
from meshnode.node.mesh_admin import MeshAdmin, NoSuchMemberError, NotIssuerError
from meshnode.node.mesh_api import MeshApi
from meshnode.node.mesh_capture import MeshCapture
from meshnode.node.name_table import NameBook
from meshnode.types import Endpoint, Prefix
from tests.unit.mesh.node_parts import DAY
from tests.unit.node.shell_parts import Shell

LAN = "192.168.7.0/24"


class Client:
    """Asks the founder's API."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.places: tuple[str, ...] = ("gate.example.org:51820",)
        self.needs_restart: list[str] = []
        self.steering: Any = SimpleNamespace(
            verbs=dict, trace=lambda *_: {"rule": 2, "via": "direct"}
        )
        self.names = HostNames(
            shell.shell,
            NameBook(shell.shell),
            DnsPlanner(Journal(-1, Path("/nonexistent"))),
            DnsSettings(),
            interface="mesh",
        )
        self.api = MeshApi(
            shell.shell,
            admin=MeshAdmin(
                shell.shell, entropy=os.urandom, places=lambda: self.places
            ),
            device=shell.driver.status,
            facts={"interface": "mesh", "engine": "reference", "mtu": 1420, "pid": 1},
            drops=lambda: {"unknown type": 3},
            offloads=lambda: {"tun-tcp": {"state": "reads"}},
            mappings=lambda: [{"router": "192.0.2.254:5351"}],
            steering=self.steering,
            reload=self._reload,
            capture=MeshCapture(
                shell.shell.node, shell.engine, -1, memoryview(bytearray(0)), 51820
            ),
            proxies={},
            names=self.names,
        )

    async def _reload(self) -> list[str]:
        return self.needs_restart

    async def stream(self, verb: str) -> EventStream:
        """Ask for a stream."""
        found = await self.api.handle(Request(verb))
        assert isinstance(found, EventStream)
        return found

    async def ask(self, verb: str, **args: Any) -> dict[str, Any]:
        """Ask for a result, as it goes through JSON."""
        found = await self.api.handle(Request(verb, json.loads(json.dumps(args))))
        assert not isinstance(found, EventStream)
        plain: dict[str, Any] = json.loads(json.dumps(dict(found)))
        return plain

    async def add(self, name: str, **args: Any) -> bytes:
        """Add a stock member; return its key."""
        key = PrivateKey(self.shell.world.rng.randbytes(32)).public_key()
        await self.ask("peer add", name=name, key=str(key), **args)
        return key.raw


@pytest.fixture
def client(
    rng: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Client]:
    """The founder's API; its host is at once what it is to be."""
    shell = Shell(rng, tmp_path, monkeypatch)
    shell.start()

    async def at_once() -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(shell.shell, "await_plans", at_once)
    yield Client(shell)
    shell.close()


async def test_hello_tells_whether_it_is_ready(client: Client) -> None:
    """The overlay's addresses are there then."""
    assert not (await client.ask("hello"))["isReady"]
    client.shell.shell.is_ready = True
    found = await client.ask("hello")
    assert found == {
        "isReady": True,
        "isInTouch": False,
        "interface": "mesh",
        "engine": "reference",
        "mtu": 1420,
        "pid": 1,
    }


async def test_status_has_everything(client: Client) -> None:
    """Of the mesh, of the interface, and of the packets dropped."""
    found = await client.ask("status")
    assert found["name"] == "founder"
    assert found["port"] == client.shell.driver.status().listen_port
    assert found["sessions"] == 0
    assert found["drops"] == {"unknown type": 3}
    assert found["offload"] == {"tun-tcp": {"state": "reads"}}
    assert found["portMappings"] == [{"router": "192.0.2.254:5351"}]
    assert found["candidates"] == [
        {"endpoint": f"192.0.2.5:{found['port']}", "kind": "local"}
    ]


async def test_peers_and_routes_are_listed(client: Client) -> None:
    """A stock member is one, and carries nothing."""
    await client.add("phone")
    (peer,) = (await client.ask("peers"))["peers"]
    assert peer["name"] == "phone"
    assert peer["roles"] == ["stock"]
    assert (await client.ask("routes"))["routes"] == []


@pytest.mark.parametrize(
    "verb",
    ["hello", "status", "peers", "routes", "watch", "metrics", "reload", "stop"],
)
async def test_unknown_argument_is_refused(client: Client, verb: str) -> None:
    """A command of another version must not be half obeyed."""
    with pytest.raises(ConfigError, match="no known key"):
        await client.ask(verb, novelty=1)


async def test_unknown_verb_is_refused(client: Client) -> None:
    """With what to do."""
    with pytest.raises(MeshnodeError, match="another version"):
        await client.ask("dance")


async def test_ping_tells_the_round_trip(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the path, or that nobody answered."""
    key = await client.add("phone")
    asked: list[float] = []
    answer = Answer(1, key, 0.25, Endpoint("192.0.2.1", 5))

    def ping(key: bytes, *, timeout: float, on_answer: Any) -> None:
        asked.append(timeout)
        on_answer(answer)

    monkeypatch.setattr(client.shell.shell, "ping", ping)
    found = await client.ask("ping", peer="phone", timeout=2)
    assert (found["seconds"], found["endpoint"]) == (0.25, "192.0.2.1:5")
    assert asked == [2.0]
    answer = Answer(2, key, None, None)
    found = await client.ask("ping", peer=found["ipv4"])
    assert (found["seconds"], found["endpoint"]) == (None, None)


async def test_ping_needs_somebody_else(client: Client) -> None:
    """Not ourselves, not a stranger, and not for ever."""
    with pytest.raises(NoSuchMemberError, match="no member 'nobody'"):
        await client.ask("ping", peer="nobody")
    with pytest.raises(NoSuchMemberError, match="this node itself"):
        await client.ask("ping", peer="founder")
    for timeout in (0, -1, 61, "5", True, None, float("inf")):
        with pytest.raises(ConfigError, match="timeout"):
            await client.ask("ping", peer="founder", timeout=timeout)


async def test_watch_streams_events(client: Client) -> None:
    """From now on, each with its time; and ends when nobody reads."""
    before = dict(client.shell.shell._watchers)
    stream = await client.stream("watch")
    client.shell.shell.complain("thing", "bad")
    line = await stream._next_line()
    assert line is not None
    event = json.loads(line)["event"]
    assert event["event"] == "healthChanged"
    assert event["text"] == "bad"
    assert event["at"] > 0
    stream._close()
    client.shell.shell.complain("thing", "")
    assert client.shell.shell._watchers == before


async def test_metrics_are_text(client: Client) -> None:
    """What Prometheus reads."""
    assert "meshnode_" in (await client.ask("metrics"))["text"]


async def test_reload_tells_what_needs_a_restart(client: Client) -> None:
    """It reads the configuration itself."""
    client.needs_restart = ["mtu"]
    assert await client.ask("reload") == {"restartNeeded": ["mtu"]}


async def test_stop_ends_the_supervisor_and_nobody_else(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the reply; if it has died meanwhile, our parent is another's."""
    killed: list[tuple[int, int]] = []
    done = trio.Event()

    def kill(process: int, number: int) -> None:
        killed.append((process, number))
        done.set()

    monkeypatch.setattr("meshnode.node.mesh_api.os.kill", kill)
    assert (await client.ask("stop"))["pid"] == 1
    assert killed == []
    with trio.fail_after(5):
        await done.wait()
        await mesh_api._stop_soon(os.getppid() + 1)
    assert killed == [(os.getppid(), signal.SIGTERM)]


# --- what an administrator asks ---


async def test_invite_is_a_token_for_this_issuer(client: Client) -> None:
    """Its private half is nowhere else; it is listed, and can be revoked."""
    expires = client.shell.world.began + DAY
    made = await client.ask("invite create", expires=expires, uses=3)
    token = parse_token(made["token"])
    assert token.issuer_key == client.shell.node.key
    assert token.endpoints == client.places
    assert token.network == "home"
    assert str(token.invite_private.public_key()) == made["key"]
    (listed,) = (await client.ask("invite list"))["invites"]
    assert (listed["key"], listed["state"], listed["uses"]) == (made["key"], "open", 3)
    assert len(client.shell.store.load().invites) == 1
    await client.ask("invite revoke", key=made["key"][:8])
    (listed,) = (await client.ask("invite list"))["invites"]
    assert listed["state"] == "revoked"


async def test_invite_needs_a_place_and_a_grant(client: Client) -> None:
    """An invite nobody could use is not made."""
    expires = client.shell.world.began + DAY
    with pytest.raises(ConfigError, match="grant the group"):
        await client.ask("invite create", expires=expires, groups=["kings"])
    with pytest.raises(ConfigError, match="is no role"):
        await client.ask("invite create", expires=expires, roles=["king"])
    with pytest.raises(ConfigError, match="expires"):
        await client.ask("invite create")
    with pytest.raises(ConfigError, match="no invite begins"):
        await client.ask("invite revoke", key="x")
    client.places = ()
    with pytest.raises(ConfigError, match="--advertise"):
        await client.ask("invite create", expires=expires)
    assert client.shell.store.load().invites == ()


async def test_request_gets_a_bundle(client: Client) -> None:
    """With all that a node needs to begin; another name may be given."""
    host = client.shell.world.host("alpha")
    asked = PaperRequest("alpha", host.key, host.signing.public)
    request = serialise_request(asked, host.signing)
    found = await client.ask("cert issue", request=request, name="beta")
    bundle = parse_bundle(found["bundle"])
    assert found["name"] == "beta"
    assert bundle.charters == client.shell.node.trust.chain()
    assert bundle.contacts[0].key == client.shell.node.key
    assert len(client.shell.store.load().issued) == 1
    with pytest.raises(MeshnodeError):
        await client.ask("cert issue", request="rubbish")


async def test_grant_adds_to_what_a_member_has(client: Client) -> None:
    """For ourselves it holds at once."""
    found = await client.ask("cert grant", member="founder", subnets=[LAN])
    assert found == {"name": "founder"}
    own = client.shell.node.own.certificate
    assert Prefix.parse(LAN) in own.subnets
    assert Prefix.parse("192.168.1.0/24") in own.subnets
    assert Role.RENDEZVOUS in own.roles
    with pytest.raises(NoSuchMemberError):
        await client.ask("cert grant", member="nobody")


async def test_revoked_member_is_gone(client: Client) -> None:
    """By name or key; we cannot revoke ourselves."""
    key = await client.add("phone")
    found = await client.ask("cert revoke", member="phone")
    assert found["key"] == str(PublicKey(key))
    assert (await client.ask("peers"))["peers"] == []
    other = await client.add("tablet")
    await client.ask("cert revoke", member=str(PublicKey(other)), reason="lost")
    assert (await client.ask("peers"))["peers"] == []
    with pytest.raises(ConfigError, match="does not revoke itself"):
        await client.ask("cert revoke", member="founder")
    with pytest.raises(ConfigError, match="certified no member"):
        await client.ask("cert revoke", member=str(PublicKey(bytes(31) + b"\1")))
    third = await client.add("third")
    with pytest.raises(ConfigError, match="printable"):
        await client.ask("cert revoke", member=str(PublicKey(third)), reason="ü")


async def test_renew_tells_the_end_there_was(client: Client) -> None:
    """A later one comes by itself."""
    before = client.shell.node.own.certificate.not_after
    assert (await client.ask("cert renew"))["notAfter"] == before


async def test_policy_is_checked_applied_and_shown(client: Client) -> None:
    """Each time with the next version."""
    assert await client.ask("policy show") == {"version": 0, "text": ""}
    text = 'default = "deny"\n[[rule]]\nfrom=["ghost"]\nto=["*"]\nallow=["any"]\n'
    checked = await client.ask("policy check", text=text)
    assert "ghost" in checked["warnings"][0]
    applied = await client.ask("policy apply", text=text)
    assert applied["version"] == 1
    assert await client.ask("policy show") == {"version": 1, "text": text}
    assert (await client.ask("policy apply", text=""))["version"] == 2
    for bad in ("what = 1", "x" * 70_000):
        with pytest.raises(ConfigError):
            await client.ask("policy apply", text=bad)
    assert (await client.ask("policy show"))["version"] == 2


async def test_stock_member_gets_what_its_file_needs(client: Client) -> None:
    """Addresses, whom to speak to, and what lies behind."""
    key = PrivateKey(client.shell.world.rng.randbytes(32)).public_key()
    found = await client.ask("peer add", name="phone", key=str(key))
    assert found["peerKey"] == str(PublicKey(client.shell.node.key))
    assert found["endpoints"] == list(client.places)
    assert "10.9.0.0/16" in found["allowedIps"]
    assert len(found["addresses"]) == 2
    with pytest.raises(ConfigError, match="taken"):
        await client.add("phone")
    with pytest.raises(NoSuchMemberError):
        await client.add("tablet", gateways=["nobody"])


async def test_who_is_no_issuer_says_so(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And changes nothing."""
    monkeypatch.setattr(client.shell.node, "office", None)
    calls: dict[str, dict[str, Any]] = {
        "invite create": {"expires": 1},
        "invite list": {},
        "invite revoke": {"key": "x"},
        "cert issue": {"request": "x"},
        "cert grant": {"member": "founder"},
        "cert revoke": {"member": "founder"},
        "policy apply": {"text": ""},
        "peer add": {"name": "x", "key": "x"},
    }
    for verb, args in calls.items():
        with pytest.raises(NotIssuerError, match="no issuer"):
            await client.ask(verb, **args)


async def test_what_the_network_refuses_is_an_error_for_the_user(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer may not have the role for policies."""

    def refuse(data: bytes, **times: float) -> None:
        raise RecordRefused(Refusal.ROLE_NOT_GRANTED)

    monkeypatch.setattr(client.shell.node, "publish_policy", refuse)
    with pytest.raises(ConfigError, match="the network would refuse it"):
        await client.ask("policy apply", text="")


async def test_exits_are_told_with_what_is_in_force(client: Client) -> None:
    """Whoever asked for an exit sees whether the host follows already."""
    told = await client.ask("exit")
    assert (told["use"], told["inUse"], told["exits"]) == ([], None, [])
    assert told["isInForce"] is False
    assert told["health"] == []
    assert (await client.ask("status"))["exit"]["killSwitch"] is False
