"""Put the mesh of one network together inside the control process.

Made before privileges matter any more: everything it opens is the node's own. What
the configuration says is turned into what the pure core understands: names resolved,
routes split into what is announced and how it is carried out.
"""

import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import trio

from meshnode.codec.records import Role, Route
from meshnode.crypto.keys import PresharedKey
from meshnode.dataplane.ciphers import preferred_ciphers
from meshnode.errors import ConfigError
from meshnode.forwarding import MAX_INNER
from meshnode.host.clock import boottime
from meshnode.host.dns import DnsPlanner
from meshnode.host.inside import Inside
from meshnode.host.journal import Journal
from meshnode.host.plan import HostPlanner, Planner
from meshnode.host.plan_inside import InsidePlanner
from meshnode.host.privileges import CARRIER_GROUP
from meshnode.host.underlay import largest_inner, links_of_host
from meshnode.hostplan import Announced, DnsManager
from meshnode.manage.api_server import serve_api
from meshnode.manage.config_values import DnsSettings, HostPort, NetworkConfig
from meshnode.manage.contacts import load_contacts
from meshnode.manage.delegated import load_delegated
from meshnode.manage.identity import load_identity
from meshnode.manage.metrics import node_metrics
from meshnode.manage.metrics_server import serve_metrics
from meshnode.manage.network_config import load_config
from meshnode.manage.paths import Directories
from meshnode.manage.state import FILE_NAME, StateStore
from meshnode.mesh.describe import complaints
from meshnode.mesh.engine_tunnels import EngineTunnels
from meshnode.mesh.node import MeshNode
from meshnode.mesh.routes import ACCEPT_ALL, ACCEPT_NONE
from meshnode.mesh.settings import NodeSettings
from meshnode.node.driver import Driver
from meshnode.node.exit_lock import full_tunnel_of
from meshnode.node.host_names import HostNames
from meshnode.node.mesh_admin import MeshAdmin
from meshnode.node.mesh_api import MeshApi
from meshnode.node.mesh_capture import MeshCapture
from meshnode.node.mesh_shell import MeshShell
from meshnode.node.mesh_steer import MeshSteer
from meshnode.node.name_table import NameBook
from meshnode.node.nat64_finder import Nat64Finder
from meshnode.node.proxy_keeper import ProxyKeeper
from meshnode.node.reserved import (
    fwmark_of,
    steering_mark_of,
    steering_tables_of,
    table_of,
)
from meshnode.node.shared import drop_counts, offload_states
from meshnode.node.steer_keeper import SteerKeeper
from meshnode.node.steer_plan import Ground
from meshnode.node.surroundings import Surroundings
from meshnode.node.tasks import ControlTask
from meshnode.node.tls_detours import TlsDetours
from meshnode.types import Endpoint, Prefix
from meshnode.wireguard.config import PeerChange
from meshnode.wireguard.engine import Engine

_RESOLVE_AGAIN: Final = 30.0
"""Seconds between two looks whether contacts that have names still answer."""

_RESOLVE_TIMEOUT: Final = 5.0
"""Seconds that a reload waits for names."""

_AT_START: Final = (
    *("interface", "listen_port", "mtu", "max_mtu", "table", "fwmark", "engine"),
    *("workers", "offload", "port_mapping", "lan_discovery", "tls"),
)
"""What of a configuration takes effect when a node starts."""

_log = logging.getLogger("meshnode.node")


