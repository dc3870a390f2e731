"""Logging of the node: one line an event on standard error, no secrets.

A daemon's standard error is /dev/null; run it in the foreground to see its log.
"""

import logging
import sys
from typing import Final

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "silent": logging.CRITICAL + 1,
}


class _OneLine(logging.Formatter):
    """Formats a record, and the trace of an exception, as one line."""

    def format(self, record: logging.LogRecord) -> str:
        return " | ".join(super().format(record).splitlines())


def configure_logging(name: str, level: str) -> None:
    """Log from *level* on, a key of `LEVELS`, with *name* at the head of each line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(f"{name}: %(levelname)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries tell every netlink message at "debug", which costs more than the work.
    root.setLevel(max(LEVELS[level], logging.WARNING))
    logging.getLogger("meshnode").setLevel(LEVELS[level])
    # A log that cannot be written must not become an error of its own.
    logging.raiseExceptions = False
