import io
import math

from rich.console import Console

from hpo.cli._tables import counts, top_table
from hpo.display.text import saved
from hpo.result import StudyResult
from hpo.trial import Report, Trial, TrialRecord, TrialState

FOLDS = (0.88, 0.90, 0.92)
ERROR = 0.02 / math.sqrt(3)


def _record(
    number: int, state: TrialState = TrialState.COMPLETE, last: int = 4, reason: str = ""
) -> TrialRecord:
    reports = tuple(Report(number, step, 0.9, FOLDS) for step in range(1, last + 1))
    params = {"lr": 0.1 / (number + 1), "optimizer": "torch.optim.Adam", "net__n_units": 64}
    return TrialRecord(Trial(number, params, 0), state, reports, reason, max_steps=4)


def _result(test_score: float | None = None, folds: int = 3, n: int = 5) -> StudyResult:
    records = tuple(_record(number) for number in range(n))
    if folds == 1:
        report = Report(0, 1, 0.9, (0.9,))
        records = (TrialRecord(Trial(0, {}, 0), TrialState.COMPLETE, (report,)),)
    return StudyResult(name="x", records=records, test_score=test_score)


def test_counts_name_the_states_that_there_are() -> None:
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED, TrialState.RUNNING]
    records = [_record(number, state) for number, state in enumerate(states)]
    records.append(_record(4, TrialState.INTERRUPTED, reason="Ctrl-C"))
    assert counts(StudyResult(name="x", records=tuple(records))).plain == (
        "4 trials: 1 complete, 1 pruned, 1 failed, 1 running (and 1 interrupted)"
    )
    assert counts(StudyResult(name="x", records=())).plain == "0 trials"


def test_what_pruning_saved() -> None:
    records = (_record(0), _record(1, TrialState.PRUNED, last=1))
    assert saved(StudyResult(name="x", records=records)) == "38% of the epochs (3 of 8)"
    assert saved(_result()) == "nothing: no trial was pruned"


def _text(width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(top_table(_result(), width, n=2))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_the_top_table_has_a_column_a_parameter_where_there_is_room() -> None:
    assert _text(80) == [
        "trial   score  epoch  lr    optimizer  n_units",
        "    0  0.9000      1  0.1   Adam       64",
        "    1  0.9000      1  0.05  Adam       64",
    ]
    narrow = _text(40)
    assert narrow[0] == "trial   score  epoch  parameters"
    assert "lr 0.1," in narrow[1]
    assert all(len(line) <= 40 for line in narrow)
    assert "…" not in "".join(narrow)
