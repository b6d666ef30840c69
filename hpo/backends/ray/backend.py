"""Backend that lets Optuna propose trials and Ray Tune train them, here or on a cluster."""

import copy
import math
import tempfile
from collections.abc import Mapping
from typing import Any

from hpo.backends.base import BaseBackend
from hpo.backends.ray.cluster import check_slots, connected, missing, n_slots
from hpo.exceptions import ExecutorError
from hpo.executors import BaseExecutor, pickled, settings_of_this_process
from hpo.space import SearchSpace
from hpo.training import BaseObjective
from hpo.trial_manager import TrialManager

__all__ = ["RayBackend"]


class RayBackend(BaseBackend):
    """Asks the store's Optuna study for trials and trains them in actors of Ray Tune.

    Actors are reused from trial to trial, so torch is loaded once per actor; the objective and
    its data go through Ray's object store once per study. Trials are defined, stopped and
    recorded as with the backend ``optuna``.

    Parameters
    ----------
    address : str or None, default=None
        ``auto`` or ``host:port`` of a running cluster; None starts a private Ray on this
        machine and shuts it down at the end, unless the process is already connected.
    cpus_per_trial : float, default=1
        CPUs per trial; torch and BLAS use as many threads.
    gpus_per_trial : float, default=0
        GPUs per trial: a fraction below 1, or a whole number.
    resources : mapping of str to float, default={}
        Ray's custom resources per trial.
    max_concurrent : int or None, default=None
        Trials at a time; None is as many as the cluster can hold.
    max_failures : int, default=2
        How often a trial is restarted after its worker died, before it is FAILED.
    device : str or None, default=None
        Torch device of the workers; None is the first assigned GPU, else the CPU.
    scheduler : str or None, default=None
        One of Ray's schedulers, which then stops trials instead of the study's pruner:
        ``asha``, ``hyperband``, ``bohb``, ``median_stopping`` or ``pbt``, with its options as
        Ray documents them, in brackets (``"asha(grace_period=2)"``). Time is counted in
        steps, and ``max_t`` is the study's number of epochs. ``hyperband`` and ``pbt`` ask for
        all trials at once, so the sampler cannot learn from earlier ones. When a study is
        resumed, a scheduler starts without knowledge of earlier trials.
    storage_path : str or None, default=None
        Folder or URI that all nodes share, for schedulers that pause trials.

    Raises
    ------
    ValueError
        If an option is out of its range.
    """

    runs_trials_itself = True

    def __init__(
        self,
        *,
        address: str | None = None,
        cpus_per_trial: float = 1,
        gpus_per_trial: float = 0,
        resources: Mapping[str, float] | None = None,
        max_concurrent: int | None = None,
        max_failures: int = 2,
        device: str | None = None,
        scheduler: str | None = None,
        storage_path: str | None = None,
    ) -> None:
        if not cpus_per_trial > 0:
            raise ValueError(f"cpus_per_trial must be above 0. Got {cpus_per_trial} instead.")
        if gpus_per_trial < 0 or (gpus_per_trial > 1 and gpus_per_trial % 1):
            raise ValueError(
                "gpus_per_trial must be a fraction between 0 and 1 or a whole number. Got "
                f"{gpus_per_trial} instead."
            )
        if max_concurrent is not None and max_concurrent < 1:
            raise ValueError(f"max_concurrent must be at least 1. Got {max_concurrent} instead.")
        if max_failures < 0:
            raise ValueError(f"max_failures must not be negative. Got {max_failures} instead.")
        if resources is not None and not isinstance(resources, Mapping):
            raise ValueError(
                f"resources must be a mapping such as {{'disk': 1}}. Got {resources!r} instead."
            )
        self._scheduler_spec = None if scheduler is None else _read_spec(scheduler)
        self.prunes_itself = scheduler is not None
        self.storage_path = storage_path
        resources_per_trial = {"CPU": cpus_per_trial, "GPU": gpus_per_trial, **(resources or {})}
        self._resources = {
            name: float(amount) for name, amount in resources_per_trial.items() if amount
        }
        self.address = address
        self.max_concurrent = max_concurrent
        self.max_failures = max_failures
        self.n_threads = max(1, math.floor(cpus_per_trial))
        self.device = device or ("cuda:0" if gpus_per_trial else "cpu")

    def is_parallel(self, executor: BaseExecutor) -> bool:
        """Return whether several trials may run at a time."""
        return self.max_concurrent != 1

    def run(self, trials: TrialManager, executor: BaseExecutor) -> str:
        """Run trials with Ray Tune; only the objective of ``executor`` is used.

        Raises
        ------
        ExecutorError
            If Ray cannot be used, has no node large enough for a trial, or workers keep dying.
        """
        if trials.n_left < 1:
            return ""
        with connected(self.address):
            from hpo.backends.ray.driver import StudyController

            check_slots(self._resources)
            self._check_scheduler(trials.n_left)
            driver = StudyController(
                trials,
                objective=executor.objective,
                n_slots=self._n_slots,
                max_failures=self.max_failures,
            )
            try:
                self._fit(driver, trials.space, executor.objective)
            finally:
                trials.interrupt_all()  # also after an error: no trial is left open
                executor.errors = driver.errors
        return driver.stopped

    def _n_slots(self) -> int:
        n_fitting = n_slots(self._resources)
        return n_fitting if self.max_concurrent is None else min(n_fitting, self.max_concurrent)

    def _check_scheduler(self, n_left: float) -> None:
        if self._scheduler_spec is None:
            return
        from hpo.backends.ray.schedulers import check_storage

        check_storage(self._scheduler_spec, self.storage_path)
        if self._scheduler_spec.all_at_once and math.isinf(n_left):
            raise ExecutorError(
                f"Ray's scheduler '{self._scheduler_spec.name}' compares all trials side by side: "
                "n_trials must say how many. Got None instead."
            )

    def _make_scheduler(self, driver: Any, space: SearchSpace, objective: BaseObjective) -> Any:
        from hpo.backends.ray.driver import StoreScheduler

        if self._scheduler_spec is None:
            return StoreScheduler(driver)
        from hpo.backends.ray.schedulers import DelegatingScheduler

        return DelegatingScheduler(driver, self._scheduler_spec, space, objective)

    def _fit(self, driver: Any, space: SearchSpace, objective: BaseObjective) -> None:
        from ray import tune
        from ray.tune import TuneError

        from hpo.backends.ray.driver import StoreSearcher, StudyStopper

        scheduler = self._make_scheduler(driver, space, objective)
        with tempfile.TemporaryDirectory(prefix="hpo-", ignore_cleanup_errors=True) as folder:
            tuner = tune.Tuner(
                self._trainable(objective),
                tune_config=tune.TuneConfig(
                    search_alg=StoreSearcher(driver),
                    scheduler=scheduler,
                    num_samples=-1,
                    reuse_actors=True,
                    trial_name_creator=_name,
                    trial_dirname_creator=_name,
                ),
                run_config=tune.RunConfig(
                    name="study",
                    storage_path=self.storage_path or folder,
                    stop=StudyStopper(driver, scheduler),
                    failure_config=tune.FailureConfig(max_failures=0),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    callbacks=[],
                    verbose=0,
                ),
            )
            try:
                tuner.fit()
            except TuneError as error:
                raise driver.error or ExecutorError(f"Ray Tune gave up: {error}") from error
        if driver.error:
            raise driver.error

    def _trainable(self, objective: Any) -> Any:
        """Return the class of the actors; this puts the objective into the object store."""
        import numpy as np
        from ray import tune

        from hpo.backends.ray.worker import Worker, WorkerPayload

        if objective.checkpointing is not None:
            objective = copy.copy(objective)
            objective.checkpointing = objective.checkpointing.elsewhere()
        head, buffers = pickled(objective)
        payload = WorkerPayload(
            head=head,
            arrays=[np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers],
            settings=settings_of_this_process(here=False),
            n_threads=self.n_threads,
            device=self.device,
        )
        resources = tune.PlacementGroupFactory([self._resources])
        return tune.with_resources(tune.with_parameters(Worker, payload=payload), resources)


def _read_spec(scheduler: Any) -> Any:
    try:
        from hpo.backends.ray.schedulers import read_scheduler
    except ImportError as error:
        raise missing(error) from error
    return read_scheduler(scheduler)


def _name(trial: Any) -> str:
    return str(trial.trial_id)
