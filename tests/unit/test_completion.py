"""The shells' completions: not stale, and what each shell makes of them."""

import subprocess
from pathlib import Path

import pytest

from docs import generate_completion
from exporter.cli import SHELLS, main
from tests.conftest import missing_part
from tests.parts import debian

COMMANDS = ["check", "completion", "config", "demo", "healthcheck", "once", "run", "version"]
EVERY_SHELL = pytest.mark.parametrize("shell", SHELLS)

# What Tab offers for a line, one word a line; the file to be loaded is $1, the line $2.
BASH = """\
eval "$(cat "$1")"
read -ra COMP_WORDS <<< "$2"
[ "${2: -1}" = ' ' ] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_shtab_qsticky
printf '%s\\n' "${COMPREPLY[@]}"
"""
# zsh completes with functions of its own; this shows what it is told to complete, and by what.
ZSH = """\
compdef() { print -r -- "$@" }
eval "$(cat "$1")"
whence -w _shtab_qsticky
"""


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@EVERY_SHELL
def test_a_completion_is_not_stale(shell: str) -> None:
    kept = generate_completion.file(shell).read_text(encoding="utf-8")
    assert kept == generate_completion.completion(shell), "run `make docs`"


@EVERY_SHELL
def test_the_command_prints_the_completion_of_a_shell(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    assert capsys.readouterr().out == generate_completion.completion(shell)


def test_the_command_names_the_shells_that_it_knows(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["completion", "tcsh"])

    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "'tcsh'" in said
    assert all(shell in said for shell in SHELLS)


def test_bash_offers_commands_options_and_files(tmp_path: Path) -> None:
    (tmp_path / "tunnels.yaml").touch()
    file = str(generate_completion.file("bash"))

    def tab(line: str) -> list[str]:
        return sorted(run(tmp_path, "bash", "--norc", "-c", BASH, "bash", file, line).split())

    assert tab("qsticky ") == COMMANDS
    assert tab("qsticky he") == ["healthcheck"]
    assert tab("qsticky --v") == ["--version"]
    assert tab("qsticky completion ") == ["bash", "zsh"]
    assert tab("qsticky config --c") == ["--check"]
    assert tab("qsticky config --check tun") == ["tunnels.yaml"]


def test_zsh_takes_it_as_the_completion_of_qsticky(tmp_path: Path) -> None:
    try:
        zsh = debian.bring("zsh-trixie", "trixie", "zsh") / "zsh"
    except debian.PartMissing as error:
        missing_part(f"no zsh: {error}")
    file = generate_completion.file("zsh")

    said = run(tmp_path, str(zsh), "-f", "-c", ZSH, "zsh", str(file))

    assert said == "_shtab_qsticky -N qsticky\n_shtab_qsticky: function\n"
    # the first line, for those who put the file into a folder of `fpath`
    assert file.read_text(encoding="utf-8").startswith("#compdef qsticky\n")
