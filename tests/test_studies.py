"""Every study and every search space that ships: loaded, checked, and run at its smallest."""

import math
from pathlib import Path

import pytest

from hpo import SearchSpace, run_study
from hpo.cli._study_file import load_study_file
from hpo.exceptions import DataError, StudyError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
STUDIES = sorted((ROOT / "studies").glob("*.py"))
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))


def test_there_are_some():
    assert STUDIES
    assert SPACES


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_a_space_loads_and_says_what_it_is_for(path):
    space = SearchSpace.load(path)
    assert len(space)
    assert path.read_text().startswith("#")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_runs_one_trial_of_one_epoch(path):
    try:
        study = load_study_file(path).study
        result = run_study(study.smoke(), folder=path.parent)
    except (DataError, StudyError) as error:
        if "HPO_DATA" in str(error):
            pytest.skip(f"no data: {error}")
        raise
    assert result.n_complete == 1
    assert result.best_score <= 1  # accuracies, and minus losses
    assert math.isfinite(result.test_score)
