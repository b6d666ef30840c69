"""The interactive report: figures that plotly takes, a page that needs nothing else."""

import json
import re
import shutil
import subprocess
import zlib
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
from review._studies import SPACE, by_lr, sampled
from scipy import stats

from hpo.out_of_fold import ValidatedRows
from hpo.out_of_fold_files import OutOfFoldFiles, StudyRows
from hpo.result import StudyResult
from hpo.review import compare, parameters, write_report
from hpo.review._document import document
from hpo.review.advice import advice
from hpo.review.importance import importances
from hpo.review.interactive import figures_of
from hpo.space import SearchSpace
from hpo.trial import Report, TrialState

pytestmark = pytest.mark.slow

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


def figures(result):
    return figures_of(result, importances(result), compare(result))


def points(figure, **wanted):
    """Return the numbers of the trials of the traces that have these attributes."""
    return [
        number
        for trace in figure["data"]
        if all(trace.get(name) == value for name, value in wanted.items())
        for number in trace.get("customdata", ())
    ]


@pytest.fixture
def result(tmp_path):
    study = sampled(SPACE, 60, by_lr, costs=("seconds",), compare=("optimizer",))
    return replace(study, out_of_fold=rows_of(tmp_path, study))


def rows_of(folder, study, classes=("cat", "dog", "<b>")):
    n = 90
    y = np.arange(n) % 3
    names = None if classes is None else np.array(classes)
    targets = y.astype(float) if classes is None else names[y]
    files = OutOfFoldFiles(
        folder / "rows",
        lambda: StudyRows(rows=np.arange(n), folds=np.arange(n) % 5, y=targets, classes=names),
    )
    predicted = np.where(np.arange(n) % 10 == 0, (y + 1) % 3, y)
    kind, values = "predict", y + 0.1
    if classes is not None:
        kind, values = "predict_proba", np.eye(3)[predicted] * 0.7 + 0.1
    winner = study.winner
    step = winner.best_report.step
    files.add(winner.number, winner.value, ValidatedRows(step, None, values, kind))
    files.end(winner)
    return files


def test_every_figure_is_one_that_plotly_takes(result):
    made = figures(result)
    assert set(made) == {
        *("history", "curves", "saved", "timeline"),
        *("importance", "slices", "parallel", "contour"),
        *("pareto_front", "comparison", "confusion", "calibration"),
    }
    for figure in made.values():
        go.Figure(figure)  # raises for an attribute that there is not
        json.dumps(figure, allow_nan=False)


@pytest.mark.parametrize("n_trials", [0, 1, 2, 12])
@pytest.mark.parametrize("n_steps", [1, 4])
def test_small_studies_have_the_figures_that_they_can_have(n_trials, n_steps, tmp_path):
    result = sampled(SPACE, n_trials, by_lr, n_steps=n_steps)
    made = figures(result)
    for figure in made.values():
        go.Figure(figure)
    assert ("history" in made) == (n_trials > 0)
    assert ("curves" in made) == (n_trials > 0 and n_steps > 1)
    assert "importance" not in made
    page = write_report(result, tmp_path)["report.html"].read_text()
    assert ("Learning curves" in page) == ("curves" in made)


ODD_SPACES = {
    "nothing": {},
    "one value": {"n": {"type": "int", "low": 3, "high": 3}, "c": ["only"]},
    "no numbers": {"flag": [True, False], "kind": [None, 1, "a", 2.5]},
    "distributions": {"a": stats.expon(scale=3), "b": stats.poisson(4), "c": stats.lognorm(2)},
    "log of one value": {"lr": {"type": "float", "low": 0.1, "high": 0.1, "log": True}},
    "steps": {"x": {"type": "float", "low": -1.0, "high": 1.0, "step": 0.25}},
    "spaces": [{"C": [1, 10]}, {"C": {"type": "float", "low": 0.1, "high": 1.0}, "k": ["a"]}],
}


@pytest.mark.parametrize("space", ODD_SPACES.values(), ids=ODD_SPACES)
def test_odd_spaces_are_drawn_and_advised(space):
    result = sampled(SearchSpace.load(space), 50, lambda p: zlib.crc32(str(p).encode()) % 97 / 97)
    for figure in figures(result).values():
        go.Figure(figure)
        json.dumps(figure, allow_nan=False)
    advice(result)
    parameters(result)


def test_trials_of_any_state_are_drawn(result):
    records = list(result.records)
    records[5] = replace(records[5], state=TrialState.RUNNING, ended=None)
    records[6] = replace(records[6], state=TrialState.FAILED, reports=(), reason="no")
    records[7] = replace(records[7], reports=(Report(7, 1, float("nan")),), started=None)
    for figure in figures(replace(result, records=tuple(records), out_of_fold=None)).values():
        go.Figure(figure)
        json.dumps(figure, allow_nan=False)


