"""Any net, however it is put together, is trained in a batch as by itself, or refused."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

PATH = Path(__file__).parents[1] / "benchmarks" / "_random_nets.py"


@pytest.fixture(scope="module")
def random_nets():
    spec = importlib.util.spec_from_file_location("_random_nets", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["_random_nets"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["_random_nets"]


def test_random_nets_are_trained_the_same_or_refused(random_nets):
    """Against the net's own fit, from the same draws; more by tests/benchmarks/random_nets.py."""
    seen = Counter()

    @settings(
        max_examples=200,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 10**9))
    def compare(seed):
        told = random_nets.outcome(seed)
        assert told  # a refusal says why
        seen[told] += 1

    compare()
    assert seen["same"] > 60
    assert len(seen) > 5
