"""Let the host's programs find the network's names, and take that back.

With systemd-resolved each link has its own names, so nothing is written anywhere.
Elsewhere only the file resolv.conf is left, which is somebody else's: it is written
if the configuration says so, and journalled before. It acts in the network namespace
of the calling thread; run it in a thread beside an event loop.
"""

from pathlib import Path
from typing import Final

from meshnode.errors import HostError
from meshnode.host import netlink, resolv_conf, resolved, textfile
from meshnode.host.journal import Journal
from meshnode.hostplan import Dns, DnsManager, DnsState

RESOLVED: Final = "systemd-resolved"
RESOLV_CONF: Final = "resolv.conf"
_OF_RESOLVED: Final = "/run/systemd/resolve"
_NSSWITCH: Final = "/etc/nsswitch.conf"


class DnsPlanner:
    """Makes the host's names what the last `Dns` says, for one network.

    Args:
        journal: that of the network's interface.
        path: of the host's resolv.conf.
        bus: of the system's D-Bus.
    """

    def __init__(
        self, journal: Journal, *, path: str = resolv_conf.PATH, bus: str = resolved.BUS
    ) -> None:
        self._journal = journal
        self._path = path
        self._bus = bus

    def apply(self, dns: Dns) -> DnsState:
        """Let the host ask as *dns* says; undo what it does not say any more.

        What cannot be is told in the state; names are worth no more than that.
        """
        try:
            return self._apply(dns)
        except HostError as error:
            return DnsState(problem=str(error))

    def look(self, state: DnsState) -> DnsState:
        """Return *state* as it is now: somebody may have written resolv.conf since."""
        try:
            if state.by == RESOLVED:
                return DnsState(RESOLVED, self._detour())
            if state.by == RESOLV_CONF:
                text = textfile.read(self._path) or ""
                if resolv_conf.owner_of(text) is None:
                    return DnsState(
                        RESOLV_CONF,
                        f"somebody else wrote {self._path} since: meshnode reload "
                        "writes it again",
                    )
                return DnsState(RESOLV_CONF)
        except HostError as error:
            return DnsState(state.by, str(error))
        return state

    def _apply(self, dns: Dns) -> DnsState:
        link = netlink.link_by_name(dns.interface)
        index = 0 if link is None else link.index
        manager = dns.manager
        if manager is not DnsManager.RESOLV_CONF:
            resolv_conf.give_back(self._journal, self._path)
        if manager in (DnsManager.RESOLV_CONF, DnsManager.OFF) and index:
            resolved.revert_link(index, bus=self._bus)
        if manager is DnsManager.OFF:
            return DnsState()
        if manager is DnsManager.RESOLV_CONF:
            self._refuse_resolveds()
            resolv_conf.take_over(dns, self._journal, self._path)
            return DnsState(RESOLV_CONF)
        if not resolved.is_running(bus=self._bus):
            return DnsState(
                problem="systemd-resolved does not run here: install it, or set "
                f'manage = "{DnsManager.RESOLV_CONF.value}" in the table [dns]'
            )
        if not index:
            raise HostError(f"the interface {dns.interface} is gone")
        resolved.configure_link(index, dns, bus=self._bus)
        return DnsState(RESOLVED, self._detour())

    def _refuse_resolveds(self) -> None:
        """Raise if resolv.conf is a file of resolved's, which it writes at will."""
        target = str(Path(self._path).resolve())
        if target.startswith(f"{_OF_RESOLVED}/"):
            raise HostError(
                f"{self._path} is systemd-resolved's: set "
                f'manage = "{DnsManager.RESOLVED.value}" in the table [dns]'
            )

    def _detour(self) -> str:
        """Say what keeps programs from asking resolved, "" for nothing."""
        servers = resolv_conf.nameservers(textfile.read(self._path) or "")
        if set(servers) & set(resolved.STUB_SERVERS) or _asks_resolved():
            return ""
        return (
            f"{self._path} does not lead to systemd-resolved: make it a link to "
            f"{_OF_RESOLVED}/stub-resolv.conf"
        )


def _asks_resolved() -> bool:
    """Whether the C library asks resolved itself (nss-resolve)."""
    for line in (textfile.read(_NSSWITCH) or "").splitlines():
        database, _, services = line.partition(":")
        if database.strip() == "hosts" and "resolve" in services.split():
            return True
    return False
