"""Completion as a real bash does it, and as the other shells ask for it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete, get_completion_class

import kithara
from kithara.cli import lyre, main
from kithara.cli.app import COMMANDS
from kithara.cli.app import kithara as kithara_command
from kithara.cli.origin import Origin

PACKAGE = Path(kithara.__file__).parent.parent
Complete = Callable[..., list[list[str]]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A PATH on which `kithara` is the one under test."""
    program = tmp_path / "bin" / "kithara"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m kithara "$@"\n')
    program.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(PACKAGE),
        "HOME": str(tmp_path),
    }


@pytest.fixture
def bash(tmp_path: Path, environment: dict[str, str]) -> Complete:
    """What bash completes the last word of each line to, having taken the script as the documentation tells it to."""

    def complete(*lines: tuple[str, ...]) -> list[list[str]]:
        script = """
            eval "$(_KITHARA_COMPLETE=bash_source kithara)"
            function=$(complete -p kithara | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        """
        for line in lines:
            script += f"""
                COMP_WORDS=({shlex.join(("kithara", *line))}) COMP_CWORD={len(line)}
                COMPREPLY=()
                $function kithara
                echo "${{COMPREPLY[@]}}"
            """
        done = subprocess.run(
            ["bash", "--norc", "-c", script],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert (0, "") == (done.returncode, done.stderr)
        return [line.split() for line in done.stdout.split("\n")[:-1]]

    return complete


def test_bash_completes_commands_options_and_choices(bash: Complete) -> None:
    assert [list(COMMANDS), ["decode", "demo"], ["--picture"], ["int16", "int24", "int32"], ["pin"]] == bash(
        ("",), ("de",), ("play", "--pic"), ("decode", "--samples", "int"), ("cache", "pi")
    )


def test_where_assets_go_bash_completes_ids(bash: Complete, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cache = ("cache", "--cache", str(tmp_path / "cache"))
    with Origin({"song.flac": lyre.flac(lyre.melody(1))}) as origin:
        main(["fetch", "--cache", str(tmp_path / "cache"), origin.url("song.flac"), "--quiet"])
        main([*cache, "ls", "--json"])
    [asset] = json.loads(capfd.readouterr().out)["assets"]
    assert [[asset["id"][:12]], []] == bash((*cache, "pin", asset["id"][:2]), (*cache, "pin", "zz"))


def test_a_completion_of_commands_imports_no_decoder(environment: dict[str, str]) -> None:
    script = "import click, sys; from kithara.cli.app import kithara\n"
    script += "kithara.shell_complete(click.Context(kithara), ''); print('av' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    assert ("False\n", "") == (done.stdout, done.stderr)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_script_and_its_answers(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = get_completion_class(shell)
    assert kind is not None
    completion = kind(kithara_command, {}, "kithara", "_KITHARA_COMPLETE")
    assert f"_KITHARA_COMPLETE={shell}_complete" in completion.source()
    monkeypatch.setenv("COMP_WORDS", "kithara fe")
    monkeypatch.setenv("COMP_CWORD", "fe" if shell == "fish" else "1")
    assert "fetch" in completion.complete()


@pytest.mark.parametrize("words", [("info",), ("fetch", "a.mp3"), ("play",), ("decode",)])
def test_where_media_go_files_are_completed(words: tuple[str, ...]) -> None:
    completion = ShellComplete(kithara_command, {}, "kithara", "_KITHARA_COMPLETE")
    [item] = completion.get_completions(list(words), "so")
    assert ("file", "so") == (item.type, item.value)
