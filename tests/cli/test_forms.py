"""The forms of what the commands print: JSON, CSV, quiet, verbose, one trial, all trials."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from hpo.cli import app
from hpo.cli._trial_page import curve_lines
from hpo.study import load_result
from hpo.trial import Report

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., str]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]

NUMBER, TEXT, WHOLE = "number", "text", "whole"
MAYBE = "maybe "
TRIAL = {
    "number": WHOLE,
    "state": TEXT,
    "score": MAYBE + NUMBER,
    "se": MAYBE + NUMBER,
    "epoch": MAYBE + WHOLE,
    "last_epoch": WHOLE,
    "max_epochs": MAYBE + WHOLE,
    "fold_scores": [MAYBE + NUMBER],
    "params": dict,
    "reason": TEXT,
    "cause": MAYBE + TEXT,
    "error": MAYBE + TEXT,
    "seconds": NUMBER,
    "started": MAYBE + NUMBER,
    "ended": MAYBE + NUMBER,
    "trained_by": TEXT,
    "trained_by_reason": TEXT,
    "worker": TEXT,
    "resumed_from": MAYBE + WHOLE,
}
COUNTS = dict.fromkeys(("total", "running", "complete", "pruned", "failed", "interrupted"), WHOLE)
ESTIMATE = {"value": MAYBE + NUMBER, "se": MAYBE + NUMBER}
RESULT = {
    "study": TEXT,
    "scoring": TEXT,
    "trials": COUNTS,
    "seconds": NUMBER,
    "refit_seconds": MAYBE + NUMBER,
    "stopped": TEXT,
    "last_trial": MAYBE + NUMBER,
    "pruning": {"epochs_planned": WHOLE, "epochs_saved": WHOLE, "saved": NUMBER},
    "trained_by": dict,
    "winner": {
        **TRIAL,
        "recommended": TEXT,
        "choose": TEXT,
        "finalists": dict,
        "corrected": {
            "score": NUMBER,
            "se": NUMBER,
            "low": NUMBER,
            "high": NUMBER,
            "n_candidates": WHOLE,
        },
        "uncorrected": TEXT,
        "nested": MAYBE + TEXT,
        "held_out": {
            "score": NUMBER,
            "low": NUMBER,
            "high": NUMBER,
            "verdict": TEXT,
            "advice": TEXT,
        },
    },
    "top": [TRIAL],
    "pareto_front": [{**TRIAL, "costs": {"seconds": NUMBER}}],
    "enqueued": [{**TRIAL, "rank": MAYBE + WHOLE}],
    "comparison": {
        "names": [TEXT],
        "groups": [
            {
                "values": dict,
                "trial": MAYBE + WHOLE,
                "n_trials": WHOLE,
                "epoch": MAYBE + WHOLE,
                "score": ESTIMATE,
                "seconds_per_epoch": ESTIMATE,
                "watched": dict,
                "difference": ESTIMATE,
                "verdict": TEXT,
                "more_repeats": TEXT,
            }
        ],
        "note": TEXT,
    },
    "analyses": dict,
    "failures": TEXT,
    "refit_error": TEXT,
    "files": dict,
    "notes": [TEXT],
}
RULED = {"rule": TEXT, "winner": MAYBE + WHOLE, "score": MAYBE + NUMBER, "loss": MAYBE + NUMBER}
SCHEMAS: dict[str, Any] = {
    "run": {**RESULT, "interrupted": TEXT, "locations": dict},
    "show": RESULT,
    "list": {
        "storage": TEXT,
        "studies": [
            {
                "study": TEXT,
                "scoring": TEXT,
                "best_score": NUMBER,
                "best_score_se": NUMBER,
                "trials": COUNTS,
                "last_trial": NUMBER,
            }
        ],
    },
    "audit": {
        "study": TEXT,
        "scoring": TEXT,
        "pruning": [
            {
                **RULED,
                "n_epochs": WHOLE,
                "n_stopped": WHOLE,
                "n_unknown": WHOLE,
                "saved": NUMBER,
                "stopped_winner_at": MAYBE + WHOLE,
            }
        ],
        "choosing": [{**RULED, "epochs": WHOLE, "params": dict}],
    },
    "validate": {
        "file": TEXT,
        "in_order": bool,
        "facts": dict,
        "search_space": dict,
        "notes": [TEXT],
    },
    "init": {"folder": TEXT, "copied": [TEXT], "kept": [TEXT]},
    "sync": {"sent": [dict], "unreadable": [TEXT]},
    "export-model": {"study": TEXT, "folder": TEXT},  # tests/trackers/test_model.py
    "ui": {
        "study": MAYBE + TEXT,
        "tracking_uri": TEXT,
        "server": TEXT,
        "trials_page": MAYBE + TEXT,
        "study_page": MAYBE + TEXT,
    },
}
"""What each command prints with ``--json``; changes of it are changes for programs."""

ARGS = {
    "run": ["tiny.py"],
    "show": ["tiny"],
    "audit": ["tiny"],
    "validate": ["tiny.py"],
    "ui": ["--tracking-uri", "http://127.0.0.1:9"],
}


@pytest.fixture
def study(hpo_command: Run, write_study: Write) -> str:
    """Run a study whose result has every table."""
    space = '{"alpha": {"type": "float", "low": 1e-5, "high": 1.0, "log": True}}'
    wide = '{"penalty": ["l1", "l2"], "alpha": [1e-4, 1e-2, 1.0]}, costs=["seconds"], '
    wide += 'compare=["penalty"], enqueue=[{"alpha": 1e-2}], analyses=["confusion"]'
    file = write_study({space: wide, "n_startup_trials=2": "n_startup_trials=3"})
    assert hpo_command("run", file)[0] == 0
    return file


def _mismatches(data: Any, schema: Any, where: str = "") -> Iterator[str]:
    if isinstance(schema, str):
        if schema.startswith(MAYBE):
            if data is None:
                return
            schema = schema.removeprefix(MAYBE)
        kinds = {NUMBER: int | float, WHOLE: int, TEXT: str}[schema]
        if not isinstance(data, kinds) or (isinstance(data, bool)):
            yield f"{where}: {data!r} is no {schema}"
    elif isinstance(schema, type):
        if not isinstance(data, schema):
            yield f"{where}: {data!r} is no {schema.__name__}"
    elif isinstance(schema, list):
        for i, item in enumerate(data):
            yield from _mismatches(item, schema[0], f"{where}[{i}]")
    elif set(data) != set(schema):
        yield f"{where}: {set(data) ^ set(schema)}"
    else:
        for name in schema:
            yield from _mismatches(data[name], schema[name], f"{where}.{name}")


def test_every_command_has_a_schema() -> None:
    with_json = {
        name
        for name, command in COMMANDS.items()
        if any("--json" in param.opts for param in command.params)
    }
    assert with_json == set(COMMANDS)
    assert set(SCHEMAS) == with_json


@pytest.mark.parametrize("command", sorted(SCHEMAS.keys() - {"export-model"}))
def test_json_is_one_document_of_the_schema(hpo_command: Run, study: str, command: str) -> None:
    code, out, _ = hpo_command(command, *ARGS.get(command, ()), "--json")
    assert code == 0
    data = json.loads(out, parse_constant=pytest.fail)
    assert list(_mismatches(data, SCHEMAS[command])) == []


def _numbers(data: Any) -> Iterator[float]:
    """Yield every number in the data, those in texts too."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _numbers(key)
            yield from _numbers(value)
    elif isinstance(data, list):
        for value in data:
            yield from _numbers(value)
    elif isinstance(data, str):
        yield from map(float, re.findall(r"\d+\.?\d*(?:e[+-]\d+)?", data))
    elif isinstance(data, int | float) and not isinstance(data, bool):
        yield abs(float(data))


