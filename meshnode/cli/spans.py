"""Time spans on the command line: 90s, 30m, 12h, 7d."""

import re
from typing import Any

import click

_SPAN = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Span(click.ParamType[int]):
    """Converts a text as 12h into seconds."""

    name = "span"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the seconds that *value* stands for."""
        if isinstance(value, int):
            return value
        match = _SPAN.fullmatch(value)
        if match is None or not int(match[1]):
            self.fail(f"{value!r} is no span: write 90s, 30m, 12h or 7d", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]


SPAN = Span()
"""The one instance that options need."""
