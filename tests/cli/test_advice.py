"""``hpo show`` ends with what to do next; both copies of the report have the settings."""

from pathlib import Path

from hpo.cli._tables import print_advice
from hpo.result import StudyResult
from hpo.trial import Report, Trial, TrialRecord, TrialState


def test_settings_are_in_both_reports_of_a_tracked_study(write_study, hpo_command):
    code, out, _ = hpo_command("run", write_study(), "--n-trials", "2", "--tracker", "tensorboard")
    assert (code, "tracked in  tensorboard" in out) == (0, True)
    code, out, _ = hpo_command("show", "tiny", "--plots", "report")
    assert code == 0
    assert "What to do next" not in out, "two trials advise nothing"
    shown = Path("report/report.html").read_text()
    (kept,) = Path().glob("**/*.files/*/report.html")
    for page in (shown, kept.read_text()):
        settings = page.partition("<h2>Settings</h2>")[2].partition("<script")[0]
        assert "<th>sampler</th>" in settings
        assert "<th>seed</th><td>0</td>" in settings


def test_advice_is_printed_with_its_line(capsys):
    from rich.console import Console

    from hpo.space import SearchSpace

    space = SearchSpace.load({"lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True}})
    records = tuple(
        TrialRecord(
            Trial(i, {"lr": 1e-4 * 1000 ** (i / 99)}, 0),
            TrialState.COMPLETE,
            (Report(i, 1, i / 100),),
        )
        for i in range(100)
    )
    result = StudyResult(name="s", records=records, space=space)
    print_advice(Console(width=300, markup=False), result)
    out = capsys.readouterr().out
    assert "Widen lr beyond 0.1. 10 of the best 10 of 100 complete trials lie in" in out
    assert "\n  lr: {type: float, low: 0.0001, high: 3.0, log: true}\n" in out
