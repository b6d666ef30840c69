"""Every public analysis, found by its module's name, and one of a third party, keep the laws."""

import itertools

import pytest
from matplotlib.figure import Figure

from hpo import _discovery
from hpo.analyses import BaseAnalysis
from hpo.testing.analyses import AnalysisConformance, trained_winner

pytestmark = pytest.mark.slow


class TestPublicAnalyses(AnalysisConformance):
    @pytest.fixture(params=_discovery.names("hpo.analyses"))
    def analysis(self, request):
        return _discovery.build("hpo.analyses", request.param, BaseAnalysis)


class Shares(BaseAnalysis):
    """Somebody's analysis: how often each class is predicted."""

    title = "Shares"

    def compute(self, winner):
        X, _ = winner.test_part()
        predicted = winner.estimator.predict(X).tolist()
        names = winner.labels()
        return {names[i]: predicted.count(label) for i, label in enumerate(winner.classes)}

    def summarize(self, data):
        return [(name, str(n)) for name, n in data.items()]

    def plot(self, data):
        figure = Figure()
        figure.subplots().bar(list(data), list(data.values()))
        return figure


class TestThirdParty(AnalysisConformance):
    @pytest.fixture
    def analysis(self):
        return Shares()


class Counting(Shares):
    """Breaks the law: counts its calls."""

    calls = itertools.count()

    def compute(self, winner):
        return {"calls": next(self.calls)}


def test_the_suite_finds_an_analysis_that_does_not_repeat():
    winner, analysis = trained_winner(), Counting()
    data = analysis.compute(winner)
    with pytest.raises(AssertionError):
        AnalysisConformance().test_it_repeats(analysis, winner, data)
