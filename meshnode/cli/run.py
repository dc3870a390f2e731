"""Run a command and turn what becomes of it into an exit code.

Every error is one line on standard error. The trace of an unexpected one is shown
with `MESHNODE_DEBUG=1`.
"""

import os
import sys

import click

from meshnode.errors import MeshnodeError

FAILED = 1
PRIVILEGE_MISSING = 5
INTERRUPTED = 130


def run(command: click.Command, program: str) -> int:
    """Run *command* on the process's arguments and return the exit code."""
    try:
        result = command.main(prog_name=program, standalone_mode=False)
        sys.stdout.flush()
    except click.Abort as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            return INTERRUPTED
        return _fail(program, "aborted", FAILED)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except MeshnodeError as error:
        _show_trace()
        return _fail(program, str(error), error.exit_code)
    except BrokenPipeError:
        _abandon_stdout()
        return FAILED
    except PermissionError as error:
        _show_trace()
        return _fail(program, _describe(error), PRIVILEGE_MISSING)
    except OSError as error:
        _show_trace()
        return _fail(program, _describe(error), FAILED)
    except Exception as error:
        _show_trace()
        text = f"unexpected {type(error).__name__}: {error}"
        return _fail(program, f"{text} (trace: MESHNODE_DEBUG=1)", FAILED)
    return result if isinstance(result, int) else 0


def _fail(program: str, text: str, code: int) -> int:
    click.echo(f"{program}: {' '.join(text.split())}", err=True)
    return code


def _describe(error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _show_trace() -> None:
    if os.environ.get("MESHNODE_DEBUG") == "1":
        # Seldom needed, and it takes as long to import as a small command takes.
        import traceback

        traceback.print_exc()


def _abandon_stdout() -> None:
    """Point standard output at nothing: the interpreter flushes it once more."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
