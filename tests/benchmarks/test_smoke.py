"""The benchmarks run, at sizes that say nothing about speed."""

import argparse
import importlib
import sys
from pathlib import Path

import optuna
import pytest

from hpo import run_study
from hpo.exceptions import DataError

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
GIB = 3
"""Column of the GPU's memory."""

LIGHT = ["python -c pass", "import hpo", "hpo --help", "from hpo import Study"]

TINY = ["--n-trials", "2", "--folds", "2", "--epochs", "2"]


@pytest.fixture
def load(monkeypatch):
    """Return a function that imports a benchmark as running it from its folder does."""
    monkeypatch.syspath_prepend(HERE)
    for path in HERE.glob("*.py"):
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
    yield importlib.import_module
    for path in HERE.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_driver_cost(load, capsys):
    figures = load("driver_cost").main([*TINY, "--repeats", "1", "--untracked"])
    assert len(figures) == 3
    assert all(figure > 0 for figure in figures.values())
    told = capsys.readouterr().out
    assert "| bare loop, whole batches |" in told
    assert "cores of" in told


def test_checkpoint_cost(load, capsys):
    shares = load("checkpoint_cost").main(load("run_all").TINY_CHECKPOINTS)
    assert [0 <= share < 1 for share in shares] == [True]
    assert "| width |" in capsys.readouterr().out


def test_trial_cost(load, capsys):
    costs = load("trial_cost").main(load("run_all").TINY_TRIALS)
    assert len(costs) == 6
    assert all(ms > 0 for cost in costs.values() for ms in cost.values())
    told = capsys.readouterr().out
    assert "| journal |  median |" in told
    assert "| journal of |" in told


def test_reading(load, capsys):
    taken = load("reading").main(load("run_all").TINY_READING)
    assert list(taken) == ["journal, no snapshot yet", "journal"]
    assert len(taken["journal"]) == 4
    assert all(seconds.processor > 0 for those in taken.values() for seconds in those.values())
    assert " show --plots |" in capsys.readouterr().out


def test_bits(load, capsys):
    figures = load("bits").main([*TINY, "--untracked"])
    # two trials of two epochs: the mean score, and the score and loss of each of two folds
    assert figures == {"equal": 20, "all": 20}
    assert "| all        |    20 | 20 |" in capsys.readouterr().out


def test_import_time(load, monkeypatch, capsys):
    benchmark = load("import_time")
    monkeypatch.setattr(benchmark, "BASE", "python -c pass")
    monkeypatch.setattr(benchmark, "CODE", {k: benchmark.CODE[k] for k in LIGHT})
    seconds = benchmark.main(["--repeats", "2"])
    assert {name: len(taken) for name, taken in seconds.items()} == dict.fromkeys(LIGHT, 2)
    assert min(seconds["hpo --help"]) > min(seconds["python -c pass"]) > 0
    told = capsys.readouterr().out
    assert "| `hpo --help` " in told
    assert "<= `python -c pass` + 0.5 |" in told
    with pytest.raises(RuntimeError, match=r"'import hpo\.nothing' ended with exit code 1"):
        benchmark.seconds("import hpo.nothing")


def test_ask_cost(load, capsys):
    figures = load("ask_cost").main(load("run_all").TINY_ASK)
    assert len(figures) == 6
    assert all(figure.wall > 0 for figure in figures.values())
    assert "| optuna_tpe |" in capsys.readouterr().out


def test_time_left(load, capsys):
    figures = load("time_left").main(load("run_all").TINY_TIME_LEFT)
    assert len(figures) == 6
    assert "| heavier and heavier | 4 |" in capsys.readouterr().out


def test_against_optuna_search_cv(load, capsys):
    pytest.importorskip("optuna_integration", reason="its package is not one that hpo needs")
    figures = load("optuna_search_cv").main([*TINY, "--repeats", "1", "--untracked"])
    assert figures["OptunaSearchCV", 2] == 1.0
    assert len(figures) == 3
    assert "| hpo, 2 processes, 2 trials |" in capsys.readouterr().out


def test_it_is_said_how_to_get_optuna_search_cv(load, monkeypatch, capsys):
    benchmark = load("optuna_search_cv")
    monkeypatch.setitem(sys.modules, "optuna_integration", None)
    assert benchmark.main(TINY) == {}
    assert "pip install optuna-integration" in capsys.readouterr().out


def test_fused(load, capsys):
    rows = load("fused").main([*load("run_all").TINY_FUSED, "--untracked"])
    assert list(rows) == [(f"MLP 2x{width}", "fused") for width in (32, 64, 128)]
    assert all(figure > 0 for row in rows.values() for figure in row)  # of two repeats: none is nan
    told = capsys.readouterr().out
    assert "Geometric mean over the widths, fused, against skorch" in told
    assert "Rank correlation of the scores" in told


def test_the_space_under_the_executors(load, capsys):
    costs = load("fused_space").main(load("run_all").TINY_SPACE)
    assert [len(of_arm) for of_arm in costs.values()] == [1, 1]
    assert costs["serial"][0].filled == 0
    assert "| fused:compile=false |" in capsys.readouterr().out


def test_fused_on_a_gpu(load, capsys):
    """Its code, on the CPU; of a worker process of its own for each of skorch's."""
    rows = load("fused_gpu").main(load("run_all").TINY_GPU)
    assert [row[0] for row in rows] == [4]
    assert all(figure > 0 for i, figure in enumerate(rows[0]) if i != GIB)
    assert "Sweeps of digits on the CPU" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["Residual", "Embedded", "Encoder", "Convolutional"])
