"""Play a description in namespaces: who joins, what happens, what must hold."""

import re
import time

from topology.description import Action, Must, Step, Target
from topology.hosts import Host
from topology.mesh import Mesh
from topology.narrator import Narrator
from topology.processes import LabError

_ROUND_TRIP = re.compile(r"time=([\d.]+ ms)")


def start(mesh: Mesh, narrator: Narrator) -> None:
    """Let the founder make the network and everybody join who joins at the start.

    Raises:
        LabError: if one of them does not get there.
    """
    description = mesh.description
    if description.founder is None:
        return
    network = description.network
    founder = description.founder.name
    with narrator.step(f"{founder} makes the network {network.name}") as details:
        mesh.found()
        details.append(_overlay(mesh, founder))
    for node in description.nodes:
        if node.joins_at_start:
            with narrator.step(f"{node.name} joins by an invite") as details:
                mesh.join(node.name)
                details.append(_overlay(mesh, node.name))


def play(mesh: Mesh, narrator: Narrator) -> list[str]:
    """Carry out all steps, check all that must hold, and return what did not.

    A step that fails is among what did not hold, and ends the play: what comes after
    it would prove nothing.
    """
    description = mesh.description
    failed = _check_all(mesh, narrator, "")
    for step in description.steps:
        try:
            with narrator.step(_title(step)) as details:
                _carry_out(mesh, step, details)
        except LabError as error:
            return [*failed, f"{_title(step)}: {error}"]
        if step.name:
            failed += _check_all(mesh, narrator, step.name)
    return failed


def await_answer(host: Host, address: str, seconds: float) -> str:
    """Ping until an answer comes, at most *seconds*, and return the round-trip time.

    Raises:
        LabError: if none comes.
    """
    deadline = time.monotonic() + seconds
    while True:
        # A second each: an answer that takes longer is none.
        result = host.run(f"ping -n -c 1 -W 1 {address}", check=False)
        if result.returncode == 0:
            match = _ROUND_TRIP.search(result.stdout)
            return match[1] if match else ""
        if time.monotonic() > deadline:
            raise LabError(f"{address} did not answer {host.name} in {seconds:g} s")
        # Without a route ping ends at once.
        time.sleep(0.05)


def await_silence(host: Host, address: str, seconds: float) -> None:
    """Ping until three pings in a row stay without answer, at most *seconds*.

    Raises:
        LabError: if answers keep coming.
    """
    deadline = time.monotonic() + seconds
    while host.run(f"ping -n -c 3 -i 0.2 -W 1 {address}", check=False).returncode == 0:
        if time.monotonic() > deadline:
            raise LabError(f"{address} answers {host.name} still after {seconds:g} s")


def _overlay(mesh: Mesh, node: str) -> str:
    return ", ".join(str(address) for address in mesh.addresses(node))


def _check_all(mesh: Mesh, narrator: Narrator, after: str) -> list[str]:
    """Check what must hold at one moment; return what did not, a line each."""
    failed = []
    for must in mesh.description.musts:
        if must.after == after:
            try:
                _check(mesh, narrator, must)
            except LabError as error:
                failed.append(f"{must.source} → {must.target.text}: {error}")
    return failed


def _check(mesh: Mesh, narrator: Narrator, must: Must) -> None:
    host = mesh.host(must.source)
    verb = "reaches" if must.reached else "does not reach"
    with narrator.step(f"{must.source} {verb} {must.target.text}") as details:
        address = mesh.address(must.target)
        if must.reached:
            round_trip = await_answer(host, address, must.seconds)
            details.append(f"{address} answered in {round_trip}")
        else:
            await_silence(host, address, must.seconds)


def _title(step: Step) -> str:
    if step.name:
        return step.name
    whom = _text(step.target) or step.lan or step.other
    if step.action is Action.WAIT:
        return f"wait {step.seconds:g} s"
    return f"{step.action.value} {step.node} {whom}".strip()


def _text(target: Target | None) -> str:
    return target.text if target else ""


def _carry_out(mesh: Mesh, step: Step, details: list[str]) -> None:
    match step.action:
        case Action.JOIN:
            mesh.join(step.node)
            details.append(_overlay(mesh, step.node))
        case Action.PING:
            assert step.target is not None
            address = mesh.address(step.target)
            await_answer(mesh.host(step.node), address, step.seconds)
        case Action.KILL:
            mesh.kill(step.node)
        case Action.STOP:
            mesh.stop(step.node)
        case Action.START:
            mesh.start(step.node)
        case Action.CUT:
            mesh.underlay.cut(step.node, lan=step.lan, other=step.other)
        case Action.HEAL:
            mesh.underlay.heal(step.node, lan=step.lan, other=step.other)
        case Action.BLACKHOLE:
            mesh.underlay.blackhole(step.node, step.other)
        case Action.REBIND:
            mesh.underlay.router(step.node).rebind()
        case Action.WAIT:
            time.sleep(step.seconds)
