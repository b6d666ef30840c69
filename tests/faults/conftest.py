"""What the faults share: folders with a study, and a table of what was tried.

The suite runs the short form, and ``HPO_FAULT_ROUNDS=50 python -m pytest tests/faults`` the long.
"""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # the helpers of these tests, with a _ before them

from _studies import ROUNDS

_TALLY = pytest.StashKey()


def pytest_itemcollected(item):
    # MLflow 3.17 uses what SQLAlchemy 2.1 deprecates; here its client reads stores in-process.
    item.add_marker(pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"))
    item.add_marker(pytest.mark.slow)
    if not any(item.iter_markers("timeout")):
        item.add_marker(pytest.mark.timeout(300 + 120 * ROUNDS))


@pytest.fixture(scope="session")
def rounds():
    """How often each fault is tried: 1 in the suite, ``$HPO_FAULT_ROUNDS`` in the long form."""
    return ROUNDS


@pytest.fixture
def new_folder(empty_store, tmp_path):
    """Return a function that makes a folder with an empty MLflow store and a study file."""

    def make(name, study, store=True):
        folder = tmp_path / name
        folder.mkdir()
        if store:
            shutil.copy(empty_store, folder / "mlflow.db")
        (folder / "study.py").write_text(study)
        return folder

    return make


@pytest.fixture
def tally(request):
    """Return a function that adds a row to the table at the end of the session.

    ``tally(fault, where, rounds=1, lost=0, doubled=0)``; rows of one fault and place are added up.
    """
    rows = request.config.stash.setdefault(_TALLY, {})

    def add(fault, where, rounds=1, lost=0, doubled=0):
        row = rows.setdefault((fault, where), [0, 0, 0])
        for i, n in enumerate((rounds, lost, doubled)):
            row[i] += n

    return add


def pytest_terminal_summary(terminalreporter, config):
    """Print the table of what was tried, as docs/guarantees.md has it."""
    rows = config.stash.get(_TALLY, {})
    if not rows:
        return
    terminalreporter.section("faults")
    terminalreporter.line("| fault | where | rounds | finished trials lost | trials doubled |")
    terminalreporter.line("|---|---|---|---|---|")
    for (fault, where), numbers in sorted(rows.items()):
        terminalreporter.line(f"| {fault} | {where} | {' | '.join(map(str, numbers))} |")