@pytest.mark.parametrize("command", ["run", "show", "audit", "list"])
def test_every_figure_of_the_tables_is_in_the_json(
    hpo_command: Run, study: str, command: str
) -> None:
    _, text, _ = hpo_command(command, *ARGS.get(command, ()))
    _, out, _ = hpo_command(command, *ARGS.get(command, ()), "--json")
    numbers = list(_numbers(json.loads(out)))
    shown = set(re.findall(r"(?<![\w.])\d+\.\d+(?:e[+-]\d+)?%?|(?<![\w.])\d+%", text))
    assert len(shown) > {"list": 1, "audit": 4}.get(command, 8)
    missing = []
    for figure in shown:
        share = 100 if figure.endswith("%") else 1
        mantissa, _, exponent = figure.rstrip("%").partition("e")
        last = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
        value = float(figure.rstrip("%"))
        if not any(abs(share * number - value) <= 0.51 * last for number in numbers):
            missing.append(figure)
    assert missing == []


def test_errors_are_json_too(hpo_command: Run, study: str) -> None:
    code, out, err = hpo_command("show", "tinny", "--json")
    assert code == 2
    assert json.loads(out)["error"] == "StorageError"
    assert "did you mean 'tiny'" in json.loads(out)["problems"][0]
    assert err.startswith("error: There is no study 'tinny'")
    Path("bad.yaml").write_text("a: {type: flaot}\nb: 3\n")
    _, out, _ = hpo_command("validate", "bad.yaml", "--json")
    assert len(json.loads(out)["problems"]) == 2


