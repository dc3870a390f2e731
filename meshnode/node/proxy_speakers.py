"""Who serves the listeners of a plan: protocols, outlets, users and rules."""

import ipaddress
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import trio

from meshnode.codec.proxies import Credentials
from meshnode.codec.proxy_link import PlannedListener, ProxyPlan
from meshnode.crypto.passwords import PasswordHash
from meshnode.manage.proxy_text import is_private, parse_place
from meshnode.proxy.credentials import CredentialCheck
from meshnode.proxy.direct_outlet import Direct
from meshnode.proxy.exit_rules import Address, ExitRules, is_beyond_host
from meshnode.proxy.http_changes import HeaderChanges
from meshnode.proxy.http_pac import pac_file
from meshnode.proxy.http_rules import RuleBook
from meshnode.proxy.http_server import HttpOptions, serve_http
from meshnode.proxy.listener_server import Client, Serve, Speakers
from meshnode.proxy.mesh_names import ZONE, MeshNames
from meshnode.proxy.mesh_outlet import MeshFirst
from meshnode.proxy.outlets import Outlet
from meshnode.proxy.ruled_outlet import RuledOutlet
from meshnode.proxy.socks_outlet import ViaSocks
from meshnode.proxy.socks_server import serve_socks
from meshnode.proxy.users import Users
from meshnode.types import Prefix, Target

_EVERYTHING: Final = (Prefix(4, 0, 0), Prefix(6, 0, 0))

Check = Callable[[str], CredentialCheck | None]
"""Gives what judges the users at one host; None lets everybody in."""


class ProxySpeakers:
    """Makes the speakers of listeners; what is known of passwords stays."""

    def __init__(self) -> None:
        self._users = Users()
        # Our name in Via: two processes must not take each other for themselves.
        self._via = f"meshnode-{secrets.token_hex(8)}"

    def __call__(self, plan: ProxyPlan, listener: PlannedListener | None) -> Speakers:
        """Return who serves *listener*, or with None the service of an exit.

        Raises:
            ConfigError: if a rule or a hash is none.
        """
        names = _names_of(plan)
        if listener is None:
            rules = _exit_rules(plan)
            service = Direct(resolve=names.resolve, permits=rules.permits)
            return Speakers(socks=_socks(service, lambda host: None))
        outlet = _outlet(listener, names)
        book = RuleBook(listener.allow, listener.deny)
        check = self._check(listener)
        socks = _socks(RuledOutlet(outlet, book.permits), check)
        http = self._http(outlet, check, book, plan, listener)
        return Speakers(
            socks=socks if listener.kind != "http" else None,
            http=http if listener.kind != "socks" else None,
        )

    def _check(self, listener: PlannedListener) -> Check:
        if listener.users is None:
            return lambda host: None
        users: Mapping[str, PasswordHash] = {
            user.name: PasswordHash.parse(user.known) for user in listener.users
        }
        return partial(self._users.check, lambda: users)

    def _http(
        self,
        outlet: Outlet,
        check: Check,
        rules: RuleBook,
        plan: ProxyPlan,
        listener: PlannedListener,
    ) -> Serve:
        # Through an exit goes everything; else what only the mesh has.
        prefixes = plan.overlay if listener.exits is None else _EVERYTHING
        zone = f"{plan.network}.{ZONE}"
        changes = HeaderChanges.parse(listener.set_headers, listener.remove_headers)

        async def serve(client: Client) -> None:
            here = _place_of(client.stream)
            pac = None
            if here:
                pac = partial(pac_file, here, prefixes, [zone])
            await serve_http(
                client.stream,
                outlet=outlet,
                credentials=check(client.host),
                rules=lambda: rules,
                options=HttpOptions(self._via, pac, changes),
                first=client.first,
                traffic=client.traffic,
            )

        return serve


def _socks(outlet: Outlet, check: Check) -> Serve:
    async def serve(client: Client) -> None:
        await serve_socks(
            client.stream,
            outlet=outlet,
            credentials=check(client.host),
            first=client.first,
            traffic=client.traffic,
        )

    return serve


def _names_of(plan: ProxyPlan) -> MeshNames:
    members = {
        one.name: (
            str(ipaddress.IPv4Address(one.ipv4)),
            str(ipaddress.IPv6Address(one.ipv6)),
        )
        for one in plan.members
    }
    return MeshNames(plan.network, plan.overlay, members)


def _exit_rules(plan: ProxyPlan) -> ExitRules:
    assert plan.exit is not None
    return ExitRules(plan.exit.own, plan.overlay, plan.exit.announced)


def _outlet(listener: PlannedListener, names: MeshNames) -> Outlet:
    # Who comes from elsewhere is not on this host, and must not be at its loopback.
    is_local = is_private(parse_place(listener.place))
    permits = _anywhere if is_local else is_beyond_host
    direct = Direct(resolve=names.resolve, permits=permits)
    if listener.exits is None:
        return direct
    # Should none be known, nothing gets out: better than another way than was asked.
    exits = [Target(one.host, one.port) for one in listener.exits]
    return MeshFirst(direct, ViaSocks(exits, Credentials()), names.has)


def _anywhere(address: Address) -> bool:
    return True


def _place_of(stream: trio.SocketStream) -> str:
    """Return where the client reached us, "" if that is no address."""
    name = stream.socket.getsockname()
    if not isinstance(name, tuple):
        return ""
    return str(Target(str(name[0]).partition("%")[0], int(name[1])))
