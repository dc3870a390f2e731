"""Every way a member can be reached, or not, has its sentence and its remedy."""

from dataclasses import replace

import pytest

from meshnode.codec.records import Mapping, NatHint
from meshnode.mesh.path_choice import PathKind
from meshnode.mesh.punch_attempt import Attempt, How
from meshnode.mesh.why import Pair, judge_pair
from meshnode.types import Endpoint

PLACE = Endpoint("192.0.2.1", 51820)
SILENT = Attempt(PLACE, How.TOLD, 1, 6, None)
SEARCHED = Attempt(PLACE, How.SEARCHED, 0, 1024, None)
ANSWERED = Attempt(PLACE, How.TOLD, 1, 1, 40.0)
EASY, HARD = NatHint(Mapping.ENDPOINT_INDEPENDENT), NatHint(Mapping.ENDPOINT_DEPENDENT)
RELAYED = Pair(PathKind.RELAYED, EASY, EASY, (SILENT,), False, 51820)


@pytest.mark.parametrize(
    ("pair", "reason", "remedy"),
    [
        (replace(RELAYED, kind=None), "does not answer", "meshnode status"),
        (replace(RELAYED, kind=PathKind.LAN), "link that both share", None),
        (replace(RELAYED, kind=PathKind.DIRECT), "directly", None),
        (replace(RELAYED, is_blocked=True), "UDP does not get out", "let UDP leave"),
        (
            replace(RELAYED, kind=PathKind.TLS, is_blocked=True),
            "TLS on TCP port 443",
            "let UDP leave",
        ),
        (replace(RELAYED, attempts=()), "begins with traffic", "--until-direct"),
        (replace(RELAYED, attempts=(ANSWERED,)), "does not carry data", "tried again"),
        (replace(RELAYED, ours=HARD, theirs=HARD), "both NATs", "PCP"),
        (
            replace(RELAYED, ours=HARD, attempts=(SILENT, SEARCHED)),
            "this side's NAT uses another port for every destination, and 1024 probes",
            "tried again",
        ),
        (replace(RELAYED, theirs=HARD), "the other side's NAT", "tried again"),
        (RELAYED, "a firewall", "let UDP port 51820 in"),
        (
            replace(RELAYED, ours=NatHint(), theirs=NatHint()),
            "a firewall",
            "forward UDP port 51820",
        ),
    ],
)
def test_verdicts(pair: Pair, reason: str, remedy: str | None) -> None:
    """What stands in the way, and what would help; nothing where nothing does."""
    verdict = judge_pair(pair)
    assert reason in verdict.reason
    if remedy is None:
        assert verdict.remedies == ()
    else:
        assert any(remedy in line for line in verdict.remedies)
