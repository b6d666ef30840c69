import importlib.util
from pathlib import Path


def test_the_benchmark_runs(monkeypatch):
    monkeypatch.setenv("HPO_CACHE", "")  # the benchmark sets one of its own
    path = Path(__file__).parents[1] / "benchmarks" / "tracking.py"
    spec = importlib.util.spec_from_file_location("benchmark_tracking", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    figures = benchmark.main(n_trials=3, n_epochs=4)
    assert figures["values_read_back"] == 3 * 4 * 6
