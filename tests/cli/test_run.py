"""``hpo run``, ``list`` and ``show`` in this process, on a small study without a net."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hpo.study import load_result

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., str]


def _files() -> set[str]:
    """Return the files here; SQLite's own beside an open database are not counted."""
    names = {path.name for path in Path.cwd().iterdir()}
    return {name for name in names if not name.endswith(("-shm", "-wal"))}


def test_a_study_runs_and_says_what_came_out(hpo_command: Run, write_study: Write) -> None:
    code, out, err = hpo_command("run", write_study())
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == (
        "tiny, 6 trials: accuracy over 3 folds, raced, sampler auto (gp: slow trials on a space of "
        "numbers), pruner median:n_startup_trials=2, serial"
    )
    assert [line.split()[1] for line in lines if line.startswith("trial ")] == list("012345")
    assert "Winner: trial " in out
    assert " ± " in out
    assert "accuracy, held-out test" in out
    assert "  hpo show tiny\n" in out
    assert "hpo ui" not in out  # nothing is tracked
    assert "study in    journal:///hpo.journal" in out
    assert not [line for line in lines if line != line.rstrip()]
    # The cache has the secret by which checkpoints are known.
    assert _files() == {
        "tiny.py",
        "hpo.journal",
        "hpo.journal.hpo-lock",
        "hpo.journal.files",
        "cache",
    }


def test_trials_of_another_study_are_taken_in(hpo_command: Run, write_study: Write) -> None:
    hpo_command("run", write_study())
    other = write_study({'name="tiny"': 'name="wide"', "1e-5": "1e-6"})
    code, out, err = hpo_command("run", other, "--add-trials", "tiny", "--n-trials", "8")
    assert (code, err) == (0, "")
    assert "note: 6 trials of 'tiny' were taken in, and count as trials of this study." in out
    records = load_result("wide", "journal:///hpo.journal").records
    before = load_result("tiny", "journal:///hpo.journal").records
    assert [r.trial.params for r in records[:6]] == [r.trial.params for r in before]
    assert len(records) == 8
    code, out, err = hpo_command("run", other, "--add-trials", "tinny")
    assert code == 2
    assert "There is no study 'tinny'" in err
    other = write_study({'name="tiny"': 'name="other"', "cv=3": "cv=2"})
    code, out, err = hpo_command("run", other, "--add-trials", "tiny")
    assert code == 2
    assert "folds: division into 3 folds -> division into 2 folds" in err


def test_what_is_wrong_with_a_point_is_told_before_anything_is_made(
    hpo_command: Run, write_study: Write
) -> None:
    points = 'tracker="null", enqueue=[{"alpha": 2.0}, {"alfa": 0.1}],'
    file = write_study({'tracker="null",': points})
    for command in ("run", "validate"):
        code, _, err = hpo_command(command, file)
        assert code == 2
        assert err.splitlines() == [
            "error: enqueue[0]: alpha: 2.0 is outside its range, 1e-05 .. 1.0.",
            "error: enqueue[1]: alfa: is not in the search space, did you mean 'alpha'?",
        ]
    assert _files() == {"tiny.py"}


def test_a_complete_study_is_shown_again_and_told_how_to_get_more(
    hpo_command: Run, write_study: Write
) -> None:
    file = write_study()
    _, first, _ = hpo_command("run", file, "--seed", "3")
    before = load_result("tiny", "journal:///hpo.journal").records
    code, again, _ = hpo_command("run", file, "--seed", "3")
    assert code == 0
    assert "tiny was complete already" in again
    assert f"hpo run {file} --seed 3 --n-trials 12" in again
    winner = first[first.index("Winner") : first.index("Look at")]
    assert winner == again[again.index("Winner") : again.index("For more")]
    assert load_result("tiny", "journal:///hpo.journal").records == before

    code, more, _ = hpo_command("run", file, "--seed", "3", "--n-trials", "8")
    assert "tiny goes on, 6 of 8 trials made: " in more
    records = load_result("tiny", "journal:///hpo.journal").records
    assert len(records) == 8
    assert records[:6] == before


