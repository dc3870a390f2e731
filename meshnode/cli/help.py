"""Text that the help of several commands ends with."""

EXIT_CODES = """\b
Exit codes:
  0  done
  1  failed
  2  wrong usage
  3  no such peer, network or key
  4  timed out
  5  permission denied
  130  interrupted
"""
"""The table for an epilog; the first line keeps click from wrapping it."""


def examples(*lines: str) -> str:
    """Return an epilog that shows these command lines."""
    title = "Example" if len(lines) == 1 else "Examples"
    return "\n".join(["\b", f"{title}:", *(f"  {line}" for line in lines)])
