"""The fingerprint of a study: the same in every process, another for another study."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import json, sys
from pathlib import Path
from hpo.cli._study_file import load_study_file
from hpo.study._session import Session
from hpo.study._fingerprint import fingerprint

path = Path(sys.argv[1])
session = Session(load_study_file(path).study, path.parent)
mark = fingerprint(session.search.objective, session.space.fingerprint, 0, "accuracy")
print(json.dumps(mark))
"""


@pytest.mark.parametrize("study", ["digits_mlp"])
def test_it_is_the_same_in_every_process(study):
    """skorch keeps sets among a net's parameters, and sets have another order in each process."""
    path = Path(__file__).parents[2] / "studies" / f"{study}.py"
    marks = {
        subprocess.run(
            [sys.executable, "-c", CODE, str(path)],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(marks) == 1
