"""The entry of the children."""

import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio

from meshnode.errors import HostError
from meshnode.node import child
from meshnode.node.child import main
from meshnode.node.tasks import arguments_of
from tests.unit.node.test_tasks import CONTROL, WORKER


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Any:
    """The log, at its usual level."""
    monkeypatch.setattr(child, "configure_logging", lambda name, level: None)
    caplog.set_level(logging.INFO)
    return caplog


def ends_with(result: int | BaseException) -> Callable[[object], Callable[[], int]]:
    """Return a preparation for a child that ends so."""

    def prepare(task: object) -> Callable[[], int]:
        def run() -> int:
            if isinstance(result, BaseException):
                raise result
            return result

        return run

    return prepare


def test_the_role_decides(monkeypatch: pytest.MonkeyPatch, lines: Any) -> None:
    """Control and workers are told apart, and their exit code is ours."""
    monkeypatch.setattr(child, "_prepare_control", ends_with(0))
    monkeypatch.setattr(child, "_prepare_worker", ends_with(4))
    assert main(["control", *arguments_of(CONTROL)]) == 0
    assert main(["ingress", *arguments_of(WORKER)]) == 4
    assert lines.text == ""


def test_a_failure_is_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, lines: Any
) -> None:
    """What goes wrong is named; the supervisor sees that something did."""
    monkeypatch.setattr(child, "_prepare_worker", ends_with(HostError("no memory")))
    assert main(["ingress", *arguments_of(WORKER)]) == 1
    assert lines.messages == ["failed: HostError: no memory"]


def test_a_group_of_errors_is_named_by_its_first(
    monkeypatch: pytest.MonkeyPatch, lines: Any
) -> None:
    """Nurseries wrap errors in groups, which say nothing themselves."""

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
            raise KeyError("inside")

    with pytest.raises(ExceptionGroup) as raised:
        trio.run(body)
    group = ExceptionGroup("outer", [raised.value])
    monkeypatch.setattr(child, "_prepare_control", ends_with(group))
    assert main(["control", *arguments_of(CONTROL)]) == 1
    assert lines.messages == ["failed: KeyError: 'inside'"]


def test_a_worker_imports_neither_trio_nor_what_holds_private_keys() -> None:
    """A worker is small, and has nothing of the handshake in its memory."""
    program = (
        "import sys, meshnode.node.child, meshnode.dataplane.worker\n"
        "from meshnode.dataplane.engines import open_engine\n"
        "open_engine('reference')\n"
        "print(*sys.modules)"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    loaded = set(output.split())
    assert "meshnode.dataplane.worker" in loaded
    for name in ("trio", "pyroute2", "click", "meshnode.wireguard.engine"):
        assert name not in loaded


@pytest.mark.parametrize(
    ("modules", "spared"),
    [
        (
            "meshnode.node.child meshnode.node.control",
            {"h11", "meshnode.mesh", "pyroute2", "sqlite3"},
        ),
        (
            "meshnode.node.child meshnode.dataplane.worker "
            "meshnode.dataplane.reference",
            {"h11", "meshnode.mesh", "pyroute2", "sqlite3", "trio"},
        ),
        (
            "meshnode.cli.wg meshnode.node.supervisor",
            {"h11", "meshnode.mesh", "nacl", "pyroute2", "sqlite3", "trio"},
        ),
    ],
)
def test_the_processes_of_a_bare_interface_import_what_they_need(
    modules: str, spared: set[str]
) -> None:
    """Their start is little else than imports; a mesh is none of theirs."""
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, *modules.split()],
        capture_output=True,
        check=True,
    )
    assert not set(done.stdout.decode().split()) & spared
