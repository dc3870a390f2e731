"""The verbs of the control socket that concern steering, and its part of `trace`."""

import pwd
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from meshnode.hostplan import Service
from meshnode.manage.config_values import NetworkConfig
from meshnode.manage.steer_text import port_text
from meshnode.manage.toml_reader import Table
from meshnode.node.steer_keeper import SteerKeeper
from meshnode.steering import SteeredFlow, SteerRule
from meshnode.types import Prefix

Answered = Mapping[str, object]
Verb = Callable[[Table], Awaitable[Answered]]


class MeshSteer:
    """Answers about the rules that *keeper* keeps.

    *configured* gives the configuration as it is on disk.
    """

    def __init__(
        self, keeper: SteerKeeper, configured: Callable[[], NetworkConfig]
    ) -> None:
        self._keeper = keeper
        self._configured = configured

    def verbs(self) -> dict[str, Verb]:
        """Return the functions that answer, by verb."""
        return {"steer list": self._list, "steer check": self._check}

    def trace(
        self, destination: Prefix, service: Service, user: str, group: str, domain: str
    ) -> dict[str, Any] | None:
        """Return the rule that such a packet of this host meets, None if none.

        Args:
            destination: a single address.
            service: a protocol and, for TCP and UDP, one port.
            user: a name or number, "" for one that no rule names.
            group: the path of a control group, or "".
            domain: the name that was asked for, or "".
        """
        flow = SteeredFlow(destination, service, _words_for(user), group, domain)
        index = self._keeper.explain(flow)
        if index is None:
            return None
        return {"rule": index + 1, "via": str(self._keeper.rules[index].via)}

    async def _list(self, args: Table) -> Answered:
        args.finish()
        keeper = self._keeper
        counted, learnt = await keeper.counted(), keeper.learnt()
        return {
            "rules": [
                {
                    "number": index + 1,
                    **describe_rule(rule),
                    "packets": counted[index].packets if index < len(counted) else 0,
                    "bytes": counted[index].bytes if index < len(counted) else 0,
                    "learnt": learnt[index],
                }
                for index, rule in enumerate(keeper.rules)
            ],
            "problems": list(keeper.problems),
        }

    async def _check(self, args: Table) -> Answered:
        args.finish()
        rules = self._configured().steer
        return {
            "rules": [
                {"number": index + 1, **describe_rule(rule)}
                for index, rule in enumerate(rules)
            ],
            "problems": await self._keeper.check(rules),
            "isInForce": rules == self._keeper.rules,
        }


def describe_rule(rule: SteerRule) -> dict[str, Any]:
    """Return *rule* as `meshnode steer list --json` shows it."""
    return {
        "to": [str(prefix) for prefix in rule.to],
        "domains": list(rule.domains),
        "ports": [port_text(service) for service in rule.ports],
        "users": list(rule.users),
        "groups": list(rule.groups),
        "via": str(rule.via),
    }


def _words_for(user: str) -> frozenset[str]:
    """Return name and number of *user*, as far as the host knows them."""
    if not user:
        return frozenset()
    try:
        known = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        return frozenset((user,))
    return frozenset((known.pw_name, str(known.pw_uid)))