def test_options_reach_the_study(hpo_command: Run, write_study: Write) -> None:
    code, out, _ = hpo_command(
        "run", write_study(), "--n-trials=2", "--epochs=2", "--sampler=random", "--pruner=nop"
    )
    assert code == 0
    assert "tiny, 2 trials: accuracy over 3 folds, sampler random, pruner nop" in out
    result = load_result("tiny", "journal:///hpo.journal")
    assert {record.max_steps for record in result.records} == {2}


def test_the_last_epoch_can_stand_for_a_trial(hpo_command: Run, write_study: Write) -> None:
    code, out, _ = hpo_command("run", write_study(), "--n-trials=2", "--select=last")
    assert code == 0
    assert ", last epoch 3 of 3" in out
    assert ", last epoch 3 of 3" in hpo_command("show", "tiny")[1]
    result = load_result("tiny", "journal:///hpo.journal")
    assert all(record.value == record.reports[-1].value for record in result.records)
    code, _, told = hpo_command("run", write_study(), "--n-trials=3")
    assert (code, "select: 'last' -> 'best'" in told) == (2, True)
    code, _, told = hpo_command("run", write_study(), "--select=first")
    assert (code, "Study's 'select'" in told) == (2, True)


def test_the_storage_is_the_options_then_the_files_then_the_environments(
    hpo_command: Run, write_study: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_STORAGE", "sqlite:///environment.db")
    file = write_study()
    _, out, _ = hpo_command("run", file, "--n-trials=1")
    assert "hpo show tiny\n" in out
    assert "environment.db" in _files()
    _, out, _ = hpo_command("run", file, "--n-trials=1", "--storage=sqlite:///option.db")
    assert "hpo show tiny --storage sqlite:///option.db\n" in out
    assert "option.db" in _files()
    write_study({"cv=3,": "cv=3, storage='sqlite:///file.db',"})
    hpo_command("run", file, "--n-trials=1")
    assert "file.db" in _files()
    assert "hpo.journal" not in _files()


def test_a_study_in_memory_says_that_nothing_stays(hpo_command: Run, write_study: Write) -> None:
    code, out, _ = hpo_command("run", write_study({"cv=3,": "cv=3, storage=None,"}))
    assert code == 0
    assert "memory: it ends with this process" in out
    assert "hpo show" not in out
    assert _files() == {"tiny.py"}


def test_a_grid_counts_its_points(hpo_command: Run, write_study: Write) -> None:
    space = '"alpha": {"type": "float", "low": 1e-5, "high": 1.0, "log": True}'
    file = write_study({space: '"alpha": [0.1, 0.2]'})
    _, out, _ = hpo_command("run", file, "--sampler=grid")
    assert "tiny, 2 trials: " in out
    assert "(2 of 2," in out


def test_the_data_folder_is_set(
    hpo_command: Run, write_study: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_DATA", "elsewhere")
    Path("sets").mkdir()
    file = write_study({"import time": "import os, time\nprint('data', os.environ['HPO_DATA'])"})
    _, out, _ = hpo_command("run", file, "--data=sets", "--n-trials=1")
    assert f"data {Path('sets').absolute()}" in out
    code, _, err = hpo_command("run", file, "--data=nowhere")
    assert code == 2
    assert "nowhere" in err


def test_a_study_whose_trials_all_fail_ends_with_code_1(
    hpo_command: Run, write_study: Write
) -> None:
    broken = {"        if 0.0:": "        raise ValueError('no')\n        if 0.0:"}
    file = write_study(broken)
    code, out, err = hpo_command("run", file)
    assert code == 1
    assert "trial 0 failed: ValueError: no" in out
    assert err.startswith("error: All the 3 trials failed. 3 failed with: ValueError: no")
    code, out, _ = hpo_command("show", "tiny")
    assert code == 0
    assert "No trial is complete" in out
    assert "Traceback of trial 2" in out
    assert "raise ValueError('no')" in out


def test_a_spent_time_budget_prints_the_command_to_go_on(
    hpo_command: Run, write_study: Write
) -> None:
    file = write_study(seconds=0.02)
    code, out, _ = hpo_command("run", file, "--fresh", "--timeout=2", "--n-trials=500")
    assert code == 0
    assert "Stopped: the time budget of 2 s is spent." in out
    assert f"Go on with\n  hpo run {file} --timeout=2 --n-trials=500\n" in out


def test_studies_are_listed_and_shown(hpo_command: Run, write_study: Write) -> None:
    file = write_study()
    hpo_command("run", file, "--folds=all")
    hpo_command("run", file, "--fresh", "--n-trials=3")
    files = _files()
    code, out, _ = hpo_command("list")
    assert code == 0
    rows = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert set(rows) == {"tiny", "tiny@2"}
    assert "6 trials: " in rows["tiny"]
    assert "3 trials: " in rows["tiny@2"]
    assert "accuracy" in rows["tiny"]
    _, newest, _ = hpo_command("show", "tiny")
    assert newest.startswith("tiny@2  3 trials: ")
    code, first, _ = hpo_command("show", "tiny@1")
    assert first.startswith("tiny  6 trials: ")
    top = first[first.index("complete trials\n") : first.index("\nWinner")].splitlines()[1:]
    assert top[0].split() == ["trial", "accuracy", "epoch", "alpha"]
    scores = [float(line.split()[1]) for line in top[1:]]
    assert scores == sorted(scores, reverse=True)
    assert _files() == files


def test_the_report_is_written(hpo_command: Run, write_study: Write) -> None:
    hpo_command("run", write_study())
    code, out, _ = hpo_command("show", "tiny", "--plots", "new/plots")
    assert code == 0
    assert f"The report is {Path('new/plots/report.html')}" in out
    assert "accuracy" in Path("new/plots/report.html").read_text()
    Path("blocked").write_text("a file")
    code, _, err = hpo_command("show", "tiny", "--plots", "blocked")
    assert code == 2
    assert "cannot be written to blocked" in err


def test_the_newest_winner_takes_no_test_score_of_another(
    hpo_command: Run, write_study: Write
) -> None:
    """A refit of an earlier winner says nothing about a later one."""
    file = write_study()
    hpo_command("run", file, "--n-trials=1", "--sampler=random")
    hpo_command(
        "run",
        write_study({"trials=6": "trials=6, refit=False"}),
        "--n-trials=6",
        "--sampler=random",
    )
    result = load_result("tiny", "journal:///hpo.journal")
    assert (result.test_score is None) == (result.best_record.number != 0)
    assert result.best_record.number != 0


def test_a_tracked_study_points_to_the_ui_and_leaves_nothing_to_sync(
    hpo_command: Run, write_study: Write
) -> None:
    head = "def study(model: str = 'small', n: int = 3):\n    return Study("
    file = write_study({'tracker="null"': 'tracker="mlflow"', "study = Study(": head})
    code, out, _ = hpo_command(
        "run", file, "--n-trials=2", "--tracking-uri=sqlite:///runs.db", "--n=4"
    )
    assert code == 0
    assert "  hpo ui tiny --tracking-uri sqlite:///runs.db\n" in out
    assert f"tracked in  sqlite:///{Path('runs.db').absolute()}" in out
    assert "note:" not in out
    assert "runs.db" in _files()
    (options,) = Path.cwd().rglob("options.json")
    assert json.loads(options.read_text()) == {"model": "small", "n": 4}
    code, out, _ = hpo_command("sync")
    assert (code, out) == (0, "Nothing waits to be sent.\n")
    code, out, _ = hpo_command("sync", "tiny", "--tracking-uri=sqlite:///runs.db")
    assert (code, out) == (
        0,
        f"tiny: all 2 trials are there (sqlite:///{Path('runs.db').absolute()}).\n",
    )
    code, out, _ = hpo_command("sync", "tiny", "--tracking-uri=sqlite:///other.db")
    assert code == 0
    assert out.startswith("tiny: 2 trials and ")
    assert Path("other.db").exists()
    code, _, err = hpo_command("sync", "tine")
    assert code == 2
    assert "There is no study 'tine'" in err


def test_smoke_runs_one_trial_and_keeps_nothing(
    hpo_command: Run, write_study: Write, own_folder: Path
) -> None:
    code, told, _ = hpo_command("run", write_study(), "--smoke")
    assert code == 0
    assert "1 trial: 1 complete" in told
    assert "epoch 1 of 1" in told
    assert [path.name for path in own_folder.iterdir() if path.suffix != ".py"] in ([], ["cache"])
    code, told, _ = hpo_command("run", "tiny.py", "--smoke", "--n-trials", "2")
    assert code == 0
    assert "2 trials: 2 complete" in told


def test_a_grid_ends_with_a_comparison_that_show_tells_again(
    hpo_command: Run, write_study: Write
) -> None:
    space = '{"alpha": {"type": "float", "low": 1e-5, "high": 1.0, "log": True}}'
    grid = '{"penalty": ["l1", "l2"], "alpha": [1e-4, 1e-1]}, sampler="grid", compare=["penalty"]'
    file = write_study({space: grid, "n_trials=6": 'n_trials=None, analyses=["confusion"]'})
    code, told, _ = hpo_command("run", file)
    assert code == 0
    begin, end = told.index("Comparison: penalty"), told.index("Look at it")
    lines = told[begin:end].splitlines()
    assert lines[1].split() == [
        "penalty",
        "accuracy",
        "epoch",
        "s/epoch",
        "difference",
        "verdict",
        "repeats",
    ]
    assert sorted(line.split()[0] for line in lines[2:4]) == ["l1", "l2"]
    assert "best" in lines[2].split()
    assert "hardest classes" in told[begin:end]
    code, shown, _ = hpo_command("show", "tiny")
    assert code == 0
    assert told[begin:end].rstrip() in shown


FAILING = {
    "class Patient(SGDClassifier):": """class Patient(SGDClassifier):
    def predict(self, X):
        if len(X) == 50 and not Path("mended").exists():
            raise SystemExit("no held-out rows")
        return super().predict(X)
""",
}


def test_a_winner_that_cannot_be_scored_is_named_with_the_way_on(
    hpo_command: Run, write_study: Write
) -> None:
    file = write_study(FAILING)
    code, out, err = hpo_command("run", file)
    assert code == 1
    assert "Winner: trial " in out
    assert "hpo show tiny" in out
    assert err.startswith("error: The scoring of the refitted trial ")
    assert "held-out test part failed: SystemExit: no held-out rows. The trials are kept" in err
    assert "Traceback" not in out + err
    code, shown, _ = hpo_command("show", "tiny")
    assert code == 0
    assert "Traceback of the refit of trial " in shown
    assert 'raise SystemExit("no held-out rows")' in shown

    Path("mended").touch()
    code, out, err = hpo_command("run", file)
    assert (code, err) == (0, "")
    assert "tiny was complete already" in out
    assert "held-out test" in out
    assert "Traceback" not in hpo_command("show", "tiny")[1]


def test_without_a_storage_the_traceback_is_told_at_once(
    hpo_command: Run, write_study: Write
) -> None:
    file = write_study({**FAILING, "cv=3": "cv=3, storage=None"})
    code, out, err = hpo_command("run", file, "--n-trials=1")
    assert code == 1
    assert "Traceback of the refit of trial 0" in out
    assert err.startswith("error: The scoring of the refitted trial 0")


def test_serial_with_several_jobs(hpo_command: Run, write_study: Write) -> None:
    code, _, err = hpo_command("run", write_study(), "--executor=serial", "--n-jobs=2")
    assert code == 2
    assert "executor 'serial' trains one trial at a time, and n_jobs=2 asks for several" in err
    code, _, err = hpo_command(
        "run", write_study({"cv=3": "cv=3, executor='serial'"}), "--n-jobs=2"
    )
    assert code == 2
    assert "Leave the executor out" in err
    assert not Path("hpo.journal").exists()


@pytest.mark.parametrize(
    ("options", "executor"),
    [
        ([], "process"),
        (["--executor=serial"], "serial"),
        (["--executor=serial:n_threads=1", "--n-jobs=1"], "serial"),
        (["--n-jobs=1"], "serial"),
    ],
)
def test_what_is_typed_comes_before_the_jobs_of_a_study(
    hpo_command: Run, write_study: Write, options: list[str], executor: str
) -> None:
    file = write_study({"cv=3": "cv=3, n_jobs=2"})
    code, out, _ = hpo_command("run", file, "--n-trials=1", *options)
    assert code == 0
    assert out.splitlines()[0].endswith(f", {executor}")
