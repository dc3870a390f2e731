"""Why a member is reached as it is: what stands in the way, and what would help.

    verdict = judge_pair(Pair(...))

Pure, and a table: the first rule that fits says it. NAT hints are what was seen, so a
verdict names a NAT only where probes went unanswered.
"""

from typing import Final

from meshnode.codec.records import Mapping, NatHint
from meshnode.mesh.path_choice import PathKind
from meshnode.mesh.punch_attempt import Attempt, How
from meshnode.values import frozen


@frozen
class Pair:
    """What is known of us and a member.

    `kind` is how it is reached, None if it is not. `ours` and `theirs` are the NATs as
    they were seen; `attempts` what was tried last for a direct path. `is_blocked` says
    that UDP does not get out where we are. `port` is our UDP port.
    """

    kind: PathKind | None
    ours: NatHint
    theirs: NatHint
    attempts: tuple[Attempt, ...]
    is_blocked: bool
    port: int


@frozen
class Verdict:
    """One sentence, and what would change it: a line each, the best first."""

    reason: str
    remedies: tuple[str, ...] = ()


_MAP_A_PORT: Final = (
    "turn on PCP, NAT-PMP or UPnP on the router of either side, or forward UDP port "
    "{port} to this host there"
)
_IPV6: Final = "give both sides IPv6"
_WAIT: Final = "a direct path is tried again within ten minutes while traffic flows"


def judge_pair(pair: Pair) -> Verdict:
    """Return why the member is reached so."""
    match pair.kind:
        case None:
            return Verdict(
                "it does not answer, neither directly nor by a relay",
                ("see whether its node runs: meshnode status, there",),
            )
        case PathKind.LAN:
            return Verdict("directly, on a link that both share")
        case PathKind.DIRECT:
            return Verdict("directly")
    if pair.is_blocked:
        return Verdict(
            "UDP does not get out of this host's network; TLS on TCP port 443 does",
            ("let UDP leave this network, at least to the relays' ports",),
        )
    return _judge_relayed(pair)


def _judge_relayed(pair: Pair) -> Verdict:
    mapped = _MAP_A_PORT.format(port=pair.port)
    if not pair.attempts:
        return Verdict(
            "no direct path was looked for yet: that begins with traffic",
            ("send something: meshnode ping --until-direct",),
        )
    if any(attempt.milliseconds is not None for attempt in pair.attempts):
        return Verdict(
            "a direct path opened and does not carry data now, or is worse",
            (_WAIT,),
        )
    dependent = [
        hint.mapping is Mapping.ENDPOINT_DEPENDENT for hint in (pair.ours, pair.theirs)
    ]
    if all(dependent):
        return Verdict(
            "both NATs use another port for every destination, so that neither side "
            "can say where it is",
            (mapped, _IPV6),
        )
    if any(dependent):
        whose = "this side's" if dependent[0] else "the other side's"
        probes = sum(
            attempt.pings for attempt in pair.attempts if attempt.how is How.SEARCHED
        )
        searched = f", and {probes} probes did not find it" if probes else ""
        return Verdict(
            f"{whose} NAT uses another port for every destination{searched}",
            (_WAIT, mapped, _IPV6),
        )
    return Verdict(
        "no probe came through: a firewall on the way drops UDP that it does not know",
        (f"let UDP port {pair.port} in at this side's firewall", mapped, _IPV6),
    )