def test_each_state_has_a_colour_and_a_marker_of_its_own(result):
    looks = {
        trace["legendgroup"]: (trace["marker"]["color"], trace["marker"]["symbol"])
        for trace in figures(result)["history"]["data"]
        if trace["mode"] == "markers"
    }
    assert set(looks) == {"complete", "pruned", "winner"}
    assert all(len(set(each)) == 3 for each in zip(*looks.values(), strict=True))


def test_curves_are_faded_where_pruned_and_the_median_is_drawn(result):
    data = figures(result)["curves"]["data"]
    lines = {trace["name"]: trace for trace in data if trace["mode"] == "lines" and "name" in trace}
    assert lines["20 pruned"]["opacity"] < lines["39 complete"]["opacity"]
    median = lines["median of the trials that got there"]
    at_first = [record.reports[0].value for record in result.records]
    assert median["x"] == [1, 2, 3, 4]
    assert median["y"][0] == pytest.approx(np.median(at_first), rel=1e-4)
    winner = lines[f"winner: trial {result.winner.number}"]
    assert winner["line"]["width"] > lines["39 complete"]["line"]["width"]
    assert len(lines["39 complete"]["x"]) == 39 * 5  # four steps, and a gap


def test_long_curves_are_thinned_but_not_of_their_best_step():
    long = sampled(SPACE, 30, by_lr, n_steps=3000, pruned_every=0)
    data = figures(long)["curves"]["data"]
    drawn = sum(len(trace["x"]) for trace in data if trace["mode"] == "lines")
    assert drawn < 45_000
    ends = [trace for trace in data if trace["mode"] == "markers"]
    assert {x for trace in ends for x in trace["x"]} == {3000}


def test_axes_are_logarithmic_where_the_space_says_so(result):
    layout = figures(result)["slices"]["layout"]
    types = {
        axis["title"]["text"]: axis.get("type", "linear")
        for name, axis in layout.items()
        if name.startswith("xaxis")
    }
    assert types == dict.fromkeys(SPACE, "linear") | {"lr": "log", "width": "log"}
    (trace,) = figures(result)["parallel"]["data"]
    labels = {each["label"]: each for each in trace["dimensions"]}
    assert set(labels) == {*SPACE, "accuracy"}
    assert labels["momentum"]["ticktext"][0] == "none"
    assert max(labels["lr"]["values"]) <= 0


def test_confusion_is_that_of_the_rows_that_the_folds_validated(result):
    (cells,) = figures(result)["confusion"]["data"]
    oof = result.oof()
    assert cells["x"] == ["cat", "dog", "&lt;b&gt;"]
    counts = [[int(text or 0) for text in row] for row in cells["text"]]
    assert np.trace(counts) == (oof.labels == oof.y).sum() == 81
    assert np.sum(counts) == 90
    (line,) = (t for t in figures(result)["calibration"]["data"] if "error_y" in t)
    assert line["x"] == pytest.approx([0.8])
    assert line["y"] == pytest.approx([0.9])


def test_a_regression_has_its_predictions_drawn(result, tmp_path):
    study = replace(result, out_of_fold=rows_of(tmp_path / "other", result, classes=None))
    made = figures(study)
    assert "confusion" not in made
    points_, line = made["predicted"]["data"]
    assert points_["y"] == pytest.approx(np.array(points_["x"]) + 0.1)
    assert line["x"] == [0.0, 2.0]


def test_epochs_saved_are_those_that_the_result_counts(result):
    trained, planned = figures(result)["saved"]["data"]
    assert trained["y"][-1] == result.epochs_run
    assert planned["y"][-1] == 4 * 60


def test_the_timeline_has_a_row_for_each_at_the_same_time(result):
    rows, names = rows_of_timeline(result)
    assert set(rows.values()) == {1, 2}, "each trial took two seconds, and one began each second"
    assert rows[0] != rows[1]
    assert names == ["place 1", "place 2"]  # workers of older studies are not known


def rows_of_timeline(result):
    """Return the row of each trial, and the names of all rows."""
    timeline = figures(result)["timeline"]
    traces = timeline["data"]
    rows = {n: row for t in traces for n, row in zip(t["customdata"], t["y"], strict=True)}
    return rows, timeline["layout"]["yaxis"]["ticktext"]


def test_the_timeline_has_a_row_for_each_worker(result):
    """A batch has several at the same time, of which each has a row."""
    workers = {0: "process 10", 1: "process 2"}
    named = [replace(r, worker=workers.get(r.number, "batch")) for r in result.records]
    rows, names = rows_of_timeline(replace(result, records=tuple(named)))
    assert names == ["batch · 1", "batch · 2", "process 2", "process 10"]
    assert (rows[0], rows[1]) == (4, 3)
    assert {rows[n] for n in rows if n > 1} == {1, 2}
    many = [replace(r, worker=f"process {r.number}") for r in result.records]
    rows, names = rows_of_timeline(replace(result, records=tuple(many)))
    assert len(set(rows.values())) == 60
    assert names[:2] == ["process 0", "process 3"]  # of more than 24, some are named


