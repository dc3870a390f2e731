"""The file resolv.conf (resolv.conf(5)): who is asked for names where nothing else is.

It knows no domains: all names go to the first server. A resolver that refuses what is
not of the network lets glibc and musl go on to the next one, so those that were there
before stay behind ours.
"""

import ipaddress
import socket
from collections.abc import Collection
from typing import Final

from meshnode.errors import HostError
from meshnode.host import textfile
from meshnode.host.changes import RestoreFile
from meshnode.host.journal import Journal
from meshnode.hostplan import Dns
from meshnode.types import Endpoint

PATH: Final = "/etc/resolv.conf"
MAX_SERVERS: Final = 3
"""MAXNS of the C library: further servers are not asked."""

_PORT: Final = 53
_MARKER: Final = "# Written by meshnode for the network "
_KEPT: Final = ("options", "sortlist")


def nameservers(text: str) -> tuple[str, ...]:
    """Return the numeric addresses of the servers that *text* names, in order."""
    found = []
    for words in map(str.split, text.splitlines()):
        if words[:1] == ["nameserver"] and len(words) >= 2:
            try:
                ipaddress.ip_address(words[1].partition("%")[0])
            except ValueError:
                continue
            found.append(words[1])
    return tuple(dict.fromkeys(found))


def own_resolvers(text: str, *, without: Collection[str] = ()) -> tuple[Endpoint, ...]:
    """Return the resolvers that *text* names, to be asked in the host's place.

    *without* are addresses of ours: who asks itself would ask for ever.
    """
    found = []
    for server in nameservers(text):
        host, _, zone = server.partition("%")
        address = str(ipaddress.ip_address(host))
        try:
            scope = socket.if_nametoindex(zone) if zone else 0
        except OSError:
            continue  # that interface is gone
        if address not in without:
            found.append(Endpoint(address, _PORT, scope))
    return tuple(found)


def resolv_conf_text(dns: Dns, before: str) -> str:
    """Return the whole file that *dns* asks for, where there was *before*."""
    others = () if dns.takes_all else nameservers(before)
    # One place of three is enough for ours.
    servers = [*dns.servers[:1], *(one for one in others if one not in dns.servers)]
    searched = list(dns.domains[:1]) if dns.searches else []
    kept = []
    for line in before.splitlines():
        match line.split():
            case ["search" | "domain", *domains]:
                searched += [one for one in domains if one not in searched]
            case [word, *_] if word in _KEPT:
                kept.append(line)
    lines = [
        f'{_MARKER}{dns.network}; "meshnode down {dns.network}" undoes it.',
        *(f"nameserver {server}" for server in servers[:MAX_SERVERS]),
        *([f"search {' '.join(searched)}"] if searched else []),
        *kept,
    ]
    return "\n".join(lines) + "\n"


def owner_of(text: str) -> str | None:
    """Return the network for which the file was written, None if it was not by us."""
    if not text.startswith(_MARKER):
        return None
    return text[len(_MARKER) :].partition(";")[0]


def take_over(dns: Dns, journal: Journal, path: str) -> None:
    """Let the file at *path* be what *dns* asks for; journalled before.

    Raises:
        HostError: if it is another network's, or cannot be written.
    """
    present = textfile.read(path)
    owner = owner_of(present or "")
    if owner not in (None, dns.network):
        raise HostError(
            f"{path} is written for the network {owner} already: let only one do so, "
            'or if that one is gone run "meshnode cleanup"'
        )
    last = _last_change(journal, path)
    if last is not None and owner == dns.network:
        before, is_there = last.before, last.is_there
    else:
        before, is_there = present or "", present is not None
    text = resolv_conf_text(dns, before)
    if text == present:
        return
    change = RestoreFile(path, before, text, is_there)
    if change not in journal.pending():
        journal.record(change)
    textfile.write(path, text)


def give_back(journal: Journal, path: str) -> None:
    """Undo what `take_over` did; raises `HostError` if that cannot be."""
    for change in reversed(journal.pending()):
        if isinstance(change, RestoreFile) and change.path == path:
            change.undo()


def _last_change(journal: Journal, path: str) -> RestoreFile | None:
    for change in reversed(journal.pending()):
        if isinstance(change, RestoreFile) and change.path == path:
            return change
    return None
