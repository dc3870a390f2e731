"""Nodes as services of a real systemd: started, killed, stopped by it.

In the laboratory there is none. The network must exist already and nobody be up.
"""

from topology.checks import await_answer
from topology.hosts import wait_until
from topology.processes import LabError
from vagrant.journal import Journal
from vagrant.machines import SLOWNESS, Machine
from vagrant.mesh import MachineMesh

_START_TIMEOUT = 60.0
_ANSWERED = 10.0 * SLOWNESS


def check(mesh: MachineMesh, journal: Journal) -> None:
    """Check the unit on the founder and on the first who joined.

    Raises:
        LabError: naming what does not work.
    """
    description = mesh.description
    names = [node.name for node in description.nodes if node.joins_at_start]
    if description.founder is None or not names:
        raise LabError(f"{description.source}: nobody joins at the start")
    founder, other = description.founder.name, names[0]
    left, right = mesh.machine(founder), mesh.machine(other)
    unit = f"meshnode@{mesh.network}.service"
    for name, machine in ((founder, left), (other, right)):
        with journal.step(f"{name}: systemctl start {unit}"):
            machine.run(["systemctl", "start", unit], timeout=_START_TIMEOUT)
    # When a unit has started its address is there: nothing is waited for.
    address = str(mesh.addresses(other)[0])
    with journal.step(f"{founder} reaches {other}") as details:
        details.append(await_answer(left, address, _ANSWERED))
    with journal.step(f"{other} is killed, systemd starts it again") as details:
        right.run(["systemctl", "kill", "--signal=KILL", unit])
        wait_until(
            lambda: _state(right, unit) == ("active", "1"),
            f"{unit} is active again",
            timeout=_START_TIMEOUT * SLOWNESS,
        )
        details.append(await_answer(left, address, _ANSWERED))
    with journal.step("systemctl stop: nothing stays behind"):
        for name, machine in ((founder, left), (other, right)):
            machine.run(["systemctl", "stop", unit], timeout=_START_TIMEOUT)
            lans = {lan.name for lan in description.lans_of(name)}
            interfaces = sorted(machine.interfaces() - lans)
            if interfaces or mesh.processes(name):
                raise LabError(f"{name} left {interfaces}, {mesh.processes(name)}")


def _state(machine: Machine, unit: str) -> tuple[str, str]:
    """Return a unit's state and how often it was started again."""
    command = ["systemctl", "show", "--property=ActiveState,NRestarts", unit]
    lines = machine.run(command).stdout.splitlines()
    values = dict(line.split("=", 1) for line in lines)
    return values["ActiveState"], values["NRestarts"]