class MeshControl:
    """The mesh of the network that *task* names, over *engine*.

    A rootless node's interface is *inside* a network of its own.

    Raises:
        ConfigError: if its configuration, keys or state cannot be used.
        HostError: if the state is another node's, or cannot be opened.
    """

    def __init__(
        self,
        task: ControlTask,
        engine: Engine,
        *,
        counters: memoryview,
        tap: memoryview,
        inside: Inside | None = None,
    ) -> None:
        self._task = task
        self._engine = engine
        self._tap = tap
        self._inside = inside
        self._journal = Journal(task.journal_fd, task.journal_path)
        self._directories = Directories(
            task.config_dir, task.state_dir, task.run_dir, task.uapi_dir
        )
        self._network = task.network
        self._config = load_config(self._directories.config_file(task.network))
        self._started_with = self._config
        self._counters = counters
        self._max_mtu = _max_mtu(self._config)
        engine.limit_padding(self._config.mtu)
        self._proxies: ProxyKeeper | None = None
        self._steering: SteerKeeper | None = None
        self._resolved: dict[HostPort, tuple[Endpoint, ...]] = {}
        self._resolve_numeric(self._config)
        state_dir = self._directories.state_dir(task.network)
        identity = load_identity(state_dir)
        store = StateStore.open(state_dir / FILE_NAME)
        self._port = _port_of(task.udp4_fds[0])
        tunnels = EngineTunnels(engine)
        node = MeshNode(
            identity,
            self._settings(self._config),
            store.load(),
            tunnels=tunnels,
            entropy=os.urandom,
            now=boottime(),
            wall=time.time(),
        )
        planner: Planner
        if inside is None:
            planner = HostPlanner(self._journal)
            self._mark = fwmark_of(self._config)
        else:
            # What is inside routes nothing that we send outside.
            planner, self._mark = InsidePlanner(inside), 0
        self.shell = MeshShell(
            node,
            tunnels=tunnels,
            engine=engine,
            store=store,
            planner=planner,
            interface=task.interface,
            fwmark=self._mark,
        )
        self.book = NameBook(self.shell)
        self.names = HostNames(
            self.shell,
            self.book,
            DnsPlanner(self._journal),
            self._dns(self._config),
            interface=task.interface,
        )

    def start(self, driver: Driver) -> None:
        """Begin: the engine knows what it knew before."""
        # Noted first: else those that an earlier control process had would be parted.
        self.shell.set_wireguard_peers(self._wireguard_peers(self._config)[0])
        self.shell.start(driver)
        self._tell_delegated()
        self._tell_wireguard()
        self._tell_contacts()

    def close(self) -> None:
        """Close what is ours."""
        self.shell.close()

    async def serve(
        self,
        driver: Driver,
        on_ready: Callable[[], None],
        want_tls: Callable[[], None],
        want_proxy: Callable[[], None],
        want_carrier: Callable[[], None],
    ) -> None:
        """Run everything of the mesh until cancelled; *on_ready* is called once.

        *want_tls* lets the process that speaks TLS be started, *want_proxy* the one
        that serves applications, *want_carrier* that which carries what is steered.
        """
        config = self._config
        surroundings = Surroundings(
            self.shell,
            self._started_with,
            interface=self._task.interface,
            port=self._port,
            fwmark=self._mark,
        )
        detours = TlsDetours(
            self.shell,
            socket.socket(fileno=self._task.tls_fd),
            self._started_with.tls,
            port=self._port,
            fwmark=self._mark,
            want_process=want_tls,
        )
        self.shell.complain("TLS", self._task.tls_problem)
        steering = self._steering = SteerKeeper(
            self.shell,
            socket.socket(fileno=self._task.carrier_fd),
            self._journal,
            self._steering_ground(),
            config.steer,
            want_process=want_carrier,
        )
        proxies = self._proxies = ProxyKeeper(
            self.shell,
            socket.socket(fileno=self._task.proxy_fd),
            self._journal,
            config=lambda: self._config,
            interface=self._task.interface,
            want_process=want_proxy,
            learn=steering.learn,
        )
        api = MeshApi(
            self.shell,
            admin=MeshAdmin(self.shell, entropy=os.urandom, places=self._places),
            device=driver.status,
            facts={
                "interface": self._task.interface,
                "engine": config.engine,
                "workers": config.workers,
                "mtu": config.mtu,
                "pid": os.getppid(),
                "namespaces": [] if self._inside is None else self._inside.namespaces,
            },
            drops=lambda: drop_counts(self._counters),
            offloads=lambda: offload_states(self._counters, self._started_with.offload),
            mappings=surroundings.mappings,
            steering=MeshSteer(steering, self._configured),
            reload=self._reload,
            capture=MeshCapture(
                self.shell.node, self._engine, self._task.tap_fd, self._tap, self._port
            ),
            proxies=proxies.verbs(),
            names=self.names,
        )
        node = self.shell.node
        nat64 = Nat64Finder(node.reach.local_versions, node.puncher.set_nat64_prefix)

        def follow() -> None:
            surroundings.follow()
            nat64.follow()
            proxies.look()

        def ready() -> None:
            self.names.take_all(bool(self._config.exit.use))
            self.names.follow()
            on_ready()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.shell.serve_peers)
            nursery.start_soon(
                self.shell.sockets.run, partial(driver.receive, queued=0)
            )
            nursery.start_soon(self.shell.pump_deadlines)
            nursery.start_soon(self.shell.pump_plans, steering.begin)
            nursery.start_soon(steering.run, ready)
            nursery.start_soon(self.names.run)
            nursery.start_soon(self.shell.watch_addresses, follow)
            nursery.start_soon(nat64.run)
            nursery.start_soon(surroundings.run)
            nursery.start_soon(detours.run)
            nursery.start_soon(proxies.run)
            nursery.start_soon(self._resolve_names)
            nursery.start_soon(self._serve_api, api)
            if config.metrics is not None:
                nursery.start_soon(self._serve_metrics, config.metrics, api)

    async def _serve_api(self, api: MeshApi) -> None:
        one = socket.socket(fileno=self._task.api_fd)
        # Closed when it ends: who cleans up after us takes an open one for served.
        with trio.socket.from_stdlib_socket(one) as listener:
            await serve_api(listener, api.handle)

    async def _serve_metrics(self, place: HostPort, api: MeshApi) -> None:
        try:
            await serve_metrics(
                place.host,
                place.port,
                metrics=lambda: node_metrics(api.status(), api.peers()),
                complaints=lambda: complaints(self.shell.node, wall=time.time()),
            )
        except OSError as error:
            text = f"metrics cannot be served at {place}: {error.strerror or error}"
            self.shell.complain("metrics", text)

    # --- configuration ---

    async def _reload(self) -> list[str]:
        """Read the configuration again; return what takes effect at a restart only."""
        config = load_config(self._directories.config_file(self._network))
        # Names that take longer are looked up beside: behind an exit that is silent
        # there is no answer, and the reload may be what leaves it.
        with trio.move_on_after(_RESOLVE_TIMEOUT):
            await self._resolve(config)
        problems = self._wireguard_peers(config)[1]
        if problems:
            raise ConfigError("; ".join(problems))
        self._config = config
        self._follow_config()
        self._tell_delegated()
        if self._proxies is not None:
            self._proxies.look()
        self.names.take_all(bool(config.exit.use))
        self.names.configure(self._dns(config))
        self.shell.drain()
        await self.shell.await_plans()
        await self.names.settled()
        if self._steering is not None:
            await self._steering.use(config.steer)
        return [
            name
            for name in _AT_START
            if getattr(config, name) != getattr(self._started_with, name)
        ]

    def _configured(self) -> NetworkConfig:
        """Return the configuration as it is on disk now; raises `ConfigError`."""
        return load_config(self._directories.config_file(self._network))

    def _steering_ground(self) -> Ground:
        tunnel_table, local_table = steering_tables_of(self._network)
        return Ground(
            network=self._network,
            interface=self._task.interface,
            fwmark=fwmark_of(self._started_with),
            mark=steering_mark_of(self._network),
            tunnel_table=tunnel_table,
            local_table=local_table,
            group=CARRIER_GROUP,
            overlay=self.shell.node.roads.overlay,
        )

    def _follow_config(self) -> None:
        """Tell everybody what the configuration says now, and its names mean."""
        now, wall = boottime(), time.time()
        settings = self._settings(self._config)
        self.shell.node.configure(settings, now=now, wall=wall)
        self.shell.follow_addresses()
        self._tell_contacts()
        self._tell_wireguard()

    def _dns(self, config: NetworkConfig) -> DnsSettings:
        """Return the table `[dns]`; a rootless node leaves the host's names alone."""
        if self._inside is None:
            return config.dns
        return replace(config.dns, manager=DnsManager.OFF)

    def _settings(self, config: NetworkConfig) -> NodeSettings:
        advertised = [e for place in config.advertise for e in self._endpoints(place)]
        return NodeSettings(
            interface=self._task.interface,
            # The sockets have their mark, the rules must not get another.
            table=table_of(self._network, self._started_with),
            fwmark=fwmark_of(self._started_with),
            mtu=self._started_with.mtu,
            listen_port=self._port,
            accept=accepted_prefixes(config.accept_routes),
            routes=tuple(
                Route(one.prefix, one.metric, one.weight) for one in config.announced
            ),
            announced=tuple(
                Announced(one.prefix, one.masquerade, one.mapped)
                for one in config.announced
            ),
            advertised=tuple(advertised),
            imported=tuple(p for peer in config.wireguard for p in peer.allowed_ips),
            ciphers=preferred_ciphers() if config.cipher == "auto" else (),
            max_mtu=self._max_mtu,
            relay=config.relay,
            offers_exit=config.exit.offer,
            exits=config.exit.use,
            full_tunnel=full_tunnel_of(config),
        )

    def _tell_delegated(self) -> None:
        office = self.shell.node.office
        if office is not None:
            state_dir = self._directories.state_dir(self._network)
            office.certifier.set_delegated(load_delegated(state_dir))

    def _tell_wireguard(self) -> None:
        """Give the engine the peers that were configured by hand."""
        changes, problems = self._wireguard_peers(self._config)
        self.shell.set_wireguard_peers(changes)
        self.shell.complain("WireGuard peers", "; ".join(problems))

    def _wireguard_peers(
        self, config: NetworkConfig
    ) -> tuple[list[PeerChange], list[str]]:
        """Return the peers that were configured by hand, and why others are not."""
        changes, problems = [], []
        for peer in config.wireguard:
            key = peer.public_key
            if self.shell.node.membership.by_key(key.raw) is not None:
                problems.append(f"the WireGuard peer {key} is a member of the mesh")
                continue
            try:
                preshared_key = _preshared_key(peer.preshared_key_file)
            except ConfigError as error:
                problems.append(f"the WireGuard peer {key} is left out: {error}")
                continue
            endpoints = self._endpoints(peer.endpoint) if peer.endpoint else ()
            changes.append(
                PeerChange(
                    key,
                    preshared_key=preshared_key,
                    endpoint=endpoints[0] if endpoints else None,
                    persistent_keepalive=peer.keepalive,
                    is_sought=False,
                    replace_allowed_ips=True,
                    allowed_ips=[(True, prefix) for prefix in peer.allowed_ips],
                )
            )
        return changes, problems

    def _places(self) -> tuple[str, ...]:
        """Return where others reach us, the configured names first."""
        named = [str(place) for place in self._config.advertise]
        found = [str(one) for one in self.shell.node.reach.own_candidates()]
        return tuple(dict.fromkeys((*named, *found)))

    # --- names and contacts ---

    def _tell_contacts(self) -> None:
        """Tell the node whom to talk to first, as far as names are resolved."""
        extra = [e for place in self._config.bootstrap for e in self._endpoints(place)]
        contacts: dict[bytes, tuple[Endpoint, ...]] = {}
        for contact in self._contacts:
            places = [e for place in contact.places for e in self._endpoints(place)]
            contacts[contact.key.raw] = tuple(dict.fromkeys((*extra, *places)))
        if extra:
            for key in self.shell.node.directory.keys_with_role(Role.RENDEZVOUS):
                contacts.setdefault(key, tuple(extra))
        self.shell.node.set_contacts(contacts, now=boottime(), wall=time.time())

    def _endpoints(self, place: HostPort) -> tuple[Endpoint, ...]:
        return self._resolved.get(place, ())

    def _all_places(self, config: NetworkConfig) -> list[HostPort]:
        contacts = [place for contact in self._contacts for place in contact.places]
        peers = [peer.endpoint for peer in config.wireguard if peer.endpoint]
        return [*config.advertise, *config.bootstrap, *contacts, *peers]

    def _resolve_numeric(self, config: NetworkConfig) -> None:
        self._contacts = load_contacts(self._directories.state_dir(self._network))
        for place in self._all_places(config):
            if place.is_numeric:
                self._resolved[place] = (Endpoint(place.host, place.port),)

    async def _resolve(self, config: NetworkConfig) -> bool:
        """Resolve all names; return whether one means something else now."""
        self._resolve_numeric(config)
        has_changed = False
        for place in self._all_places(config):
            if place.is_numeric:
                continue
            found = await _look_up(place)
            if found and found != self._resolved.get(place):
                self._resolved[place] = found
                has_changed = True
        return has_changed

    async def _resolve_names(self) -> None:
        """Resolve names at the start, and again when whom they stand for is silent."""
        while True:
            if any(not place.is_numeric for place in self._all_places(self._config)):
                node = self.shell.node
                keys = [contact.key.raw for contact in self._contacts]
                is_silent = not any(node.has_session(key) for key in keys)
                if (is_silent or not keys) and await self._resolve(self._config):
                    self._follow_config()
                await trio.sleep(_RESOLVE_AGAIN)
            else:
                await trio.sleep_forever()


