"""Commands in the network of a rootless node that runs, or is started for them."""

from collections.abc import Sequence

from meshnode.errors import HostError
from meshnode.host.guest import run_guest
from meshnode.manage.api_client import NotRunningError, call
from meshnode.manage.paths import Directories
from meshnode.node.running import await_mesh, stop_network


def run_in_network(
    network: str, directories: Directories, command: Sequence[str], *, resolver: str
) -> int:
    """Run *command* in the mesh; return its exit code.

    If no node of *network* runs, one is started without privileges, and ends with the
    command.

    Args:
        network: whose mesh.
        directories: where its files are.
        command: the program and its arguments.
        resolver: numeric address of who is asked for names; "" for the node's own
            resolver if it has one, else for whom the host asks.

    Raises:
        HostError: if the node is not rootless, or cannot be started or entered.
        ConfigError: if its configuration or identity cannot be used.
    """
    namespaces = _namespaces(network, directories)
    if namespaces is not None:
        resolver = resolver or _own_resolver(network, directories)
        return run_guest(namespaces, command, resolver=resolver)
    # It takes long to import, and a node that runs has done that.
    from meshnode.node.network import start_attached

    start_attached(network, directories)
    try:
        if call(directories, network, "peers")["peers"]:
            await_mesh(network, directories)
        namespaces = _namespaces(network, directories)
        if namespaces is None:
            raise HostError(f"the node of {network} ended just now: meshnode up")
        resolver = resolver or _own_resolver(network, directories)
        return run_guest(namespaces, command, resolver=resolver)
    finally:
        stop_network(network, directories)


def _namespaces(network: str, directories: Directories) -> tuple[str, str] | None:
    """Return where the network of a running node is entered, None if none runs."""
    try:
        found = call(directories, network, "hello").get("namespaces")
    except NotRunningError:
        return None
    if not found:
        raise HostError(
            f"the node of {network} has no network of its own: whatever runs on this "
            "host is in the mesh, so run the command as it is"
        )
    user, net = found
    return str(user), str(net)


def _own_resolver(network: str, directories: Directories) -> str:
    """Return where the node answers for names of members, "" if nowhere."""
    known = call(directories, network, "status").get("dns") or {}
    servers = known.get("servers") if known.get("resolver") else ()
    return str(servers[0]) if servers else ""
