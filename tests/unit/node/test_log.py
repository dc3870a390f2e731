"""The node's log."""

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from meshnode.node.log import LEVELS, configure_logging


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Put logging back afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    own = logging.getLogger("meshnode")
    level = own.level
    yield
    root.handlers[:], root.level, logging.raiseExceptions = before
    own.setLevel(level)


Capture = pytest.CaptureFixture[str]


def test_a_record_is_one_line_with_its_source(capsys: Capture) -> None:
    """Also a trace of an exception is."""
    configure_logging("wg0 control", "debug")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("meshnode.node").exception("failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("wg0 control: ERROR: failed | Traceback")
    assert line.endswith("ValueError: two | lines")


@pytest.mark.parametrize(
    ("level", "count"),
    [("debug", 4), ("info", 3), ("warning", 2), ("error", 1), ("silent", 0)],
)
def test_levels(capsys: Capture, level: str, count: int) -> None:
    """Each level shows itself and what is worse."""
    configure_logging("wg0", level)
    logger = logging.getLogger("meshnode.manage")
    for write in (logger.debug, logger.info, logger.warning, logger.error):
        write("x")
    assert len(capsys.readouterr().err.splitlines()) == count
    assert level in LEVELS


def test_libraries_say_only_what_is_wrong(capsys: Capture) -> None:
    """They would tell every netlink message."""
    configure_logging("wg0", "debug")
    logging.getLogger("pyroute2").debug("a message")
    logging.getLogger("pyroute2").warning("broken")
    assert capsys.readouterr().err == "wg0: WARNING: broken\n"


def test_a_log_that_cannot_be_written_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A full disk or a closed pipe does not stop the node."""
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    configure_logging("wg0", "info")
    logging.getLogger("meshnode").error("x")
    monkeypatch.undo()
    assert capsys.readouterr().err == ""
