"""Two nodes on one machine: ``python tests/benchmarks/ray_nodes.py``.

A study runs on a cluster of two Ray nodes of one CPU each; one of them is killed when both have
trained, and the study finishes on the other.
"""

import os
import sys
import time
from collections.abc import Sequence

import cloudpickle
import ray
from ray.cluster_utils import Cluster

from hpo.backends.ray import RayBackend
from hpo.testing.backends import Recorder, search
from hpo.training import BaseObjective
from hpo.trial import Report, TrialRecord

cloudpickle.register_pickle_by_value(sys.modules[__name__])

N_TRIALS, STEPS = 16, 10


class Located(BaseObjective):
    """Reports that name the node they come from."""

    def run(self, trial, device=None):
        """Yield ten reports, one every 0.1 s."""
        node = float(int(ray.get_runtime_context().get_node_id()[:12], 16))
        for step in range(1, STEPS + 1):
            time.sleep(0.1)
            yield Report(trial.number, step, trial.params["x"] * step, metrics={"node": (node,)})

    def max_steps(self, params):
        """Return ten."""
        return STEPS


class Killer(Recorder):
    """Kills the second node once reports of both have been heard."""

    def __init__(self, cluster: Cluster, victim: object) -> None:
        super().__init__()
        self.cluster, self.victim = cluster, victim
        self.heard_of: dict[float, float] = {}
        self.killed: float | None = None

    def on_report(self, record: TrialRecord, report: Report) -> None:
        """Note the node; kill when there are two and a few trials are done."""
        self.heard_of[report.metrics["node"][0]] = time.time()
        if self.killed is None and len(self.heard_of) == 2 and record.number >= 4:
            self.killed = time.time()
            self.cluster.remove_node(self.victim, allow_graceful=False)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study and say what came of it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        victim = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        killer = Killer(cluster, victim)
        records = search(
            RayBackend(address=cluster.address, max_failures=3),
            Located(),
            space={"x": {"type": "float", "low": 0.0, "high": 1.0}},
            n_trials=N_TRIALS,
            pruner="nop",
            trackers=[killer],
        )
        assert killer.killed is not None, "one node did all the work"
        after = [node for node, last in killer.heard_of.items() if last > killer.killed + 1]
        states = sorted({str(record.state) for record in records})
        print(
            f"nodes that trained: {len(killer.heard_of)}; after the death of one: {len(after)}; "
            f"{len(records)} trials, {', '.join(states)}"
        )
        assert states == ["complete"]
        assert len(records) == N_TRIALS
        assert len(after) == 1
        assert [[r.step for r in record.reports] for record in records] == [
            list(range(1, STEPS + 1))
        ] * N_TRIALS
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
