"""The commands of docs/devices.md are accepted as they stand, and its sums are right."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.run import get_args_parser

from hundredfold import cli
from hundredfold.cli import load_verb, main
from hundredfold.config import Verb


@pytest.fixture(scope="module")
def page(repo_root: Path) -> str:
    return (repo_root / "docs" / "devices.md").read_text(encoding="utf-8")


def commands(page: str) -> list[list[str]]:
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    return [shlex.split(line) for line in "".join(blocks).splitlines() if "hundredfold" in line]


def test_every_command_is_accepted_as_it_stands(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[Any] = []
    monkeypatch.setattr(cli, "load_verb", lambda name: Verb(load_verb(name).settings, received.append))
    launched = 0
    for command in commands(page):
        words = command[command.index("hundredfold") + 1 :]
        if "torchrun" in command:
            given = get_args_parser().parse_args(command[command.index("torchrun") + 1 :])
            assert given.module
            assert [given.training_script, *given.training_script_args] == ["hundredfold", *words]
            launched += 1
        assert main(words) == 0, command
    assert len(received) == len(commands(page)) >= 6
    assert launched >= 4


def test_batches_of_the_commands_can_be_shared(page: str) -> None:
    checked = 0
    for command in commands(page):
        if "torchrun" in command and "--batch-size" in command:
            ranks = int(command[command.index("--nproc-per-node") + 1])
            assert int(command[command.index("--batch-size") + 1]) % (2 * ranks) == 0
            checked += 1
    assert checked >= 3


def test_the_sums_follow_from_the_published_figures(page: str) -> None:
    images, epochs, hours, gpus, ratio = 1_281_167, 300, 72.6, 16, 4.03
    published = images * epochs / (hours * 3600) / gpus
    assert f"**{published:.1f} images/s a GPU**" in page
    assert f"**{published / ratio:.1f} images/s a GPU**" in page
    assert f"{published * 1.66:.0f} images/s a GPU of that kind" in page  # two crops in place of twelve
    sizes = {"bone_marrow": 171_374, "endoscopy": 99_417 + 7_463, "isic": 44_107 + 17_731}
    row = r"^\| (\w+) \| (ViT-S/16|paper) \| (\d+) \| (\S+) \| (\S+) \| (\S+) \| (\w+) \|$"
    rows = re.findall(row, page, re.MULTILINE)
    assert len(rows) == 18
    for name, recipe, count, *numbers, kind in rows:
        speed, took, cost = (float(number.replace(",", "")) for number in numbers)
        rate = published / (ratio if recipe == "paper" else 1) * int(count)
        assert speed == pytest.approx(rate, abs=0.5)
        assert took == pytest.approx(sizes[name] * epochs / rate / 3600, abs=0.05)
        assert cost == pytest.approx(sizes[name] * epochs / rate / 3600 * int(count) * 2, abs=0.5)
        assert kind == "estimated"
