"""The exit of this host, in words and as plain values for commands."""

from collections.abc import Collection
from typing import Any

from meshnode.mesh.roads import Roads


def describe_exit(roads: Roads, unhealthy: Collection[bytes]) -> dict[str, Any]:
    """Return who leaves by whom: what `meshnode exit status` shows.

    `inUse` is null without an exit; `addresses` are its overlay addresses and `routes`
    what it carries. *unhealthy* are the keys of who does not answer.
    """
    settings, found = roads.settings, roads.exit_in_use
    offers = roads.exit_offers()
    names = dict.fromkeys((*settings.exits, *offers))
    tunnel = settings.full_tunnel
    return {
        "offers": settings.offers_exit,
        "offered": [
            str(one.prefix) for one in roads.announced if not one.prefix.length
        ],
        "use": list(settings.exits),
        "inUse": None if found is None else found.certificate.name,
        "addresses": []
        if found is None
        else [str(one).partition("/")[0] for one in found.addresses],
        "routes": []
        if found is None
        else [str(one) for one in offers.get(found.certificate.name, ())],
        "isHealthy": found is not None and roads.exits.is_healthy,
        "lan": [] if tunnel is None else [str(prefix) for prefix in tunnel.lan],
        "killSwitch": tunnel is not None and tunnel.kill_switch,
        "exits": [
            {
                "name": name,
                "offers": [str(one) for one in offers.get(name, ())],
                "isHealthy": _answers(roads, name, unhealthy),
            }
            for name in names
        ],
    }


def exit_complaint(roads: Roads) -> str:
    """Say what is wrong with the exit of this host, "" for nothing."""
    wanted = roads.settings.exits
    if not wanted:
        return ""
    found, names = roads.exit_in_use, ", ".join(wanted)
    if found is None:
        return (
            f"no member {names} offers to be an exit: nothing leaves this host; see "
            "meshnode exit list, or meshnode exit off"
        )
    if not roads.exits.is_healthy:
        return (
            f"no exit answers ({names}): nothing leaves this host; wait, or "
            "meshnode exit use another one"
        )
    return ""


def _answers(roads: Roads, name: str, unhealthy: Collection[bytes]) -> bool:
    key = roads.key_of(name)
    return key is not None and key not in unhealthy
