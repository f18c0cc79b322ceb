"""The manual page and the shells' completion that packages bring."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from libvirt_exporter.commands.arguments import command_line

ROOT = Path(__file__).parents[2]
FLAGS = [
    flag
    for action in command_line()._actions
    for flag in action.option_strings
    if flag not in ("-h", "--help")
]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that holds them, made of this source."""
    directory = tmp_path_factory.mktemp("generated")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [ROOT / "deploy/packages/generate.sh", ROOT, directory],
        env=environment | {"PYTHON": sys.executable},
        check=True,
    )
    return directory


def test_manual_page_names_every_flag_and_command(generated: Path) -> None:
    """It is made of the command line itself, so nothing of it is left out."""
    page = (generated / "libvirt-exporter.8").read_text().replace("\\", "")

    assert page.startswith(".TH LIBVIRT-EXPORTER")
    assert [flag for flag in FLAGS if flag not in page] == []
    assert "libvirt-exporter doctor" in page
    assert "exit status" in page


def test_bash_completes_commands_and_flags(generated: Path) -> None:
    """As it does when somebody presses the tabulator key twice."""
    completion = generated / "libvirt-exporter"
    ask = (
        '. "$0"; COMP_WORDS=(libvirt-exporter "$1"); COMP_CWORD=1; '
        '_shtab_libvirt_exporter; echo "${COMPREPLY[@]}"'
    )

    def completed(word: str) -> str:
        return subprocess.run(
            ["bash", "-c", ask, completion, word], capture_output=True, text=True, check=True
        ).stdout

    assert completed("doc").split() == ["doctor"]
    assert "--web.listen-address" in completed("--web.").split()


def test_completion_of_zsh_names_every_flag(generated: Path) -> None:
    """zsh itself is not among what the tests install."""
    completion = (generated / "_libvirt-exporter").read_text()

    assert completion.startswith("#compdef libvirt-exporter\n")
    assert [flag for flag in FLAGS if flag not in completion] == []