async def _look_up(place: HostPort) -> tuple[Endpoint, ...]:
    try:
        answers = await trio.socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_DGRAM
        )
    except (OSError, UnicodeError) as error:
        _log.warning("cannot resolve %s: %s", place.host, error)
        return ()
    return tuple(
        dict.fromkeys(
            Endpoint(str(address[0]).partition("%")[0], int(address[1]))
            for *_, address in answers
        )
    )


def _preshared_key(file: Path | None) -> PresharedKey:
    if file is None:
        return PresharedKey.none()
    try:
        return PresharedKey.from_base64(file.read_text("ascii").strip())
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise ConfigError(f"{file}: no preshared key: {error}") from None


def _max_mtu(config: NetworkConfig) -> int:
    """Return the MTU of the interface: configured, or what this host's links carry."""
    if config.max_mtu:
        return max(config.max_mtu, config.mtu)
    try:
        widest = largest_inner(links_of_host())
    except OSError as error:
        _log.warning("cannot list the host's links: %s", error)
        return config.mtu
    return max(min(widest, MAX_INNER), config.mtu)


def _port_of(descriptor: int) -> int:
    with socket.socket(fileno=os.dup(descriptor)) as one:
        return int(one.getsockname()[1])


def accepted_prefixes(accept: bool | tuple[Prefix, ...]) -> tuple[Prefix, ...]:
    """Return inside which prefixes others' routes are used."""
    if isinstance(accept, bool):
        return ACCEPT_ALL if accept else ACCEPT_NONE
    return accept
