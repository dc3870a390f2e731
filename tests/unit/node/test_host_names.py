"""What the host is told of the names, when, and what is said of it."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from meshnode.hostplan import Dns, DnsManager, DnsState
from meshnode.manage.config_values import DnsSettings
from meshnode.mesh.describe import complaints
from meshnode.node.host_names import HostNames
from meshnode.node.name_table import NameBook
from tests.unit.node.shell_parts import Shell


class FakeDns:
    """Notes what the host is told; `state` is what comes of it."""

    def __init__(self) -> None:
        self.plans: list[Dns] = []
        self.state = DnsState("systemd-resolved")

    def apply(self, plan: Dns) -> DnsState:
        """Take a plan."""
        self.plans.append(plan)
        return self.state

    def look(self, state: DnsState) -> DnsState:
        """Nobody else changed anything."""
        return state


class Names:
    """The names of a founder's host."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.host = FakeDns()
        planner: Any = self.host
        self.names = HostNames(
            shell.shell,
            NameBook(shell.shell),
            planner,
            DnsSettings(),
            interface="mesh",
        )

    async def settle(self) -> Dns:
        """Return the plan that was carried out last."""
        with trio.fail_after(5):
            await self.names.settled()
        return self.host.plans[-1]

    def health(self) -> list[str]:
        """Return the complaints about names."""
        found = complaints(self.shell.node, wall=0.0)
        return [text for text in found if "names of" in text]


@pytest.fixture
def names(
    rng: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Names]:
    """The names, nothing carried out yet."""
    shell = Shell(rng, tmp_path, monkeypatch)
    shell.start()
    yield Names(shell)
    shell.close()


async def test_host_is_told_once_there_is_an_address(
    names: Names, nursery: trio.Nursery
) -> None:
    """The network's domain first, and its reverse zones."""
    nursery.start_soon(names.names.run)
    await trio.testing.wait_all_tasks_blocked()
    assert not names.host.plans
    names.names.follow()
    plan = await names.settle()
    node = names.shell.node
    assert plan.domains[0] == f"{node.trust.charter.name}.mesh"
    assert [one.rpartition(".")[0].rpartition(".")[2] for one in plan.domains[1:]] == [
        "in-addr",
        "ip6",
    ]
    assert plan.interface == "mesh"
    assert plan.manager is DnsManager.AUTO
    assert not plan.takes_all
    told = names.names.describe()
    assert told["by"] == "systemd-resolved"
    assert told["servers"] == list(plan.servers)
    assert told["problem"] is None


async def test_configuration_and_exits_are_followed(
    names: Names, nursery: trio.Nursery
) -> None:
    """Without a restart; what does not change is not done again."""
    nursery.start_soon(names.names.run)
    await trio.testing.wait_all_tasks_blocked()
    names.names.take_all(True)
    assert (await names.settle()).takes_all
    names.names.take_all(True)
    await names.settle()
    assert len(names.host.plans) == 1
    names.names.configure(DnsSettings(resolver=False, search=False))
    plan = await names.settle()
    assert plan.manager is DnsManager.OFF
    assert not plan.searches
    assert names.names.describe()["resolver"] is False


async def test_problem_is_a_complaint_only_if_the_way_was_asked_for(
    names: Names, nursery: trio.Nursery
) -> None:
    """A host without resolved is well all the same; what can be done is shown."""
    nursery.start_soon(names.names.run)
    await trio.testing.wait_all_tasks_blocked()
    names.host.state = DnsState(problem="no such thing")
    names.names.follow()
    await names.settle()
    assert names.names.describe()["problem"] == "no such thing"
    assert not names.health()
    names.names.configure(DnsSettings(manager=DnsManager.RESOLVED))
    await names.settle()
    (text,) = names.health()
    assert text.endswith(".mesh: no such thing")
    names.host.state = DnsState("systemd-resolved")
    names.names.follow()
    await names.settle()
    assert not names.health()


async def test_nobody_waits_for_what_nobody_does(names: Names) -> None:
    """Before the task has begun."""
    names.names.configure(DnsSettings(search=False))
    with trio.fail_after(1):
        await names.names.settled()
