"""The access policy at work: a filter for this node, verdicts for `trace`, its tests.

Names are looked up in the members there are at the moment: whoever joins later is
under the same rules. A name that nobody has yet selects nothing and is worth a
warning, not an error. Members are selected by their overlay addresses; what lies
behind them is selected by prefix.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from meshnode.hostplan import Allow, Filter, Service, Transport
from meshnode.mesh.policy_text import (
    AccessPolicy,
    Everybody,
    InGroup,
    Named,
    PolicyTest,
    Rule,
    Selector,
)
from meshnode.mesh.prefixes import minimal, part_of
from meshnode.types import Prefix
from meshnode.values import frozen

_EVERYWHERE: Final = (Prefix(4, 0, 0), Prefix(6, 0, 0))


@frozen
class PolicyMember:
    """A valid member as the policy sees it; `addresses` are those of the overlay."""

    name: str
    groups: tuple[str, ...]
    addresses: tuple[Prefix, ...]


@frozen
class Verdict:
    """Whether traffic passes; `rule` counts from 1, None if no rule is the reason."""

    allowed: bool
    rule: int | None

    def __str__(self) -> str:
        if self.rule is not None:
            return f"allowed by rule {self.rule}"
        return "allowed: the policy is open" if self.allowed else "denied: no rule"


class Directory:
    """Who is meant by a selector, among these members."""

    def __init__(self, members: Iterable[PolicyMember]) -> None:
        self._by_name: dict[str, tuple[Prefix, ...]] = {}
        by_group: dict[str, list[Prefix]] = {}
        for member in members:
            self._by_name[member.name] = minimal(member.addresses)
            for group in member.groups:
                by_group.setdefault(group, []).extend(member.addresses)
        self._by_group: Mapping[str, tuple[Prefix, ...]] = {
            group: minimal(addresses) for group, addresses in by_group.items()
        }
        self._found: dict[tuple[Selector, ...], tuple[Prefix, ...]] = {}

    def find(self, selectors: tuple[Selector, ...]) -> tuple[Prefix, ...]:
        """Return the addresses these selectors stand for, minimal and in order."""
        if selectors not in self._found:
            self._found[selectors] = minimal(
                prefix for one in selectors for prefix in self._find(one)
            )
        return self._found[selectors]

    def unknown(self, selectors: Iterable[Selector]) -> Iterator[str]:
        """Yield what is wrong with each selector that stands for nobody."""
        for one in selectors:
            if isinstance(one, InGroup) and one.group not in self._by_group:
                yield f'no member is in group "{one.group}" yet'
            elif isinstance(one, Named) and one.name not in self._by_name:
                yield f'no member is called "{one.name}" yet'

    def _find(self, selector: Selector) -> tuple[Prefix, ...]:
        if isinstance(selector, Everybody):
            return _EVERYWHERE
        if isinstance(selector, InGroup):
            return self._by_group.get(selector.group, ())
        if isinstance(selector, Named):
            return self._by_name.get(selector.name, ())
        return (selector,)


def compile_filter(
    policy: AccessPolicy, directory: Directory, ours: tuple[Prefix, ...]
) -> Filter | None:
    """Return what this node lets in; None for everything.

    *ours* is all that we receive for: our addresses, the prefixes we announce (as the
    network knows them), the stock members behind us.
    """
    if policy.is_open:
        return None
    allows = []
    for rule in policy.rules:
        sources = directory.find(rule.sources)
        selected = directory.find(rule.destinations)
        destinations = minimal(part for own in ours for part in part_of(selected, own))
        # An address of one version says nothing of the other.
        versions = {one.version for one in sources} & {
            one.version for one in destinations
        }
        if versions:
            allow = Allow(
                tuple(one for one in sources if one.version in versions),
                tuple(one for one in destinations if one.version in versions),
                tuple(dict.fromkeys(rule.allow)),
            )
            if allow not in allows:
                allows.append(allow)
    return Filter(tuple(allows))


def explain(
    policy: AccessPolicy,
    directory: Directory,
    source: Prefix,
    destination: Prefix,
    service: Service,
) -> Verdict:
    """Say whether all of this traffic may begin, and by which rule.

    It passes if one rule allows it whole; traffic that several rules allow in parts
    does not.
    """
    if policy.is_open:
        return Verdict(True, None)
    for number, rule in enumerate(policy.rules, 1):
        if (
            any(_covers(one, service) for one in rule.allow)
            and part_of(directory.find(rule.sources), source) == (source,)
            and part_of(directory.find(rule.destinations), destination)
            == (destination,)
        ):
            return Verdict(True, number)
    return Verdict(False, None)


def failed_tests(policy: AccessPolicy, directory: Directory) -> tuple[str, ...]:
    """Return what the tests of the policy find wrong; () if it may be applied.

    A source or destination that nobody is yet is left out.
    """
    return tuple(
        f"test {number}: {text}"
        for number, test in enumerate(policy.tests, 1)
        for text in _failures(policy, directory, test)
    )


def warnings(policy: AccessPolicy, directory: Directory) -> tuple[str, ...]:
    """Return, rule by rule and test by test, the names that stand for nobody."""
    found = []
    parts: list[tuple[str, Rule | PolicyTest]] = [
        *((f"rule {number}", rule) for number, rule in enumerate(policy.rules, 1)),
        *((f"test {number}", test) for number, test in enumerate(policy.tests, 1)),
    ]
    for where, part in parts:
        for key, selectors in (("from", part.sources), ("to", part.destinations)):
            found += [
                f"{where}: {key}: {text}" for text in directory.unknown(selectors)
            ]
    return tuple(found)


def describe_service(service: Service) -> str:
    """Return the service as a policy writes it."""
    name = service.transport.value
    if not service.first:
        return name
    if service.first == service.last:
        return f"{name}:{service.first}"
    return f"{name}:{service.first}-{service.last}"


def _failures(
    policy: AccessPolicy, directory: Directory, test: PolicyTest
) -> Iterator[str]:
    pairs = _distinct_pairs(policy, directory, test)
    for service in test.allow:
        for source, destination in pairs:
            if not explain(policy, directory, source, destination, service).allowed:
                traffic = _describe(source, destination, service)
                yield f"{traffic} should be allowed and is not"
                break
    for service in test.deny:
        for source, destination in pairs:
            reason = _leak(policy, directory, source, destination, service)
            if reason:
                traffic = _describe(source, destination, service)
                yield f"{traffic} should be denied, but {reason}"
                break


def _distinct_pairs(
    policy: AccessPolicy, directory: Directory, test: PolicyTest
) -> list[tuple[Prefix, Prefix]]:
    """Return pairs of source and destination, one for each way rules treat them.

    Two groups of a thousand members make a million pairs, which the rules treat in a
    few ways.
    """
    sources = _distinct(
        directory, directory.find(test.sources), [r.sources for r in policy.rules]
    )
    destinations = _distinct(
        directory,
        directory.find(test.destinations),
        [r.destinations for r in policy.rules],
    )
    return [
        (source, destination)
        for source in sources
        for destination in destinations
        if source.version == destination.version
    ]


def _distinct(
    directory: Directory,
    prefixes: tuple[Prefix, ...],
    selections: list[tuple[Selector, ...]],
) -> list[Prefix]:
    """Return the first prefix of each kind: version, how each selection meets it."""
    kinds: dict[tuple[object, ...], Prefix] = {}
    for prefix in prefixes:
        parts = (part_of(directory.find(one), prefix) for one in selections)
        kind = tuple((bool(part), part == (prefix,)) for part in parts)
        kinds.setdefault((prefix.version, *kind), prefix)
    return list(kinds.values())


def _leak(
    policy: AccessPolicy,
    directory: Directory,
    source: Prefix,
    destination: Prefix,
    service: Service,
) -> str:
    """Say what allows any part of this traffic, "" if nothing does."""
    if policy.is_open:
        return "the policy is open"
    for number, rule in enumerate(policy.rules, 1):
        if (
            any(_meet(one, service) for one in rule.allow)
            and part_of(directory.find(rule.sources), source)
            and part_of(directory.find(rule.destinations), destination)
        ):
            return f"rule {number} allows it"
    return ""


def _covers(outer: Service, inner: Service) -> bool:
    """Whether *outer* allows all of *inner*."""
    if outer.transport is Transport.ANY:
        return True
    if outer.transport is not inner.transport:
        return False
    return not outer.first or (outer.first <= inner.first and inner.last <= outer.last)


def _meet(one: Service, other: Service) -> bool:
    """Whether some packet belongs to both services."""
    if Transport.ANY in (one.transport, other.transport):
        return True
    if one.transport is not other.transport:
        return False
    if not one.first or not other.first:
        return True
    return one.first <= other.last and other.first <= one.last


def _describe(source: Prefix, destination: Prefix, service: Service) -> str:
    return f"{source} to {destination} by {describe_service(service)}"
