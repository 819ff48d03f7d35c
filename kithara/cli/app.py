"""The command ``kithara`` and the one place where errors become messages and exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from ..errors import KitharaError
from ..version import __version__
from .console import say_error
from .interrupts import INTERRUPTED

FAILED = 1

COMMANDS = {
    "cache": "Look after what is kept for offline use.",
    "decode": "Decode to a WAV or FLAC file.",
    "demo": "Show the whole path on this machine, without a network.",
    "fetch": "Fetch into the cache, resuming where it stopped.",
    "info": "Tell what a URL or a file holds.",
    "play": "Play through the sound card, or in real time into nothing.",
}


class Commands(click.Group):
    """Imports a command when it is called for, so that ``--help`` needs no decoder."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f".{cmd_name}", __package__), cmd_name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # click itself would import every command for its help; options it does well.
        words = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return words + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)  # click itself would write a line to stderr

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def kithara() -> None:
    """Stream audio from URLs: a seekable file, sample-exact PCM and an offline cache from the first second.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line on *arguments*, ``sys.argv`` when None; returns the exit code."""
    try:
        status = kithara.main(arguments, prog_name="kithara", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code if isinstance(error, click.UsageError) else FAILED
    except click.Abort:
        return INTERRUPTED
    except KitharaError as error:
        say_error(error)
        return FAILED
    except BrokenPipeError:
        # Whoever read our output has had enough. Python would complain once more while it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
