"""The trials of a study in an Optuna study, with which every backend asks and tells.

The storage is the truth about a study: everything that happens in a trial is written to it at
once, so that anyone can read a running trial at any moment. See `records` for what is stored.
"""

import dataclasses
import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage, get_storage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from hpo._trial_end import end_of
from hpo.space import SearchSpace
from hpo.storage._agenda import Agenda
from hpo.storage._heart import Heart
from hpo.storage._resuming import Places, reports_up_to, resumed
from hpo.storage._signing import sign_trials
from hpo.storage._suspects import MAX_RETRIES, Suspects
from hpo.storage.drivers import new_driver
from hpo.storage.journal import Journal
from hpo.storage.open import open_storage, storage_errors
from hpo.storage.records import (
    FROM_OPTUNA,
    SOURCE,
    SURPLUS,
    TO_OPTUNA,
    frozen_of,
    packed_end,
    packed_report,
    packed_start,
    shown_reason,
)
from hpo.storage.stored_study import ALIVE, RETRIED, REVOKED, StoredStudy
from hpo.storage.studies import open_study, quiet, set_study_attr
from hpo.training.checkpoints import CheckpointError, CheckpointFiles
from hpo.trial import Cause, Report, Trial, TrialRecord, TrialState

__all__ = ["TrialStore"]


