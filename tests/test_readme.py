"""What the README says works as it stands there."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from hpo import SearchSpace
from hpo.testing.pruners import PrunerConformance

README = (Path(__file__).parents[1] / "README.md").read_text()


def block(language, containing):
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(text for text in found if containing in text)


def test_ten_lines_of_python():
    names = {}
    exec(block("python", "HPOSearchCV"), names)
    assert names["search"].best_score_ > 0.9
    assert names["search"].result_.n_trials == 20


def test_the_space():
    space = SearchSpace.loads(block("yaml", "batch_size"))
    assert space.is_active("optimizer__momentum", {"optimizer": "torch.optim.SGD"})
    assert not space.is_active("optimizer__momentum", {"optimizer": "torch.optim.AdamW"})


class TestThePrunerInOneFile(PrunerConformance):
    @pytest.fixture
    def pruner(self, tmp_path, monkeypatch):
        (tmp_path / "plateau.py").write_text(block("python", "PlateauPruner"))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "plateau", raising=False)
        return importlib.import_module("plateau").PlateauPruner()


def test_the_commands():
    for line in re.findall(r"^python3 -m venv .*$", README, re.MULTILINE):
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install -e ")