def test_the_modules_of_the_fused_benchmark_are_fused(load, name):
    kinds = load("_fused_modules").KINDS.values()
    kind = next(kind for kind in kinds if kind.module.__name__ == name)
    given = argparse.Namespace(epochs=1, folds=2, device="cpu", n_trials=2, pruner="median")
    asked = load("fused").study(kind, given, "fused:compile=false")
    result = run_study(asked.replace(storage=None, tracker="null"))
    assert result.n_complete == 2
    assert not result.notes


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's own
def test_lora(load, capsys):
    benchmark = load("lora")
    try:
        figures = benchmark.main(load("run_all").TINY_LORA)
    except DataError as error:
        pytest.skip(str(error))
    assert figures["speed"] > 0
    assert 0.5 < figures["memory"] < 2
    assert "| peft loop |" in capsys.readouterr().out


def test_all_of_them_are_run_by_one_command(load, monkeypatch, capsys):
    run_all = load("run_all")
    ran = []
    for name in (
        "ask_cost",
        "bits",
        "checkpoint_cost",
        "driver_cost",
        "fused",
        "fused_space",
        "import_time",
        "lora",
        "optuna_search_cv",
        "reading",
        "time_left",
        "tracking",
        "trial_cost",
    ):
        monkeypatch.setattr(load(name), "main", lambda *_, name=name: ran.append(name))
    run_all.main(["--tiny"])
    scripts = {path.stem for path in HERE.glob("[!_]*.py") if not path.stem.startswith("ray_")}
    scripts -= {"run_all", "test_smoke", "fused_gpu", "fused_nets", "random_nets"}
    # hours; each has its own test
    scripts -= {"honest_scores", "sklearn_search", "time_to_answer"}
    scripts -= {"published_nets", "test_published_nets"}  # test_published_nets.py runs them
    assert sorted(ran) == sorted(scripts)
    assert capsys.readouterr().out.startswith("# Benchmarks\n")


@pytest.mark.parametrize("part", ["shuffled", "gap", "verdicts", "real", "choose"])
def test_honest_scores(load, capsys, part):
    n = "2" if part == "choose" else "1"
    arguments = [part, "--n", n, "--n-trials", "3", "--sets", "cancer, tree"]
    figures = load("honest_scores").main(arguments)
    assert len(capsys.readouterr().out.splitlines()) == len(figures)


@pytest.mark.parametrize("executor", ["fused", "auto"])
def test_the_table_of_nets(load, capsys, executor):
    rows = ["relu", "batch norm", "is Adamax"]
    counts = load("fused_nets").main(["--executor", executor, "--rows", *rows])
    assert counts == {"same": 2, "refused": 1}
    assert "3 nets: 2 same, 1 refused, 0 wrong" in capsys.readouterr().out


def test_the_table_of_nets_finds_what_is_wrong(load, capsys, monkeypatch):
    benchmark = load("fused_nets")
    table = benchmark.load_table()
    monkeypatch.setattr(benchmark, "load_table", lambda: table)
    table.REFUSED["no such cause"] = table.SAME["relu"]
    table.SAME["Adamax"] = table.REFUSED["is Adamax"]
    monkeypatch.setattr(benchmark, "_gap", lambda reports, alone: 0.0 if reports else 1.0)
    rows = ["no such cause", "Adamax"]
    assert benchmark.main(["--rows", *rows]) == {"wrong": 1, "refused": 1}
    told = capsys.readouterr().out
    assert "no such cause: wrong: no reason names the cause" in told
    assert "Adamax: refused" in told


def test_random_nets(load, capsys):
    counts = load("random_nets").main(["--n", "6"])
    assert counts.total() == 6
    assert not counts["WRONG"]
    assert "6 random nets in" in capsys.readouterr().out


def test_sklearn_search(load, capsys):
    sizes = ["--seeds", "1", "--trials", "4", "--folds", "3", "--repeats", "1"]
    (result,) = load("sklearn_search").main([*sizes, "--models", "svc", "--data", "diabetes"])
    ours, theirs = result["hpo"], result["sklearn"]
    assert (theirs["fits"], theirs["complete"]) == (12, 4)
    assert 4 + 2 * ours["complete"] == ours["fits"] <= 12
    assert "| svc, diabetes |" in capsys.readouterr().out


def test_time_to_answer_searches_one_space_by_hand_and_with_hpo(load):
    benchmark = load("time_to_answer")
    space = benchmark.SearchSpace.load(benchmark.SPACE)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        params = benchmark.suggested(trial)
        assert dict(trial.distributions) == {name: space.distributions[name] for name in params}
        space.resolve(params)


def test_time_to_answer_compares_on_fresh_folds(load, monkeypatch, capsys):
    benchmark = load("time_to_answer")
    params = {"lr": 0.01, "batch_size": 32, "optimizer": "torch.optim.Adam"}
    bad = {"params": {**params, "lr": 1e-4}, "epochs": 1, "score": 0.1, "seconds": 1.0}
    good = {"params": params, "epochs": 3, "score": 0.9, "seconds": 4.0}
    found = {"by_hand": [bad, {**good, "seconds": 20.0}], "with_hpo": [bad, good]}
    monkeypatch.setattr(benchmark, "run_arm", lambda arm, *_: found[arm])
    sizes = ["--seeds", "1", "--folds", "2", "--repeats", "1", "--n-rows", "150"]
    (result,) = benchmark.main([*sizes, "--data", "digits"])
    assert (result["by hand"], result["hpo"]) == (20.0, 4.0)
    assert "| digits |" in capsys.readouterr().out