class TrialStore(StoredStudy):
    """A study in a storage, of which a driver runs trials; created if it does not exist.

    Parameters
    ----------
    name : str
    space : SearchSpace
        The space that `ask` samples.
    storage : str or None
        See `open_storage`; None keeps the study in memory.
    sampler : optuna.samplers.BaseSampler or None
    seed : int
        Seed of the study, from which each trial's seed is derived with the trial's number.
    costs : sequence of str
        Further objectives, which are minimized while the score is maximized.
    select : {"best", "last"} or None
        Which report stands for a trial (`TrialRecord`); None takes the study's stored setting.

    Attributes
    ----------
    driver : str
        Name of this driver of the study, by which other drivers identify it.
    is_new : bool
        Whether the study was created by this object.
    checkpoints : CheckpointFiles or None
        Where interrupted trainings were put aside, so that the trials in their place go on from
        there; None if they start anew.
    notes : list of str
        Why a checkpoint was not used.

    Raises
    ------
    StorageError
        If the storage cannot be used, or has a study of this name with other objectives.
    """

    def __init__(
        self,
        name: str,
        space: SearchSpace,
        storage: str | None = None,
        *,
        sampler: optuna.samplers.BaseSampler | None = None,
        seed: int = 0,
        costs: Sequence[str] = (),
        select: str | None = None,
    ) -> None:
        opened = open_storage(storage)
        backend = get_storage(opened)  # with Optuna's cache for a database
        with storage_errors(storage), quiet():
            self._study, self.is_new = open_study(backend, name, sampler, space, len(costs))
        super().__init__(name, storage, backend=backend, seed=seed, select=select)
        self.driver = new_driver()
        self._space = space
        self._costs = tuple(costs)
        self._durable = not isinstance(opened, InMemoryStorage)
        if self._durable:
            sign_trials(backend, self.driver)
        self.checkpoints: CheckpointFiles | None = None
        self.notes: list[str] = []
        self._places = Places()
        self._trials: dict[int, optuna.Trial] = {}
        self._begun: dict[int, FrozenTrial] = {}  # as they were when they were asked for
        self._ids: dict[int, int] = {}
        self._asked: set[int] = set()
        self._n_seen = 0
        self._open: list[int] = []
        self._heart = Heart(self._leave_sign, self.abandoned, durable=self._durable)
        self._agenda = Agenda(self._study, space, self._retried)
        self._suspects = Suspects(self._agenda, self._step_put_aside, self._begun)

    @property
    def study(self) -> optuna.Study:
        """The underlying Optuna study."""
        return self._study

    @property
    def sampler(self) -> optuna.samplers.BaseSampler:
        """The sampler of the study."""
        return self._study.sampler

    # -- attributes of the study -------------------------------------------------------------

    def set_attr(self, name: str, value: Any) -> None:
        """Store an attribute of the study, which must be JSON data, under ``name``."""
        with storage_errors(self.url):
            set_study_attr(self._backend, self._study_id, name, value)

    def name_metrics(self, names: Sequence[str]) -> None:
        """Name the score and the costs, for tools that show Optuna's studies."""
        with storage_errors(self.url), warnings.catch_warnings():
            # Experimental since version 3.2: without it a score is "Objective 0" there.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self._study.metric_names != list(names):
                self._study.set_metric_names(list(names))

    def sync_other_workers(self, known: Collection[int]) -> tuple[list[TrialRecord], int]:
        """Return the finished trials of other drivers, and the number of their running trials.

        Parameters
        ----------
        known : collection of int
            Numbers of the trials whose records the caller already has.

        Returns
        -------
        finished : list of TrialRecord
            Trials that have finished since the last call and are not in ``known``.
        running : int
            Number of trials that are running under other drivers.
        """
        if not self._durable:
            return [], 0
        trials = self.trials()
        # Each finished trial is looked at once: a study may have thousands.
        unread = [trials[number] for number in (*self._open, *range(self._n_seen, len(trials)))]
        self._n_seen = len(trials)
        self._open = [trial.number for trial in unread if not trial.state.is_finished()]
        finished = [
            self._record(trial)
            for trial in unread
            if trial.state in FROM_OPTUNA
            and trial.number not in self._asked
            and trial.number not in known
        ]
        running = sum(
            trials[number].state is OptunaState.RUNNING and number not in self._trials
            for number in self._open
        )
        return finished, running

    def fail_stale_trials(self, *, withdrawn: bool = True) -> list[TrialRecord]:
        """Finish the running trials of dead drivers, and enqueue their parameters again.

        A driver may have died after it stored the result of a trial and before it told the
        sampler: such a trial keeps its result.

        Parameters
        ----------
        withdrawn : bool
            Also enqueue the parameters of trials that were beyond the budget.

        Returns
        -------
        list of TrialRecord
            The trials that were finished by this call.
        """
        closed = []
        for trial in self.trials(OptunaState.RUNNING):
            if trial.number in self._trials or self._alive(trial):
                continue
            record = self._record(trial)
            if record.state is TrialState.RUNNING:
                with storage_errors(self.url):
                    record = _abandoned(record, self._suspects.n_died_with(trial))
            with suppress(UpdateFinishedTrialError):  # another driver has done so
                self._close(trial.number, record)
                closed.append(record)
        with storage_errors(self.url):
            self._agenda.requeue_interrupted(withdrawn=withdrawn)
        return closed

    def retry_failed(self) -> int:
        """Enqueue the parameters of all failed trials again; the failed ones no longer count.

        Optuna does not allow changes to a finished trial, so their numbers are stored in an
        attribute of the study.

        Returns
        -------
        int
            The number of failed trials.
        """
        failed = [record.number for record in self.records() if record.state is TrialState.FAILED]
        if failed:
            self._retried |= set(failed)
            self.set_attr(RETRIED, sorted(self._retried))
            with storage_errors(self.url):
                self._agenda.requeue_interrupted()
        return len(failed)

    # -- trials ------------------------------------------------------------------------------

    def enqueue(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Enqueue points to be tried before the sampler's, unless they have already been tried.

        A point may leave parameters open; it counts as tried if any trial contains its values.
        """
        with storage_errors(self.url):
            self._agenda.enqueue(points)

    def add(self, records: Sequence[TrialRecord], source: str) -> list[TrialRecord]:
        """Add trials of another study, except those that are already here or were tried here.

        Parameters
        ----------
        records : sequence of TrialRecord
            Complete and pruned trials whose params are points of the space.
        source : str
            Key of the other study.

        Returns
        -------
        list of TrialRecord
            The trials that were added, with their numbers in this study.
        """
        distributions = self.space.distributions
        with storage_errors(self.url):
            new = self._agenda.new(records, source)
            for mark, record in new.items():
                stored = self.space.keep(record.trial.params)
                values = self._objectives(record)
                first = self.first_step
                self._study.add_trial(
                    frozen_of(record, stored, distributions, values, mark, first_step=first)
                )
        return [self._record(t) for t in self.trials() if t.user_attrs.get(SOURCE) in new]

    def set_grid(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Try only these points: the trial store is exhausted when `ask` has returned them all."""
        with storage_errors(self.url):
            self._agenda.set_grid(points)

    @property
    def exhausted(self) -> bool:
        """Whether `ask` has no trial left."""
        return self.left < 1

    @property
    def left(self) -> float:
        """How many more trials `ask` can return.

        For a grid, the number of waiting trials; for a finite space, the number of untried points;
        0 once the sampler has ended the study (Optuna's ``Study.stop``).
        """
        with storage_errors(self.url):
            return self._agenda.left

    def ask(self) -> Trial:
        """Return the next trial to run."""
        self.heartbeat()  # drivers on other machines know by it that the new trial's is alive
        with storage_errors(self.url):
            while True:
                optuna_trial = self._study.ask()
                with suppress(UpdateFinishedTrialError):  # by another driver: this one seemed dead
                    stored = self.space.sample(partial(_suggest, optuna_trial))
                    break
            number = optuna_trial.number
            self._begun[number] = self._backend.get_trial(self._id_of(number))
        self._trials[number] = optuna_trial
        self._asked.add(number)
        seed = self._places.seed(self._seed, number, self.trials())
        return self._resuming(Trial(number, self.space.read(stored), seed))

    def _resuming(self, trial: Trial) -> Trial:
        """Return the trial as one that goes on with an interrupted one, if that was put aside."""
        with storage_errors(self.url):
            earlier = self._agenda.predecessors(self._begun[trial.number])
        if self.checkpoints is not None and earlier:
            trial, note = resumed(trial, earlier, self.checkpoints, self._record)
            self.notes += [note] if note else []
            self._suspects.starts[trial.number] = trial.resumed_step
        return trial

    def reports_before(self, trial: Trial) -> tuple[Report, ...]:
        """Return the reports of the trial that ``trial`` goes on with, as its own."""
        if trial.resumed_from is None:
            return ()
        record = self._record(self.trials()[trial.resumed_from])
        reports = reports_up_to(record, trial.resumed_step)
        return tuple(dataclasses.replace(report, number=trial.number) for report in reports)

    def _step_put_aside(self, trial: FrozenTrial) -> int:
        """Return the step at which the training of a trial was put aside last; 0 if it was not."""
        if self.checkpoints is None:
            return 0
        try:
            checkpoint = self.checkpoints.read(self._record(trial).trial)
        except CheckpointError:
            return 0
        return checkpoint.step if checkpoint else 0

    @property
    def next_is_suspect(self) -> bool:
        """Whether the parameters that `ask` returns next get their last chance; see `Suspects`."""
        with storage_errors(self.url):
            return self._suspects.has_next

    def is_suspect(self, number: int) -> bool:
        """Return whether a trial is the last one with its parameters; see `Suspects`."""
        with storage_errors(self.url):
            return number in self._suspects

    def is_surplus(self, number: int) -> bool:
        """Return whether the trial that `ask` returned is tried by another driver in its place."""
        with storage_errors(self.url):
            if not (self._durable and self._agenda.is_surplus(self._begun[number])):
                return False
            with suppress(UpdateFinishedTrialError):
                self._set(number, SURPLUS, True)
        return True

    def begin(self, record: TrialRecord) -> None:
        """Store what is known of a trial when it starts, and again when more of it is known."""
        with suppress(UpdateFinishedTrialError), storage_errors(self.url):
            self._set(record.number, *packed_start(record, params=self.space.translates))

    def report(self, report: Report) -> bool:
        """Store a report; return False if another driver has ended the trial.

        Its value is also stored as an intermediate value of Optuna, unless the study has several
        objectives. The steps of all folds follow those of the first one alone, so that Optuna's
        samplers take a trial that was stopped later for a better one.
        """
        try:
            with storage_errors(self.url):
                self._set(report.number, *packed_report(report))
                if not self._costs:
                    trial_id = self._id_of(report.number)
                    step = report.position - 1 + self.first_step
                    self._backend.set_trial_intermediate_value(trial_id, step, report.value)
        except UpdateFinishedTrialError:  # this process was silent for so long that it seemed dead
            return False
        return True

    def tell(self, record: TrialRecord) -> TrialRecord:
        """Store the result of a trial, and tell the sampler; return what is stored.

        This is another record if another driver has ended the trial, because this one was silent
        for so long that it seemed dead.
        """
        number = record.number
        try:
            self._close(number, record)
        except UpdateFinishedTrialError:
            with storage_errors(self.url):
                record = self._record(self._backend.get_trial(self._id_of(number)))
        self._trials.pop(number, None)
        self._begun.pop(number, None)
        return record

    def revoke(self, record: TrialRecord) -> None:
        """Void the reports of a trial, even of a finished one, and enqueue its parameters again.

        Optuna does not allow changes to the state or the attributes of a finished trial, so this
        is stored in a user attribute of the study, ``hpo:revoked`` (reasons by the trials'
        numbers), where users of Optuna find it. The sampler does not forget what it has learned
        from the trial.
        """
        if record.number in self._trials:
            self.tell(record)
        else:
            self._revoked[str(record.number)] = record.reason
            self._retried.add(record.number)
            with storage_errors(self.url):
                self._study.set_user_attr(f"hpo:{REVOKED}", self._revoked)
        with storage_errors(self.url):
            self._agenda.requeue_interrupted()

    def heartbeat(self) -> None:
        """Show that this driver is alive; cheap to call often."""
        self._heart.beat()

    def beating(self) -> AbstractContextManager[None]:
        """Show in the block that this driver is alive, and watch the others, whatever it does."""
        return self._heart.beating()

    def insert(self, trials: Sequence[FrozenTrial]) -> None:
        """Insert finished trials of another study."""
        with storage_errors(self.url):
            self._study.add_trials(trials)

    def save_snapshot(self) -> None:
        """Have the next one read the study quickly, if the storage is a journal."""
        if isinstance(self._backend, Journal):
            with storage_errors(self.url):
                self._backend.save_snapshot()

    # -- helpers -----------------------------------------------------------------------------

    def _leave_sign(self, now: float) -> None:
        self.set_attr(f"{ALIVE}{self.driver}", now)

    def _id_of(self, number: int) -> int:
        if number not in self._ids:
            find = self._backend.get_trial_id_from_study_id_trial_number
            self._ids[number] = find(self._study_id, number)
        return self._ids[number]

    def _set(self, number: int, name: str, value: Any) -> None:
        self._backend.set_trial_system_attr(self._id_of(number), name, value)

    def _objectives(self, record: TrialRecord) -> list[float] | None:
        """Return the values of a trial for the sampler; None if the trial is not complete."""
        if record.state is not TrialState.COMPLETE:
            return None
        costs = [record.cost(name) for name in self._costs]
        return [record.value, *(math.inf if math.isnan(cost) else cost for cost in costs)]

    def _close(self, number: int, record: TrialRecord) -> None:
        values = self._objectives(record)
        with storage_errors(self.url):
            for name, text in shown_reason(record.reason).items():
                self._backend.set_trial_user_attr(self._id_of(number), name, text)
            self._set(number, *packed_end(record, params=self.space.translates))
            if record.out_of_memory:
                # Another driver's trial has no object; one made for it would call the sampler.
                trial = self._trials.get(number)
                if trial is not None and "memory" not in trial.constraints:
                    trial.set_constraint("memory", 1.0)  # above 0 means infeasible
            self._study.tell(number, values, TO_OPTUNA[record.state], skip_if_finished=True)


def _abandoned(record: TrialRecord, n_died: int) -> TrialRecord:
    """Return the end of a trial whose driver has died, as the last of ``n_died`` of them."""
    fails = n_died > MAX_RETRIES
    reason = "the process that ran it is gone"
    if fails:
        reason = (
            f"the process that ran it died, as did those of {n_died - 1} trials with the same "
            "parameters before: it is not tried again"
        )
    return dataclasses.replace(
        record,
        state=TrialState.FAILED if fails else TrialState.INTERRUPTED,
        cause=Cause.DRIVER_DIED,
        reason=reason,
        ended=end_of(record),
    )


def _suggest(trial: optuna.Trial, name: str, dist: BaseDistribution) -> Any:
    match dist:
        case FloatDistribution():
            return trial.suggest_float(name, dist.low, dist.high, step=dist.step, log=dist.log)
        case IntDistribution():
            return trial.suggest_int(name, dist.low, dist.high, step=dist.step, log=dist.log)
        case CategoricalDistribution():
            return trial.suggest_categorical(name, dist.choices)
    raise TypeError(f"unknown distribution {dist!r}")
