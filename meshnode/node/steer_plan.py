"""From what rules say to what the host is told; look-ups are arguments."""

from collections.abc import Callable, Sequence

from meshnode.steering import (
    ControlGroup,
    Door,
    SteerPlan,
    SteerRule,
    SteerStep,
    ViaExit,
    ViaProxy,
)
from meshnode.types import Prefix
from meshnode.values import frozen


@frozen
class Ground:
    """What a network's steering stands on; as in `SteerPlan`."""

    network: str
    interface: str
    fwmark: int
    mark: int
    tunnel_table: int
    local_table: int
    group: int
    overlay: tuple[Prefix, ...]


@frozen
class Lookups:
    """How words of rules are looked up; None is what is not there.

    `user` gives the number of a user's name, `group` a control group, and `door` where
    traffic for an exit or proxy is handed in. `forwards` says whether the host does.
    """

    user: Callable[[str], int | None]
    group: Callable[[str], ControlGroup | None]
    door: Callable[[ViaExit | ViaProxy], Door]
    forwards: Callable[[], bool]


def make_plan(
    rules: Sequence[SteerRule], ground: Ground, lookups: Lookups
) -> tuple[SteerPlan, tuple[str, ...]]:
    """Return the plan of *rules*, and what of them means nothing here.

    Who is not there sends nothing: so a rule whose users are all unknown matches
    nothing, until they are known.
    """
    problems: list[str] = []
    steps = []
    for index, rule in enumerate(rules):
        where = f"rule {index + 1}"
        way = rule.via
        steps.append(
            SteerStep(
                way=lookups.door(way) if isinstance(way, ViaExit | ViaProxy) else way,
                to=rule.to,
                learns=rule.domains[0] if rule.domains else "",
                services=rule.ports,
                uids=_uids(rule, lookups, where, problems),
                groups=_groups(rule, lookups, where, problems),
            )
        )
    plan = SteerPlan(
        network=ground.network,
        interface=ground.interface,
        fwmark=ground.fwmark,
        mark=ground.mark,
        tunnel_table=ground.tunnel_table,
        local_table=ground.local_table,
        group=ground.group,
        overlay=ground.overlay,
        steps=tuple(steps),
        forwards=lookups.forwards(),
    )
    return plan, tuple(problems)


def _uids(
    rule: SteerRule, lookups: Lookups, where: str, problems: list[str]
) -> tuple[int, ...] | None:
    if not rule.users:
        return None
    found = []
    for user in rule.users:
        uid = int(user) if user.isdigit() else lookups.user(user)
        if uid is None:
            problems.append(f"{where}: this host has no user {user}")
        else:
            found.append(uid)
    return tuple(found)


def _groups(
    rule: SteerRule, lookups: Lookups, where: str, problems: list[str]
) -> tuple[ControlGroup, ...] | None:
    if not rule.groups:
        return None
    found = []
    for path in rule.groups:
        group = lookups.group(path)
        if group is None:
            problems.append(
                f"{where}: there is no control group {path} of version 2 now; the rule "
                "begins to count when there is"
            )
        else:
            found.append(group)
    return tuple(found)
