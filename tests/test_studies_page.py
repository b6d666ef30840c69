"""The page of the studies says what stands in the storage."""

import importlib.util
from pathlib import Path

from sklearn.linear_model import RidgeClassifier

from hpo import Study, run_study
from hpo.data import load_digits

PAGE = Path(__file__).parents[1] / "docs" / "studies_page.py"

FILE = '''"""{}"""

from sklearn.linear_model import RidgeClassifier

from hpo import Study
from hpo.data import load_digits

study = Study(
    name="{}", estimator=RidgeClassifier(), data=load_digits, search_space={{"alpha": [0.1, 1e5]}}
)
'''


def test_the_page_is_made_of_the_storage(tmp_path):
    spec = importlib.util.spec_from_file_location("studies_page", PAGE)
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    storage = f"sqlite:///{tmp_path / 'hpo.db'}"
    study = Study(
        name="ridge",
        estimator=RidgeClassifier(),
        data=load_digits,
        search_space={"alpha": [0.1, 1e5]},
        cv=3,
        n_trials=None,
        sampler="grid",
        storage=storage,
        tracker="null",
    )
    run_study(study)
    result = run_study(study, fresh=True)
    (tmp_path / "studies").mkdir()
    for name, docstring in (("ridge", "Asks how much ``alpha``."), ("other", "Asks nothing.")):
        (tmp_path / "studies" / f"{name}.py").write_text(FILE.format(docstring, name))
    text = page.write_page(storage, tmp_path, "a machine").read_text()
    assert "Asks how much `alpha`." in text
    assert "`hpo run studies/other.py`: not run" in text
    assert "**ridge@2**: 2 trials (2 complete, 0 pruned, 0 failed)" in text
    assert "**ridge**" not in text  # the older one
    assert f"sealed test {result.test_score:.4f}" in text
    assert "| alpha |" in text
    assert (tmp_path / "docs" / "plots" / "ridge.png").stat().st_size > 1000
    assert page.latest("few_100", ["few_30", "few_100@2", "few_100", "few_full", "fewer_30"]) == [
        "few_30",
        "few_100@2",
    ]
