"""The way in: answers `--version` before anything heavy is imported; turns errors into one line and an exit code."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Runs `gamenode-agent`."""
    if sys.argv[1:] == ["--version"]:
        from importlib.metadata import version

        sys.stdout.write(f"gamenode-agent {version('gamenode')}\n")
        sys.exit(0)
    sys.exit(_run())


def _run() -> int:
    import click

    from gamenode_agent.commands import root
    from gamenode_pipelines.errors import GameNodeError
    from gamenode_proto.process.exits import ExitCode, exit_for

    try:
        result = root.main(prog_name="gamenode-agent", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(error.format_message() + "\n")
        return ExitCode.USAGE
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "gamenode-agent"
        message = " ".join(error.format_message().split())
        sys.stderr.write(f"gamenode-agent: {message} (see {where} --help)\n")
        return ExitCode.USAGE
    except click.Abort:
        return ExitCode.INTERRUPTED
    except GameNodeError as error:
        sys.stderr.write(f"gamenode-agent: {error.message}\n")
        return exit_for(error.code)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except OSError as error:
        sys.stderr.write(f"gamenode-agent: {error}\n")
        return ExitCode.FAILED
    return result if isinstance(result, int) else ExitCode.OK
