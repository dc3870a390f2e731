"""The verbs `dns status` and `dns query` of the control socket.

A query goes to the node's own resolver, as any program's would: what it answers is
what the host's programs are answered, and if it is dead that is seen.
"""

from collections.abc import Awaitable, Callable, Mapping

from meshnode.errors import MeshnodeError
from meshnode.manage.toml_reader import Table, text
from meshnode.names.describe import describe_reply, make_query
from meshnode.names.forwarder import PORT, Forwarder
from meshnode.node.host_names import HostNames
from meshnode.types import Endpoint

Answered = Mapping[str, object]
Verb = Callable[[Table], Awaitable[Answered]]


class NoAnswerError(MeshnodeError):
    """The resolver does not answer."""

    exit_code = 4


class MeshNames:
    """Answers about names; *port* is where the resolver listens."""

    def __init__(self, names: HostNames, *, port: int = PORT) -> None:
        self._names = names
        self._port = port

    def verbs(self) -> dict[str, Verb]:
        """Return the functions that answer, by verb."""
        return {"dns status": self._status, "dns query": self._query}

    async def _status(self, args: Table) -> Answered:
        args.finish()
        return self._names.describe()

    async def _query(self, args: Table) -> Answered:
        name = args.get("name", text, None)
        kind = args.get("type", text, "A")
        args.finish()
        known = self._names.describe()
        if not known["resolver"]:
            raise MeshnodeError(
                "this node answers for no names: set resolver = true in the table [dns]"
            )
        # A name without a dot is a member's.
        whole = name if "." in name else f"{name}.{known['domain']}"
        query = make_query(whole, kind)
        servers = [Endpoint(host, self._port) for host in known["servers"]]
        reply = await Forwarder(lambda: servers).ask(query)
        found = None if reply is None else describe_reply(reply)
        if found is None:
            raise NoAnswerError(
                f"the resolver at {servers[0]} does not answer; see: meshnode status"
            )
        return {"name": query.text, "type": kind.upper(), **found}
