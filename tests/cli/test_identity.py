"""One study, however it is started: as a script and by ``hpo run``; changed on purpose."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hpo import load_result

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., str]

STORAGE = "journal:///hpo.journal"

KINDS = """
import functools

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score, make_scorer

from hpo import Study, StudyData, run_study

LEVEL = 0.5


class Small(BaseEstimator):
    def level(self):
        return LEVEL


class Other(Small):
    def level(self):
        return 2 * super().level()


def double(x):
    return 2 * x


class Given(ClassifierMixin, BaseEstimator):
    def __init__(self, given=None):
        self.given = given

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.repeat(self.classes_[0], len(X))


def score(y, predicted):
    return accuracy_score(y, predicted) * LEVEL


rng = np.random.default_rng(0)
X, y = rng.normal(size=(60, 4)), np.arange(60) % 2
study = Study(
    name="kinds",
    estimator=Given(functools.partial(double, 3)),
    data=StudyData(X=X, y=y),
    search_space={
        "given": [
            Small, Other, double, lambda x: x, functools.partial(Small, 1), Small(), Other().level,
            [Small, 1], {"a": Other}, frozenset({"p", "q", "r"}), np.log1p, "text", 1.5, None,
        ]
    },
    scoring=make_scorer(score),
    sampler="grid",
    n_trials=None,
    timeout=600,
    cv=2,
    refit=False,
    tracker="null",
)

if __name__ == "__main__":
    run_study(study.replace(n_trials=5))
"""


def test_a_script_is_gone_on_with_by_hpo_run_and_the_other_way_round(tmp_path: Path) -> None:
    """Choices of every kind, defined in the file, which is ``__main__`` once and once not."""
    (tmp_path / "kinds.py").write_text(KINDS)
    for command in (["kinds.py"], ["-m", "hpo.cli", "run", "kinds.py"], ["kinds.py"]):
        subprocess.run([sys.executable, *command], cwd=tmp_path, check=True, capture_output=True)
    result = load_result("kinds", f"journal:///{tmp_path}/hpo.journal")
    assert result.n_trials == 14
    tried = [record.trial.params["given"] for record in result.records]
    assert len(set(tried)) == 14
    assert {"Small", "Other", "double", "<lambda>", "functools.partial(<class 'Small'>, 1)"} < set(
        tried
    )


def test_a_changed_range_is_refused_and_extended(hpo_command: Run, write_study: Write) -> None:
    hpo_command("run", write_study(), "--n-trials=3")
    wider = {'"high": 1.0': '"high": 2.0'}
    code, _, err = hpo_command("run", write_study(wider))
    assert code == 2
    assert "  search space: alpha: high 1.0 -> 2.0\nGo on with --extend" in err
    code, out, _ = hpo_command("run", "tiny.py", "--extend", "--n-trials=4")
    assert code == 0
    assert "tiny@2 goes on, 3 of 4 trials made" in out
    assert "note: 3 of the 3 trials of 'tiny' fit the new search space and count in 'tiny@2'" in out
    code, out, _ = hpo_command("validate", "tiny.py")
    assert (code, "which has 4 trials of it to go on from" in out) == (0, True)


def test_the_trials_that_fit_are_counted_and_no_others(
    hpo_command: Run, write_study: Write
) -> None:
    hpo_command("run", write_study(), "--n-trials=4")
    code, out, _ = hpo_command(
        "run", write_study({'"high": 1.0': '"high": 1.1e-5'}), "--extend", "--n-trials=2"
    )
    assert code == 0
    assert "tiny@2, 2 trials:" in out
    assert "note: 0 of the 4 trials" in out
    assert load_result("tiny", STORAGE).n_trials == 2


def test_changed_code_is_refused_and_accepted(hpo_command: Run, write_study: Write) -> None:
    hpo_command("run", write_study(), "--n-trials=1")
    changed = {"return super()": "print(end='')\n        return super()"}
    code, _, err = hpo_command("run", write_study(changed), "--n-trials=2")
    assert code == 2
    assert "  code: Patient.partial_fit changed\nGo on with --accept-code" in err
    code, out, _ = hpo_command("run", "tiny.py", "--n-trials=2", "--accept-code")
    assert (code, "tiny goes on, 1 of 2 trials made" in out) == (0, True)


def test_the_command_to_go_on_with_changes_nothing_again(
    hpo_command: Run, write_study: Write
) -> None:
    hpo_command("run", write_study(), "--n-trials=1")
    write_study({'"high": 1.0': '"high": 2.0'})
    _, out, _ = hpo_command("run", "tiny.py", "--extend", "--n-trials=500", "--max-total-epochs=6")
    assert "hpo run tiny.py --n-trials=500 --max-total-epochs=6\n" in out


def test_fresh_and_extend_exclude_each_other(hpo_command: Run, write_study: Write) -> None:
    code, _, err = hpo_command("run", write_study(), "--fresh", "--extend")
    assert (code, "choose one of them" in err) == (2, True)
