"""`meshnode wg` and `meshnode-wg`, over a supervisor that only remembers."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshnode.cli.wg import LOG_LEVELS, main
from meshnode.errors import PrivilegeError
from meshnode.manage.paths import Directories
from meshnode.node.launch import Settings
from meshnode.node.resources import Opening
from meshnode.offloads import Offloads

DEFAULTS = {
    "foreground": False,
    "engine": "reference",
    "workers": 1,
    "log_level": "info",
    "directories": Directories(),
    "offloads": Offloads(),
}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The interfaces that were run, with what for."""
    runs: list[tuple[str, dict[str, Any]]] = []

    def run_interface(
        name: str, *, foreground: bool, settings: Settings, opening: Opening
    ) -> int:
        assert opening == Opening(workers=opening.workers)
        options = {
            "foreground": foreground,
            "engine": settings.engine,
            "workers": opening.workers,
            "log_level": settings.log_level,
            "directories": settings.directories,
            "offloads": settings.offloads,
        }
        runs.append((name, options))
        return 0

    supervisor = importlib.import_module("meshnode.node.supervisor")
    monkeypatch.setattr(supervisor, "run_interface", run_interface)
    return runs


Runs = list[tuple[str, dict[str, Any]]]


def test_an_interface_is_run_with_defaults(
    meshnode: Callable[..., Any], runs: Runs
) -> None:
    """A name is all that is needed."""
    assert meshnode("wg", "wg0").code == 0
    assert runs == [("wg0", DEFAULTS)]


def test_options_are_passed_on(meshnode: Callable[..., Any], runs: Runs) -> None:
    """Every option reaches the supervisor."""
    meshnode(
        *("wg", "-f", "--engine", "fast", "--workers", "4", "--log-level", "debug"),
        *("--state-dir", "/a", "--run-dir", "/b", "wg0"),
        *("--offload", "udp-segmentation=whole", "--offload", "tun-udp=off"),
    )
    assert runs == [
        (
            "wg0",
            {
                "foreground": True,
                "engine": "fast",
                "workers": 4,
                "log_level": "debug",
                "directories": Directories(state=Path("/a"), run=Path("/b")),
                "offloads": Offloads(udp_segmentation="whole", tun_udp="off"),
            },
        )
    ]


@pytest.mark.parametrize(
    ("variable", "value", "option", "expected"),
    [
        ("MESHNODE_FOREGROUND", "1", "foreground", True),
        ("WG_PROCESS_FOREGROUND", "1", "foreground", True),
        ("WG_PROCESS_FOREGROUND", "0", "foreground", False),
        ("MESHNODE_ENGINE", "fast", "engine", "fast"),
        ("MESHNODE_WORKERS", "16", "workers", 16),
        ("MESHNODE_LOG_LEVEL", "error", "log_level", "error"),
        (
            "MESHNODE_STATE_DIR",
            "/a",
            "directories",
            Directories(state=Path("/a")),
        ),
        ("MESHNODE_RUN_DIR", "/b", "directories", Directories(run=Path("/b"))),
        ("MESHNODE_UAPI_DIR", "/c", "directories", Directories(uapi=Path("/c"))),
        (
            "MESHNODE_OFFLOAD",
            "tun-tcp=off udp-coalescing=off",
            "offloads",
            Offloads(udp_coalescing="off", tun_tcp="off"),
        ),
        ("LOG_LEVEL", "verbose", "log_level", "debug"),
        ("LOG_LEVEL", "silent", "log_level", "silent"),
        ("LOG_LEVEL", "ERROR", "log_level", "error"),
        ("LOG_LEVEL", "of another program", "log_level", "info"),
    ],
)
def test_the_environment_is_honoured(
    meshnode: Callable[..., Any],
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    option: str,
    expected: object,
) -> None:
    """Our variables and those of wireguard-go set their option."""
    monkeypatch.setenv(variable, value)
    assert meshnode("wg", "wg0").code == 0
    assert runs == [("wg0", {**DEFAULTS, option: expected})]


@pytest.mark.parametrize("option", ["tun-tcp", "tun-tcp=whole", "tun=off"])
def test_a_wrong_offload_is_one_line_that_names_the_right_ones(
    meshnode: Callable[..., Any], runs: Runs, option: str
) -> None:
    """Nothing is run."""
    result = meshnode("wg", "wg0", "--offload", option)
    assert result.code != 0
    assert option in result.err
    assert "tun-tcp" in result.err
    assert result.err.count("\n") == 1
    assert runs == []


def test_our_log_level_goes_before_that_of_wireguard_go(
    meshnode: Callable[..., Any], runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option goes before our variable, and that before theirs."""
    monkeypatch.setenv("LOG_LEVEL", "silent")
    monkeypatch.setenv("MESHNODE_LOG_LEVEL", "warning")
    meshnode("wg", "wg0")
    meshnode("wg", "wg0", "--log-level", "error")
    assert [options["log_level"] for _, options in runs] == ["warning", "error"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a/b"],
        ["x" * 16],
        [".."],
        ["wg0", "wg1"],
        ["wg0", "--engine", "warp"],
        ["wg0", "--workers", "0"],
        ["wg0", "--workers", "17"],
        ["wg0", "--log-level", "verbose"],
        ["wg0", "--nonsense"],
    ],
    ids=str,
)
def test_wrong_usage_runs_nothing(
    meshnode: Callable[..., Any], runs: Runs, arguments: list[str]
) -> None:
    """It ends with 2 and an explanation."""
    result = meshnode("wg", *arguments)
    assert result.code == 2
    assert result.err
    assert runs == []


def test_an_error_of_the_supervisor_ends_the_command(
    meshnode: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exit code and its line are the command's."""

    def refuse(name: str, **options: Any) -> int:
        raise PrivilegeError("needs CAP_NET_ADMIN; run it as root")

    supervisor = importlib.import_module("meshnode.node.supervisor")
    monkeypatch.setattr(supervisor, "run_interface", refuse)
    result = meshnode("wg", "wg0")
    assert result.code == 5
    assert result.err == "meshnode: needs CAP_NET_ADMIN; run it as root\n"


def test_the_alias_is_the_same_command(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`meshnode-wg wg0` is what wg-quick calls."""
    monkeypatch.setattr(sys, "argv", ["meshnode-wg", "wg0"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert runs == [("wg0", DEFAULTS)]
    monkeypatch.setattr(sys, "argv", ["meshnode-wg", "no/name"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("meshnode-wg: ")


def test_the_log_levels_are_those_of_the_node() -> None:
    """The command offers what the node understands."""
    log = importlib.import_module("meshnode.node.log")
    assert set(LOG_LEVELS) == set(log.LEVELS)
