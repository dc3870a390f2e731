"""The verbs `dns status` and `dns query`, over a real resolver on loopback."""

from functools import partial
from typing import Any

import pytest
import trio

from meshnode.errors import MeshnodeError, UsageError
from meshnode.manage.toml_reader import Table
from meshnode.names import forwarder
from meshnode.names.dns_server import serve_names
from meshnode.node.mesh_names import MeshNames, NoAnswerError
from tests.unit.names.parts import TABLE

KNOWN: dict[str, Any] = {
    "domain": "home.mesh",
    "resolver": True,
    "servers": ["127.0.0.1"],
    "upstream": [],
}


class FakeHostNames:
    """Tells what is known."""

    def __init__(self) -> None:
        self.known = dict(KNOWN)

    def describe(self) -> dict[str, Any]:
        """Return it."""
        return self.known


def verbs(names: Any, port: int) -> Any:
    """Return the functions by verb."""
    return MeshNames(names, port=port).verbs()


async def ask(verb: Any, **args: object) -> dict[str, Any]:
    """Return the answer to a request."""
    return dict(await verb(Table(args, "dns")))


async def test_names_are_looked_up(nursery: trio.Nursery) -> None:
    """Without a dot it is a member's name; what is no name is told."""
    udp = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
    await udp.bind(("127.0.0.1", 0))
    port = udp.getsockname()[1]
    serve = partial(serve_names, [udp], [], table=lambda: TABLE)
    nursery.start_soon(serve)
    query = verbs(FakeHostNames(), port)["dns query"]
    found = await ask(query, name="Bert", type="aaaa")
    assert found == {
        "name": "bert.home.mesh",
        "type": "AAAA",
        "code": "NOERROR",
        "records": [
            {
                "name": "Bert.home.mesh",
                "type": "AAAA",
                "ttl": 60,
                "data": "fd11:2233:4455:1:2:3:4:5",
            }
        ],
    }
    assert (await ask(query, name="x"))["code"] == "NXDOMAIN"
    assert (await ask(query, name="www.example.org"))["code"] == "REFUSED"
    with pytest.raises(UsageError):
        await ask(query, name="a..b")
    nursery.cancel_scope.cancel()
    udp.close()


async def test_dead_resolver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one that nobody wants."""
    monkeypatch.setattr(forwarder, "TIMEOUT", 0.1)
    names = FakeHostNames()
    query = verbs(names, 1)["dns query"]
    with pytest.raises(NoAnswerError, match="does not answer"):
        await ask(query, name="bert")
    names.known["resolver"] = False
    with pytest.raises(MeshnodeError, match="resolver = true"):
        await ask(query, name="bert")


async def test_status_is_told() -> None:
    """As it is known."""
    status = verbs(FakeHostNames(), 1)["dns status"]
    assert await ask(status) == KNOWN
