"""Seeds, deterministic schedules, the gate for root, and the laboratory."""

import os
import random
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]

# `topology` and `tools` are no part of the installed package.
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

# No verdict depends on wall time: the machine may be busy.
settings.register_profile(
    "meshnode",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("meshnode")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a failed run be repeated."""
    parser.addoption(
        "--seed",
        type=int,
        default=None,
        help="of all random choices in tests; a fresh one by default",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed of this run."""
    if config.option.seed is None:
        config.option.seed = random.SystemRandom().randrange(2**32)


def pytest_report_header(config: pytest.Config) -> str:
    """Print the seed at the head of the run."""
    return f"seed: {config.option.seed} (repeat with --seed {config.option.seed})"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the seed again below the failures, where it is looked for."""
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        terminalreporter.write_line(f"repeat with --seed {config.option.seed}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail tests that need root without it: a skipped test proves nothing."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.fail(
            "needs root for network namespaces: use tools/test, "
            "or deselect with -m 'not root'",
            pytrace=False,
        )


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run; put it into the messages of seeded tests."""
    value: int = request.config.option.seed
    return value


@pytest.fixture
def rng(request: pytest.FixtureRequest, seed: int) -> random.Random:
    """A random generator of the test's own: other tests do not move it."""
    return random.Random(f"{seed} {request.node.nodeid}")


@pytest.fixture(autouse=True)
def _deterministic_schedule(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, seed: int
) -> None:
    # Private names: the attributes must exist, else this fails loudly.
    run = trio._core._run
    monkeypatch.setattr(run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr(run, "_r", random.Random(f"{seed} {request.node.nodeid}"))


@pytest.fixture
def lab() -> Iterator[Any]:
    """A laboratory of network namespaces; the test must leave it clean."""
    # Late, so that only tests in namespaces depend on the laboratory's code.
    from topology.hosts import Lab

    with Lab() as laboratory:
        yield laboratory


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the output of the laboratory's processes to a failed test."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.failed and call.when == "call" and lab is not None:
        report.sections.append(("laboratory", lab.logs()))
    return report
