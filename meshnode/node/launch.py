"""Start the processes of an interface: their tasks, from what the supervisor keeps."""

import os

from meshnode.codec.lifeline import Direction, Worker, workers_of
from meshnode.host.tun import agreed_offloads
from meshnode.host.udp import descriptors_of
from meshnode.manage.paths import Directories
from meshnode.node.children import spawn
from meshnode.node.resources import Resources
from meshnode.node.tasks import (
    NO_DESCRIPTOR,
    CarrierTask,
    ControlTask,
    ForwardTask,
    ProxyTask,
    TlsTask,
    WorkerTask,
)
from meshnode.offloads import UNFORCED, Offloads
from meshnode.values import frozen


@frozen
class Settings:
    """What was asked for on the command line; `network` is "" for a bare interface."""

    engine: str
    log_level: str
    directories: Directories
    network: str = ""
    offloads: Offloads = UNFORCED


class Launcher:
    """Starts processes on the descriptors that *resources* holds at that moment."""

    def __init__(self, resources: Resources, settings: Settings) -> None:
        self._resources = resources
        self._settings = settings

    def worker(self, worker: Worker, generation: int) -> int:
        """Start a worker and return its process id; raises `HostError`."""
        resources, settings = self._resources, self._settings
        if worker.direction is Direction.INGRESS:
            handshakes = resources.handshakes.worker.fileno()
            roaming = tuple(link.ingress.fileno() for link in resources.roaming)
        else:
            handshakes = NO_DESCRIPTOR
            roaming = (resources.roaming[worker.number].egress.fileno(),)
        udp = resources.udp[worker.number]
        return spawn(
            WorkerTask(
                worker=worker,
                workers=len(resources.udp),
                interface=resources.name,
                engine=settings.engine,
                log_level=settings.log_level,
                parent=os.getpid(),
                generation=generation,
                offloads=agreed_offloads(settings.offloads, resources.tun.offload),
                tun_fds=resources.queues_of(worker),
                udp4_fd=udp.v4.fileno(),
                udp6_fd=NO_DESCRIPTOR if udp.v6 is None else udp.v6.fileno(),
                program_fd=resources.programs[worker].worker.fileno(),
                handshakes_fd=handshakes,
                roaming_fds=roaming,
                traffic_fd=resources.traffic_fd,
                counters_fd=resources.counters_fd,
                sessions_fd=resources.sessions_fd,
                tap_fd=resources.tap_fd,
            )
        )

    def control(self, lifeline_fd: int) -> int:
        """Start control and return its process id; raises `HostError`."""
        resources = self._resources
        count = len(resources.udp)
        links = [resources.programs[one].control.fileno() for one in workers_of(count)]
        udp = descriptors_of(resources.udp)
        return spawn(
            ControlTask(
                interface=resources.name,
                log_level=self._settings.log_level,
                parent=os.getpid(),
                network=self._settings.network,
                config_dir=self._settings.directories.config,
                state_dir=self._settings.directories.state,
                run_dir=self._settings.directories.run,
                uapi_dir=self._settings.directories.uapi,
                journal_path=resources.journal.path,
                journal_fd=resources.journal.fileno(),
                lifeline_fd=lifeline_fd,
                egress_fds=tuple(links[:count]),
                ingress_fds=tuple(links[count:]),
                handshakes_fd=resources.handshakes.control.fileno(),
                traffic_fd=resources.traffic_fd,
                counters_fd=resources.counters_fd,
                sessions_fd=resources.sessions_fd,
                tap_fd=resources.tap_fd,
                vault_fd=resources.vault_fd,
                uapi_fd=resources.uapi.fileno(),
                api_fd=self._api(),
                udp4_fds=tuple(udp[:count]),
                udp6_fds=tuple(udp[count:]),
                beside_fds=tuple(resources.beside.values()),
                tls_fd=resources.tls.control.fileno(),
                tls_problem=resources.tls_problem,
                namespace_fd=resources.namespace_fd,
                proxy_fd=resources.proxy.control.fileno(),
                carrier_fd=resources.carrier.control.fileno(),
            )
        )

    def tls(self) -> int:
        """Start the process that speaks TLS; raises `HostError`."""
        resources = self._resources
        return spawn(
            TlsTask(
                interface=resources.name,
                log_level=self._settings.log_level,
                parent=os.getpid(),
                link_fd=resources.tls.worker.fileno(),
                listener_fds=tuple(one.fileno() for one in resources.listeners),
            )
        )

    def forward(self) -> int:
        """Start the process that carries forwarded ports; raises `HostError`."""
        resources = self._resources
        return spawn(
            ForwardTask(
                interface=resources.name,
                log_level=self._settings.log_level,
                parent=os.getpid(),
                forwards=resources.forwards,
                listener_fds=tuple(one.fileno() for one in resources.forward_listeners),
                namespace_fd=resources.namespace_fd,
            )
        )

    def proxy(self) -> int:
        """Start the process that serves applications; raises `HostError`."""
        return spawn(
            ProxyTask(
                interface=self._resources.name,
                log_level=self._settings.log_level,
                parent=os.getpid(),
                link_fd=self._resources.proxy.worker.fileno(),
                namespace_fd=self._resources.namespace_fd,
            )
        )

    def carrier(self) -> int:
        """Start the process that carries what is steered; raises `HostError`."""
        return spawn(
            CarrierTask(
                interface=self._resources.name,
                log_level=self._settings.log_level,
                parent=os.getpid(),
                link_fd=self._resources.carrier.worker.fileno(),
            )
        )

    def _api(self) -> int:
        api = self._resources.api
        return NO_DESCRIPTOR if api is None else api.fileno()
