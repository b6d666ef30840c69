"""The conformance suites over the parts of a user's own: run by pytest in the user's folder."""

import csv

import pytest
from parts import (
    ClassCounts,
    CSVTracker,
    OneStepExecutor,
    OwnSampler,
    PlateauPruner,
    SequentialBackend,
)

from hpo.testing.analyses import AnalysisConformance
from hpo.testing.backends import BackendConformance
from hpo.testing.executors import ExecutorConformance
from hpo.testing.pruners import PrunerConformance
from hpo.testing.samplers import SamplerConformance
from hpo.testing.trackers import TrackerConformance


class TestPruner(PrunerConformance):
    @pytest.fixture
    def pruner(self):
        return PlateauPruner(2)


class TestSampler(SamplerConformance):
    @pytest.fixture(params=["parts:OwnSampler", OwnSampler])
    def sampler(self, request):
        return request.param


class TestExecutor(ExecutorConformance):
    @pytest.fixture
    def make_executor(self):
        return OneStepExecutor


class TestBackend(BackendConformance):
    @pytest.fixture
    def backend(self):
        return SequentialBackend()


class TestTracker(TrackerConformance):
    @pytest.fixture
    def make_tracker(self):
        return lambda folder: CSVTracker(folder / "trials.csv")

    @pytest.fixture
    def read_target(self):
        def read(folder):
            with (folder / "trials.csv").open(newline="") as file:
                rows = list(csv.reader(file))
            return {
                int(number): [(int(s), float(v)) for n, s, v, _ in rows if n == number and s]
                for number, step, *_ in rows
                if step == ""
            }

        return read


class TestAnalysis(AnalysisConformance):
    @pytest.fixture
    def analysis(self):
        return ClassCounts()
