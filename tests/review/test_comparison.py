"""Groups of a comparison, the test of their differences, and the figures."""

import io
import math

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from hpo.cli._tables import comparison_table, print_comparison
from hpo.result import StudyResult
from hpo.review import compare, comparison, comparison_curves, write_report
from hpo.review.comparison import (
    BEST,
    MISSING,
    SAME,
    WORSE,
    seconds_per_epoch,
)
from hpo.statistics.paired import adjusted_by_holm, paired_difference
from hpo.trial import Report, Trial, TrialRecord, TrialState

N_FOLDS = 5
SIZES = ((80, 20),) * N_FOLDS
NOISE = (-0.004, 0.001, 0.003, -0.002, 0.002)


def record(number, level, state=TrialState.COMPLETE, *, n_steps=3, spread=1.0, **params):
    reports = []
    for step in range(1, n_steps + 1):
        value = level - 0.1 / step + (0.1 / n_steps)
        folds = tuple(value + spread * noise for noise in NOISE)
        metrics = {"norm": tuple(step + 10 * level + n for n in NOISE), "flat": (2.0,) * N_FOLDS}
        fit = tuple(0.5 * step + 0.1 * i for i in range(N_FOLDS))
        reports.append(Report(number, step, float(np.mean(folds)), folds, metrics, 0.7, fit))
    return TrialRecord(Trial(number, params, 0), state, tuple(reports), max_steps=n_steps)


def result(records, compare_, **fields):
    return StudyResult(
        name="s",
        records=tuple(records),
        compare=compare_,
        scoring="accuracy",
        **{"fold_sizes": SIZES, **fields},
    )


def optimizers():
    names = ["torch.optim.SGD", "torch.optim.Adam", "torch.optim.AdamW"]
    records = [
        record(3 * i + j, 0.5 + 0.1 * i + 0.01 * j, spread=1 + 0.5 * i + j, optimizer=name, lr=lr)
        for i, name in enumerate(names)
        for j, lr in enumerate([0.01, 0.1])
    ]
    return [*records, record(20, 0.99, TrialState.PRUNED, optimizer=names[0], lr=0.3)]


def test_the_best_complete_trial_stands_for_its_group():
    compared = compare(result(optimizers(), ("optimizer",)))
    assert [group.label for group in compared.groups] == ["AdamW", "Adam", "SGD"]
    assert [group.record.number for group in compared.groups] == [7, 4, 1]
    assert [group.n_trials for group in compared.groups] == [2, 2, 3]
    assert [group.verdict for group in compared.groups] == [BEST, WORSE, WORSE]
    assert "over 5 folds" in compared.note
    assert "3 pairs" in compared.note


def test_differences_are_paired_over_the_folds():
    a = record(0, 0.8, lr=1.0)
    # the same folds are hard for both: the scores vary by 0.003, their difference by nothing
    b = record(1, 0.7999, lr=2.0)
    compared = compare(result([a, b], ("lr",)))
    assert compared.groups[0].score[1] > 10 * (a.value - b.value)
    assert compared.groups[1].verdict == WORSE
    noisy = record(1, 0.7999, spread=3.0, lr=2.0)
    assert compare(result([a, noisy], ("lr",))).groups[1].verdict == SAME


@pytest.mark.parametrize("n_folds", [2, 5, 15])
def test_the_test_is_students_but_for_the_correction(n_folds):
    rng = np.random.default_rng(n_folds)
    a, b = rng.normal(size=(2, n_folds))
    never_shared = [(1, 0)] * n_folds
    mean, error, p = paired_difference(a, b, never_shared)
    expected = stats.ttest_rel(a, b)
    assert p == pytest.approx(expected.pvalue)
    assert mean / error == pytest.approx(expected.statistic)
    _, corrected, p_corrected = paired_difference(a, b, [(80, 20)] * n_folds)
    assert corrected / error == pytest.approx(math.sqrt((1 / n_folds + 0.25) * n_folds))
    assert p_corrected > p


def test_folds_without_sizes_share_all_samples_out():
    a, b = np.random.default_rng(0).normal(size=(2, 5))
    assert paired_difference(a, b) == paired_difference(a, b, SIZES)