def page_of(result, settings=None):
    return document(
        result, {"comparison.png": b""}, result.settings if settings is None else settings
    )


def data_of(page):
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', page)
    return json.loads(found.group(1))


def test_the_pointer_tells_parameters_and_reason(result):
    hover = data_of(page_of(result))["hover"]
    assert set(hover) == {str(number) for number in range(60)}
    assert "<b>trial 2</b>, pruned" in hover["2"]
    assert "epoch 2: below the median" in hover["2"]
    for name in result.records[2].trial.params:
        assert f"{name} = " in hover["2"]


def test_the_table_has_all_trials_and_numbers_remain_numbers(result):
    table = data_of(page_of(result))["trials"]
    assert table["columns"][:6] == ["trial", "state", "accuracy", "epoch", "epochs", "seconds"]
    assert [row[0] for row in table["rows"]] == list(range(60))
    lr = table["columns"].index("lr")
    assert table["rows"][3][lr] == pytest.approx(result.records[3].trial.params["lr"], rel=1e-4)
    assert table["rows"][2][-1] == "epoch 2: below the median"


def test_settings_are_those_of_the_study_and_without_passwords(result):
    stored = replace(result, settings={"sampler": "tpe", "storage": "mysql://me:secret@host/db"})
    page = page_of(stored)
    assert "<th>sampler</th><td>tpe</td>" in page
    assert "secret" not in page
    assert "<th>pruner</th><td>nop</td>" in page_of(stored, {"pruner": "nop"})


def test_what_to_do_next_is_in_the_page():
    page = page_of(sampled(SPACE, 150, lambda p: p["lr"], pruned_every=0))
    assert "Widen lr beyond 1." in page
    assert "<pre><code>lr: {type: float, low: 0.0001, high: 100.0, log: true}</code></pre>" in page


def test_names_and_texts_are_no_markup():
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    result = sampled(SPACE, 30, by_lr, name=evil, scoring=evil)
    records = tuple(
        replace(
            record,
            reason=evil,
            trial=replace(record.trial, params={**record.trial.params, evil: evil}),
        )
        for record in result.records
    )
    page = page_of(replace(result, records=records))
    assert page.count("<script") == 3
    assert page.count("</script>") == 3
    assert "<img src=x" not in page
    data = data_of(page)
    assert "<img" not in json.dumps([data["figures"], data["hover"]])


def test_the_page_may_load_and_send_nothing(result):
    page = page_of(result)
    assert "default-src 'none'" in page
    without = re.sub(r'<script type="text/plain" id="plotly-gz">[^<]*</script>', "", page)
    assert not re.search(r"https?://", without)
    assert len(page) < 5_000_000


USES_THE_TABLE = """
const input = document.getElementById("filter");
const told = [];
const heading = (name) => [...document.querySelectorAll("#all-trials th")].find(
  (cell) => cell.textContent === name);
function tell() {
  const rows = document.querySelectorAll("#all-trials tbody tr");
  const count = document.getElementById("count").textContent;
  told.push(`${rows.length} rows, ${count}, ${rows[0].firstChild.textContent} first`);
}
function filter(text) {
  input.value = text;
  input.dispatchEvent(new Event("input"));
}
tell();
filter("state=pruned lr<0.01");
heading("lr").click();
tell();
filter("");
heading("accuracy").click();
tell();
document.title = told.join(" | ");
"""


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium")
def test_a_browser_draws_every_figure_and_the_table(result, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page_of(result).replace("</body>", f"<script>{USES_THE_TABLE}</script></body>"))
    done = subprocess.run(
        [
            *(str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *("--virtual-time-budget=9000", "--window-size=1200,9000", f"file://{path}"),
            f"--user-data-dir={tmp_path / 'browser'}",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    plots = re.findall(r"<div [^>]*data-figure[^>]*>", done.stdout)
    assert len(plots) == len(figures(result))
    assert all("data-drawn" in plot for plot in plots)
    at_first, filtered, best = re.search(r"<title>(.*?)</title>", done.stdout).group(1).split(" | ")
    assert at_first == "60 rows, 60 of 60 trials, 0 first"
    few = [r for r in result.records if r.state == "pruned" and r.trial.params["lr"] < 0.01]
    least = min(few, key=lambda record: record.trial.params["lr"])
    expected = f"{len(few)} rows, {len(few)} of 60 trials, {least.number} first"
    assert filtered == expected.replace("<", "&lt;")
    assert best == f"60 rows, 60 of 60 trials, {result.winner.number} first"


def test_a_result_knows_nothing_of_files(tmp_path):
    assert figures(StudyResult(name="none", records=())) == {}
