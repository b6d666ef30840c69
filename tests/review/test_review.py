import math
import re
from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread

from hpo.result import StudyResult
from hpo.review import history, learning_curves, parameters, write_report
from hpo.review.plots import COLORS
from hpo.trial import Report, Trial, TrialRecord, TrialState


def record(number, values, state=TrialState.COMPLETE, reason="", **params):
    reports = tuple(
        Report(number, step, value, (value - 0.01, value + 0.01), {}, 0.1, (0.1, 0.1), (0.0, 0.0))
        for step, value in enumerate(values, start=1)
    )
    return TrialRecord(
        Trial(number, params, 0), state, reports, reason, max_steps=4, ended=100.0 - number
    )


@pytest.fixture
def result():
    records = (
        record(0, [0.1, 0.5, 0.6, 0.7], lr=1e-4, optimizer="torch.optim.SGD", momentum=0.5),
        record(1, [0.2, 0.7, 0.9, 0.8], lr=1e-2, optimizer="torch.optim.Adam", n_layers=2),
        record(2, [0.1], TrialState.PRUNED, "epoch 1", lr=1e-3, optimizer="torch.optim.SGD"),
        record(3, [], TrialState.FAILED, "ValueError: <b>bad</b> & ugly", lr=0.1),
        record(4, [math.nan], TrialState.INTERRUPTED, "Ctrl-C", lr=0.1, optimizer=None),
        record(5, [0.3, 0.6], TrialState.RUNNING, lr=0.02, optimizer="torch.optim.Adam"),
    )
    return StudyResult(
        name="a <study>",
        records=records,
        scoring="accuracy",
        test_score=0.88,
        seconds=75.0,
        refit_seconds=2.0,
        refit_epochs=3,
    )


def test_learning_curves_draw_each_trial_and_the_winner_bold(result):
    axes = learning_curves(result).axes[0]
    (curves,) = axes.collections[:1]
    drawn = [segment.tolist() for segment in curves.get_segments()]
    others = [result.records[number] for number in (0, 2, 5)]
    assert drawn == [[[r.step, r.value] for r in record.reports] for record in others]
    colors = [to_hex(color) for color in curves.get_colors()]
    assert colors == [COLORS[record.state] for record in others]
    assert len(set(colors)) == 3
    (winner,) = (line for line in axes.lines if line.get_label() == "trial 1")
    assert winner.get_linewidth() > max(curves.get_linewidths())
    crosses = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "x"]
    assert [[result.records[2].reports[-1].step, result.records[2].reports[-1].value]] in crosses
    left, right = axes.get_xlim()
    assert left <= 1
    assert right >= max(report.step for record in others for report in record.reports)


def test_a_trial_that_was_interrupted_after_an_epoch_is_drawn(result, tmp_path):
    cut_off = record(6, [0.2, 0.4], TrialState.INTERRUPTED, "no time left", lr=0.1)
    result = replace(result, records=(*result.records, cut_off))
    assert write_report(result, tmp_path)["learning_curves.png"].exists()
    curves = learning_curves(result).axes[0].collections[0]
    assert curves.get_segments()[-1].tolist() == [[1, 0.2], [2, 0.4]]


def test_history_counts_complete_trials_in_the_order_of_their_ends(result):
    left, right = history(result).axes
    best = left.lines[0]
    assert best.get_xdata().tolist() == [0, 1, 2, 3, 4, 5]
    assert best.get_ydata().tolist() == [0.7, 0.9, 0.9, 0.9, 0.9, 0.9]
    spent = right.lines[0]  # trials ended from the last to the first
    assert spent.get_xdata().tolist() == [2, 3, 3, 4, 8, 12]
    assert spent.get_ydata()[-2:].tolist() == [0.9, 0.9]
    assert all(math.isnan(value) for value in spent.get_ydata()[:-2])


def test_parameters_have_axes_that_fit_their_values(result):
    panels = {axes.get_xlabel(): axes for axes in parameters(result).axes}
    assert {"lr", "optimizer", "momentum", "n_layers"} <= set(panels)
    assert panels["lr"].get_xscale() == "log"
    assert panels["momentum"].get_xscale() == "linear"
    assert [t.get_text() for t in panels["optimizer"].get_xticklabels()] == ["Adam", "SGD"]
    linear = {axes.get_xlabel(): axes for axes in parameters(result, log_names=()).axes}
    assert linear["lr"].get_xscale() == "linear"


@pytest.mark.parametrize("plot", [learning_curves, history, parameters])
@pytest.mark.parametrize("kept", [[], [3], [4], [2], [5], [0]])
def test_every_plot_can_be_drawn_of_any_study(result, plot, kept, tmp_path):
    some = StudyResult(name="some", records=tuple(result.records[i] for i in kept))
    plot(some).savefig(tmp_path / "plot.png")
    assert imread(tmp_path / "plot.png").std() > 0


def test_the_report_holds_everything(result, tmp_path):
    files = write_report(result, tmp_path / "report", settings={"sampler": "tpe"})
    assert set(files) == {
        *("report.html", "trials.csv"),
        *("learning_curves.png", "history.png", "parameters.png"),
    }
    page = files["report.html"].read_text(encoding="utf-8")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.replace("<style>", "<!--")))
    for part in (
        "cross-validated accuracy 0.900 ± 0.010 s.e.",
        "held-out test accuracy 0.8800, 0.02 below the cross-validated score",
        "5 trials, 1 of them still running (and 1 interrupted)",
        "torch.optim.Adam",
        "epochs saved by pruning 25%",
        "search time 1 min 15 s",
        "refit 2.0 s, 3 epochs",
        "1 of 5 trials failed. 1 failed with: ValueError: &lt;b&gt;bad&lt;/b&gt; &amp; ugly.",
        "sampler tpe",
    ):
        assert part in text, part
    assert "data:image/png" not in page, "its figures are interactive"
    assert not re.search(r'(src|href)="(?!data:)', page), "the report needs no other file"
    assert "<b>bad" not in page
    assert pd.read_csv(files["trials.csv"])["number"].tolist() == [0, 1, 2, 3, 4, 5]


def test_the_report_of_a_study_without_a_winner_says_so(result, tmp_path):
    some = StudyResult(name="some", records=result.records[3:])
    page = write_report(some, tmp_path)["report.html"].read_text(encoding="utf-8")
    assert "No trial is complete with a finite score yet." in page


def test_pyplot_is_not_touched(result):
    import subprocess
    import sys

    code = "import hpo.review, sys; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