def test_what_no_test_can_tell():
    assert math.isnan(paired_difference([0.5], [0.6])[2])
    assert math.isnan(paired_difference([0.5, math.nan], [0.6, 0.7])[2])
    assert paired_difference([0.5, 0.6], [0.5, 0.6])[2] == 1.0
    assert paired_difference([0.5, 0.5], [0.6, 0.6])[2] == 0.0
    one_fold = [
        TrialRecord(
            Trial(i, {"lr": i}, 0), TrialState.COMPLETE, (Report(i, 1, 0.5 + i, (0.5 + i,)),)
        )
        for i in range(2)
    ]
    compared = compare(result(one_fold, ("lr",), fold_sizes=()))
    assert [group.verdict for group in compared.groups] == ["", BEST]
    assert "One fold" in compared.note


def test_holms_correction():
    assert adjusted_by_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert adjusted_by_holm([0.9, 0.8]) == [1.0, 1.0]
    assert adjusted_by_holm([]) == []


def test_noise_is_seldom_called_a_difference():
    """Folds that share training data as little as can be: the correction only makes it rarer."""
    rng = np.random.default_rng(0)
    called = 0
    for _ in range(300):
        scores = rng.normal(size=(4, N_FOLDS))
        ps = [paired_difference(scores[0], other, SIZES)[2] for other in scores[1:]]
        called += min(adjusted_by_holm(ps)) < 0.05
    assert called / 300 < 0.05


def test_a_value_that_does_not_exist_and_a_group_without_a_complete_trial():
    records = [
        record(0, 0.7, kind="none"),
        record(1, 0.8, kind="l1", lam=0.1),
        record(2, 0.5, TrialState.PRUNED, kind="l1", lam=5.0),
        record(3, 0.5, TrialState.PRUNED, kind="l1", lam=5.0),
        record(4, 0.5, TrialState.FAILED, kind="l1", lam=5.0),
        record(5, 0.5, TrialState.RUNNING, kind="l2", lam=5.0),
    ]
    compared = compare(result(records, ("kind", "lam")))
    assert [group.values for group in compared.groups] == [
        ("l1", 0.1),
        ("none", MISSING),
        ("l1", 5.0),
    ]
    last = dict(zip(compared.header, compared.rows()[-1], strict=True))
    assert last["verdict"] == "2 pruned, 1 failed"
    assert last["accuracy"] == last["difference"] == MISSING


def test_numbers_are_ordered_and_ones_that_are_equal_but_differ_in_kind_stand_apart():
    records = [record(i, 0.5, size=size) for i, size in enumerate([64, 8, None, 512, 0])]
    compared = compare(result(records, ("size",)))
    assert [group.values[0] for group in compared.groups] == [None, 0, 8, 64, 512]
    flags = [record(0, 0.5, flag=True), record(1, 0.6, flag=1), record(2, 0.7, flag=1.0)]
    assert len(compare(result(flags, ("flag",))).groups) == 3


def test_seconds_and_watched_metrics():
    records = optimizers()
    assert seconds_per_epoch(records[0])[0] == pytest.approx((1.5 + 0.2) / 3)
    compared = compare(result(records, ("optimizer",), watch=("norm", "nrm", "seconds")))
    assert compared.watch == ("norm", "nrm")
    assert compared.groups[0].watched["norm"][0] == pytest.approx(3 + 10 * 0.71)
    assert "No trial reports 'nrm', did you mean 'norm'?" in compared.note
    row = dict(zip(compared.header, compared.rows()[0], strict=True))
    assert row["optimizer"] == "AdamW"
    assert row["epoch"] == "3"
    assert row["norm"].startswith("10.1000 ± 0.0013")
    assert row["nrm"] == MISSING
    assert compared.rows(errors=False)[0][4] == "10.1000"


def test_equal_values_have_no_error():
    """Seven times 0.1 have a mean that is not 0.1 in floating point."""
    folds = (0.1,) * 7
    report = Report(0, 1, 0.1, folds, {"lr": (0.003,) * 7})
    records = [
        TrialRecord(Trial(i, {"a": i}, 0), TrialState.COMPLETE, (report,), max_steps=1)
        for i in range(2)
    ]
    compared = compare(result(records, ("a",), watch=("lr",), fold_sizes=()))
    assert compared.groups[0].watched["lr"] == (pytest.approx(0.003), 0.0)
    assert "±" not in "".join(compared.rows()[0][:-3])


