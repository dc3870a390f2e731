"""`tools/simulate`: its summary, its exit status, and how it tells a failure."""

import json
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from meshnode.simulation import grid, mesh_scenario, scenario
from meshnode.simulation.grid_cells import Cell, Way
from meshnode.simulation.invariants import Violation
from meshnode.simulation.nat_kinds import NatKind

TOOL = Path(__file__).parents[2] / "tools" / "simulate"


@pytest.fixture
def simulate(monkeypatch, capsys):
    """Return a function that runs the tool here: exit status, output, errors."""
    main = runpy.run_path(str(TOOL))["main"]

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [str(TOOL), *arguments])
        status = main()
        return status, *capsys.readouterr()

    return run


def test_some_seeds_at_once():
    """One JSON object for each, and a summary."""
    arguments = ["--seeds", "3", "--minutes", "0.2", "--hosts", "2-3", "--json"]
    run = subprocess.run(
        [sys.executable, TOOL, *arguments], capture_output=True, text=True, check=False
    )
    outcomes = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == 0, run.stderr
    assert {outcome["seed"] for outcome in outcomes} == {0, 1, 2}
    assert "3 seeds" in run.stderr
    assert "0 failures" in run.stderr


def test_a_failure_is_told_with_the_command_that_repeats_it(simulate, monkeypatch):
    """Exit status 1, the story, and the same seed, length and hosts."""

    def fail(seed, *, minutes, hosts):
        raise Violation("I1: a rule", "the story")

    monkeypatch.setattr(scenario, "play", fail)
    status, output, _ = simulate("--seed", "7", "--minutes", "2.5", "--hosts", "3")
    assert status == 1
    assert "I1: a rule\nthe story" in output
    assert "tools/simulate --seed 7 --minutes 2.5 --hosts 3" in output
    assert "1 failures [7]" in output


def test_a_crash_is_a_failure_too(simulate, monkeypatch):
    """With its traceback."""

    def crash(seed, *, minutes, hosts):
        raise ZeroDivisionError

    monkeypatch.setattr(scenario, "play", crash)
    status, output, _ = simulate("--seed", "7")
    assert status == 1
    assert "ZeroDivisionError" in output


def test_a_failing_mesh_is_told_with_the_command_that_repeats_it(simulate, monkeypatch):
    """Its nodes are part of it."""

    def fail(seed, *, nodes):
        raise Violation("I8: a rule", f"the story of {nodes}")

    monkeypatch.setattr(mesh_scenario, "play_mesh", fail)
    status, output, _ = simulate("--mesh", "--seed", "7", "--nodes", "3-9")
    assert status == 1
    assert "I8: a rule\nthe story of (3, 9)" in output
    assert "tools/simulate --seed 7 --mesh --nodes 3-9" in output


def test_a_mesh_is_played(simulate):
    """One seed, with what it came to."""
    status, output, _ = simulate("--mesh", "--seed", "0", "--nodes", "3")
    assert status == 0, output
    assert json.loads(output.splitlines()[0])["hosts"] >= 3


@pytest.mark.parametrize("nodes", ["2", "9-3", "3-51"])
def test_a_mesh_has_three_to_fifty_nodes(simulate, nodes):
    """Anything else is a usage error."""
    with pytest.raises(SystemExit, match="2"):
        simulate("--mesh", "--nodes", nodes)


@pytest.mark.parametrize("hosts", ["1", "3-2", "x", "2-300"])
def test_a_network_needs_two_hosts_at_least(simulate, hosts):
    """Anything else is a usage error."""
    with pytest.raises(SystemExit, match="2"):
        simulate("--hosts", hosts)


def test_the_grid_is_told_as_a_table(simulate, monkeypatch):
    """Exit status 1 if a pair is not as direct as its NATs allow."""
    kinds = (NatKind.OPEN, NatKind.SYMMETRIC)
    good = Cell(*kinds, way=Way.DIRECT, answered=0.16, direct=0.2)
    asked = []

    def play(seed, *, loss):
        asked.append((seed, loss))
        return cells

    monkeypatch.setattr(grid, "play_grid", play)
    cells = [good]
    status, output, _ = simulate("--grid", "--seed", "7", "--loss", "5")
    assert (status, asked) == (0, [(7, 0.05)])
    assert "200" in output
    assert "1 pairs: 1 connected, 1 direct" in output
    cells = [replace(good, way=Way.RELAYED)]
    status, output, errors = simulate("--grid", "--json")
    assert status == 1
    assert json.loads(output)["path"] == "relayed"
    assert "1 relayed" in errors