def test_a_run_without_a_winner_is_json_too(hpo_command: Run, write_study: Write) -> None:
    file = write_study({"        if 0.0:": "        raise ValueError('no')\n        if 0.0:"})
    code, out, err = hpo_command("run", file, "--json")
    assert code == 1
    assert json.loads(out)["error"] == "NoCompletedTrialError"
    assert "trial 0 failed: ValueError: no" in err


def test_lines_of_trials_go_to_standard_error_with_json(
    hpo_command: Run, write_study: Write
) -> None:
    code, out, err = hpo_command("run", write_study(), "--json", "--n-trials=2")
    assert code == 0
    assert json.loads(out)["trials"]["total"] == 2
    assert [line.split()[1] for line in err.splitlines() if line.startswith("trial ")] == ["0", "1"]
    assert hpo_command("run", "tiny.py", "--json", "-q", "--n-trials=3")[2] == ""


def test_csv_has_the_scores_of_the_folds(hpo_command: Run, study: str) -> None:
    _, out, _ = hpo_command("show", "tiny", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    records = load_result("tiny", "journal:///hpo.journal").records
    assert [int(row["number"]) for row in rows] == [r.number for r in records]
    for row, record in zip(rows, records, strict=True):
        report = record.best_report
        assert report is not None
        folds = [float(row[f"fold_{i}"]) for i in range(3)]
        assert folds == list(report.fold_values)
        assert float(row["score"]) == record.value
        mean = sum(folds) / 3
        error = math.sqrt(sum((value - mean) ** 2 for value in folds) / 2 / 3)
        assert float(row["se"]) == pytest.approx(error)
        assert row["params_penalty"] == record.trial.params["penalty"]
    _, out, _ = hpo_command("show", "tiny", "--csv", "--trial", "1")
    assert len(out.splitlines()) == 2
    code, _, err = hpo_command("show", "tiny", "--csv", "--json")
    assert (code, "exclude each other" in err) == (2, True)


def test_one_trial(hpo_command: Run, study: str) -> None:
    record = load_result("tiny", "journal:///hpo.journal").records[1]
    code, out, _ = hpo_command("show", "tiny", "--trial", "1")
    assert code == 0
    assert out.startswith(f"tiny, trial 1  {record.state}")
    assert all(f"{value:.4f}" in out for value in record.best_report.fold_values)  # type: ignore[union-attr]
    assert f"alpha    {record.trial.params['alpha']!r}\n" in out
    assert "accuracy by epoch" in out
    _, out, _ = hpo_command("show", "tiny", "--trial", "1", "--json")
    data = json.loads(out)
    assert [each["score"] for each in data["curve"]] == [r.value for r in record.reports]
    code, _, err = hpo_command("show", "tiny", "--trial", "77")
    assert code == 2
    assert "has no trial 77. They are numbered 0 to 5." in err


def test_all_trials_with_all_their_parameters(hpo_command: Run, study: str) -> None:
    records = load_result("tiny", "journal:///hpo.journal").records
    _, out, _ = hpo_command("show", "tiny", "--all")
    lines = out.splitlines()
    for record in records:
        (at,) = [i for i, line in enumerate(lines) if line.startswith(f"trial {record.number} ")]
        text = ", ".join(f"{k}={v}" for k, v in record.trial.params.items())
        assert text in lines[at + 1 : at + 3][bool(record.reason)]
    _, out, _ = hpo_command("show", "tiny", "--all", "--json")
    assert [each["number"] for each in json.loads(out)["all"]] == [r.number for r in records]


def test_quiet_is_the_winner_alone(hpo_command: Run, study: str) -> None:
    for args in (["show", "tiny", "-q"], ["run", study, "--quiet"]):
        code, out, err = hpo_command(*args)
        assert (code, err) == (0, "")
        assert out.startswith("Winner: trial ")
        assert "Look at it" not in out
        assert len(out.splitlines()) < 12
    assert hpo_command("list", "-q")[1] == "tiny\n"
    assert hpo_command("validate", study, "-q") == (0, "", "")
    assert hpo_command("init", "elsewhere", "-q") == (0, "", "")
    assert hpo_command("sync", "-q") == (0, "", "")


def test_verbose_prints_epochs_and_tracebacks(hpo_command: Run, write_study: Write) -> None:
    _, out, _ = hpo_command("run", write_study(), "-v", "--n-trials=1")
    assert "trial 0, epoch 1 of 3: 0." in out
    _, _, err = hpo_command("show", "nope", "-v")
    assert "Traceback (most recent call last)" in err
    assert "error: There is no study 'nope'" in err


def test_the_winner_and_what_to_do_next_fit_on_a_small_screen(
    hpo_command: Run, write_study: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = ", ".join(f'"p{i}": [0.1, 0.2]' for i in range(15))
    wide = '{"alpha": {"type": "float", "low": 1e-5, "high": 1.0, "log": True}, ' + extra + "}"
    space = '{"alpha": {"type": "float", "low": 1e-5, "high": 1.0, "log": True}}'
    names = ", ".join(f"p{i}=0.1" for i in range(15))
    keep = "".join(f"        self.p{i} = p{i}\n" for i in range(15))
    own = f"    def __init__(self, {names}, alpha=1e-4, random_state=None):\n"
    own += f"        super().__init__(alpha=alpha, random_state=random_state)\n{keep}\n"
    head = "class Patient(SGDClassifier):\n"
    file = write_study({space: wide, head: head + own})
    monkeypatch.setattr("hpo.cli._console._WIDE", 80)
    hpo_command("run", file, "--n-trials=3")
    _, out, _ = hpo_command("run", file, "--n-trials=3")
    screen = out.splitlines()[-23:]  # and a line for the prompt
    shown = "\n".join(screen)
    assert max(map(len, out[out.index("Winner") :].splitlines())) <= 80
    assert "Winner: trial " in shown
    assert "corrected for the choice" in shown
    assert "held-out test" in shown
    assert all(f" p{i} " in shown for i in range(15))
    assert "hpo show tiny" in shown
    assert "study in" in screen[-2]


def _report(step: int, value: float) -> Report:
    return Report(0, step, value)


def test_a_curve_of_text() -> None:
    lines = curve_lines([_report(step, step / 10) for step in range(1, 9)], 60)
    assert lines[0] == "    0.8000 │       •"
    assert lines[7] == "    0.1000 │•"
    assert lines[-1] == "            1 epoch 8"
    assert [line.count("•") for line in lines[:8]] == [1] * 8
    flat = curve_lines([_report(1, 0.5), _report(2, math.nan), _report(3, 0.5)], 60)
    assert sum(line.count("•") for line in flat) == 2
    long = curve_lines([_report(step, step % 7) for step in range(1, 2000)], 60)
    assert max(map(len, long)) <= 75
    assert "two epochs" in curve_lines([_report(1, 0.5)], 60)[0]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["rnu"], "No such command 'rnu'. Did you mean 'run'? See `hpo --help`."),
        (["run"], "Missing argument 'STUDY.py'. See `hpo run --help`."),
        (["list", "--nope"], "No such option: --nope. See `hpo list --help`."),
        (["run", "@", "--n-trials", "few"], "'--n-trials' must be a whole number."),
        (["ui", "--port", "0"], "'--port' must be 1 or more."),
        (["show", "tiny", "--trial", "-1"], "'--trial' must be 0 or more."),
    ],
)
def test_wrong_usage_is_told_as_any_error(
    hpo_command: Run, write_study: Write, args: list[str], told: str
) -> None:
    args = [write_study() if arg == "@" else arg for arg in args]
    code, out, err = hpo_command(*args)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {told}")
    assert not re.search("Input should|[╭│]|Usage", err)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("hpo sh", {"show"}),
        ("hpo run x.py --sampler t", {"tpe"}),
        ("hpo run x.py --pruner h", {"halving"}),
        ("hpo show t", {"tiny"}),
        ("hpo show tiny --tr", {"--trial"}),
    ],
)
def test_completion_offers_what_there_is(
    study: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    offered: set[str],
) -> None:
    from hpo.cli import main

    monkeypatch.setenv("_HPO_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit):
        main([])
    assert set(capsys.readouterr().out.split()) == offered