def test_nothing_to_compare():
    assert compare(result(optimizers(), ())) is None
    assert compare(result([], ("lr",))) is None
    assert compare(result([record(0, 0.5, lr=1), record(1, 0.6, lr=1)], ("lr",))) is None
    unfinished = result([record(0, 0.5, TrialState.RUNNING, lr=1)], ("lr",))
    assert comparison(unfinished) is None
    assert comparison_curves(unfinished) is None


def test_names_stand_below_each_other_the_best_on_top():
    figure = comparison(result(optimizers(), ("optimizer",), watch=("norm",)))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "accuracy",
        "seconds per epoch",
        "norm",
    ]
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["SGD", "Adam", "AdamW"]
    points = [bar.lines[0].get_xdata()[0] for bar in figure.axes[0].containers]
    assert points == sorted(points)


def test_numbers_are_an_axis_and_zero_has_a_place_of_its_own_on_a_logarithmic_one():
    lams = [0.0, 1e-4, 1e-2, 1.0]
    records = [record(i, 0.5 + 0.1 * i, lam=lam) for i, lam in enumerate(lams)]
    axes = comparison(result(records, ("lam",))).axes[0]
    assert axes.get_xscale() == "log"
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert labels == ["0", "0.0001", "0.01", "1"]
    joined, apart = (bar.lines[0].get_xdata().tolist() for bar in axes.containers)
    assert joined == lams[1:]
    assert 0 < apart[0] < 1e-4
    few = [record(i, 0.5, lam=lam) for i, lam in enumerate([0.0, 1.0, 2.0])]
    assert comparison(result(few, ("lam",))).axes[0].get_xscale() == "linear"


def test_of_two_parameters_the_one_with_more_values_is_the_axis():
    records = [
        record(10 * i + j, 0.5 + 0.01 * i * j, depth=depth, size=size)
        for i, depth in enumerate([2, 5])
        for j, size in enumerate([8, 16, 32])
    ]
    figure = comparison(result(records, ("depth", "size"), watch=("norm",)))
    assert figure.axes[0].get_xlabel() == "size"
    assert len(figure.axes[0].containers) == 2
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "depth"
    assert [text.get_text() for text in legend.get_texts()] == ["2", "5", "best"]


def test_curves_of_the_best_groups_and_of_metrics_that_change():
    records = [record(i, 0.5 + 0.01 * i, kind=f"k{i}") for i in range(15)]
    figure = comparison_curves(result(records, ("kind",), watch=("norm", "flat", "unheard")))
    shown = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in shown] == ["accuracy", "norm"]
    curves = [line for line in shown[0].lines if len(line.get_xdata()) == 3]
    assert len(curves) == 8
    (legend,) = figure.legends
    assert "7 more" in legend.get_title().get_text()
    short = [record(i, 0.5, n_steps=1, kind=f"k{i}") for i in range(2)]
    assert comparison_curves(result(short, ("kind",))) is None


def test_the_report_has_a_section_before_the_top_ten(tmp_path):
    files = write_report(result(optimizers(), ("optimizer",)), tmp_path)
    page = files["report.html"].read_text()
    assert page.index("<h2>Comparison</h2>") < page.index("<h2>Top ten</h2>")
    assert "Nadeau and Bengio 2003" in page
    assert {"comparison.png", "comparison_curves.png"} <= set(files)
    plain = write_report(result(optimizers(), ()), tmp_path / "plain")
    assert "Comparison" not in plain["report.html"].read_text()
    assert "comparison.png" not in plain


def test_the_table_fits_a_terminal_of_a_hundred_columns():
    shown = result(optimizers(), ("optimizer", "lr"), watch=("norm", "flat"))
    wide, narrow = (
        Console(width=width, file=io.StringIO(), force_terminal=True) for width in (200, 100)
    )
    compared = compare(shown)
    wide.print(comparison_table(compared, 200))
    narrow.print(comparison_table(compared, 100))
    assert "10.1000 ± 0.0013" in wide.file.getvalue()
    assert "10.1000 ± 0.0013" not in narrow.file.getvalue()
    lines = narrow.file.getvalue().splitlines()
    assert len(lines) == 1 + len(compared.groups)
    print_comparison(narrow, shown)
    assert "Comparison: optimizer × lr" in narrow.file.getvalue()
