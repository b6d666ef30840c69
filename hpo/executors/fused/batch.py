"""The trials of one family, trained in lock-step in one batch."""

import math
import time
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from uuid import uuid4

import torch

from hpo.executors._memory import free_memory
from hpo.executors.base import Ended, Event, Reported
from hpo.executors.fused.epoch_end import callbacks_of, end_epoch
from hpo.executors.fused.extract import ExtractedTrial, ModelExtractor
from hpo.executors.fused.mixing import Grouping, Mixture
from hpo.executors.fused.mixture_proof import why_apart
from hpo.executors.fused.proof import prove
from hpo.executors.fused.replayed_callbacks import BaseReplayed
from hpo.executors.fused.scores import batch_predictions, batch_rows, scores_of_predictions
from hpo.executors.fused.seat_state import FoldScores, SeatState
from hpo.executors.fused.seats import Seat, position
from hpo.executors.fused.sentinel import EpochResult, check_epoch
from hpo.fused import FusedModels, ModelState, NotFusibleError, Plan
from hpo.training.adapters import last_step
from hpo.training.cross_validation import FoldPast, raced_report
from hpo.training.objective import Objective
from hpo.training.row_formulas import row_formula
from hpo.training.row_scores import FoldRows
from hpo.trial import Report, Trial

__all__ = ["ALL", "FIRST", "KINDS", "OTHERS", "TrialBatch", "UnlikeError", "is_watched"]

ALL, FIRST, OTHERS = KINDS = ("batch", "first fold", "other folds")
"""Which folds of its trials a batch trains: all of them, or in a race the first before the others.
A checkpoint says so too."""

MEMORY_SHARE = 0.5
"""Share of the free memory that a batch may take."""


N_FEW = 6
"""Trials from which on a batch need not wait for more: its steps are no longer mostly overhead."""


class UnlikeError(NotFusibleError):
    """A trial's own net trains it differently from the batch.

    Parameters
    ----------
    number : int
        Number of the trial.
    reason : str
    """

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"trial {number} was trained again by its own net, and {reason}")


def is_watched(nth: int) -> bool:
    """Return whether the n-th trial of a structure is trained again: the 1st, 50th, 500th ..."""
    return nth == 1 or (nth >= 50 and str(nth).rstrip("0") == "5")


class TrialBatch:
    """Trials in training that one loop can train, and others that wait for a slot.

    They differ in numbers, or are a mixture; see `Mixture`.

    Without `compile` a batch has as many slots as it has trials; with it, always ``n_slots``, so
    that one program can be used throughout.

    Parameters
    ----------
    extractor : ModelExtractor
    first : ExtractedTrial
        Any trial of the family.
    device : str
    n_slots : int
        Number of trials that are trained at a time.
    seed : int
        Seed of the order of minibatches and of dropout.
    sentinel : bool, default=True
        Whether the first epoch of some trials is trained again by their own nets; see
        `is_watched`.
    objective : Objective or None
        The study's, of which the extractor's may have some folds; None is the extractor's.
    grouping : Grouping or None
        What has been shown of mixtures; None means nothing yet.

    Raises
    ------
    NotFusibleError
        If the module or the batch size is not supported.
    """

    def __init__(
        self,
        extractor: ModelExtractor,
        first: ExtractedTrial,
        *,
        device: str,
        n_slots: int,
        seed: int,
        sentinel: bool = True,
        objective: Objective | None = None,
        grouping: Grouping | None = None,
    ) -> None:
        self._extractor = extractor
        self._whole = objective or extractor.objective
        n_folds = len(extractor.folds)
        parts = FIRST if extractor.folds[0] == 0 else OTHERS
        self.kind = ALL if n_folds == self._whole.n_folds else parts
        self.screened: list[tuple[Trial, list[FoldPast]]] = []
        """Trials whose first fold is over, which are to begin in another batch."""
        self.moved: list[tuple[Trial, Sequence[FoldPast]]] = []
        """Trials that are to begin in another batch, as this one is none of theirs."""
        self.name = uuid4().hex
        self.first = first
        self.key = ""
        """Its name among the `hpo.executors.fused.batches.Batches`."""
        self.device, self._seed = device, seed
        self._mixture = Mixture(first)
        self._grouping = grouping or Grouping()
        self.n_slots = n_slots
        self._models = self.make_models(0)
        self._seats: list[Seat | None] = []
        self._waiting: list[ExtractedTrial] = []
        self._epoch = 0
        objective = extractor.objective
        self._row_formula = row_formula(objective.scoring, last_step(objective.estimator))
        self._sentinel = sentinel
        self._n_begun = 0
        self.reported: list[int] = []
        """Numbers of all trials that have made a step in this batch, including finished ones."""
        self._is_certified = False
        self.decided = False
        """Whether it has been decided how the batch is trained; see `FusedExecutor`."""

    def certify(self) -> None:
        """Check that a batch would train and score as each trial's own net does.

        Raises
        ------
        NotFusibleError
            If it would not; see `hpo.executors.fused.proof.prove`.
        """
        prove(self._extractor, self.first, self.device)

    def certify_once(self) -> None:
        """Do what `certify` does, unless it has been done."""
        if not self._is_certified:
            self.certify()
            self._is_certified = True

    def make_models(self, n_slots: int, *, autocast: bool = False) -> FusedModels:
        """Return models of the structure with free slots only."""
        arrays = self._extractor.arrays
        plan: Plan = replace(self._mixture.plan, autocast=autocast)
        return FusedModels(
            plan,
            arrays.X,
            arrays.y,
            arrays.train,
            n_slots=n_slots,
            seed=self._seed,
            device=self.device,
        )

    @property
    def X_valid(self) -> torch.Tensor:
        """Validation parts of the folds; see `FoldArrays`."""
        return self._extractor.arrays.X_valid

    def slots_that_fit(self) -> int:
        """Return how many trials at a time, at most ``n_slots``, would fit into memory."""
        room = free_memory(self.device) * MEMORY_SHARE
        return max(1, min(self.n_slots, int(room // self._models.bytes_per_slot(self.X_valid))))

    @property
    def live(self) -> list[int]:
        """Numbers of the trials in training and of those that wait."""
        return [trial.trial.number for trial in self.extracted_trials]

    @property
    def extracted_trials(self) -> list[ExtractedTrial]:
        """The trials in training and those that wait."""
        return [*(seat.extracted for seat in self._seats if seat), *self._waiting]

    @property
    def last_steps(self) -> dict[int, tuple[int, int]]:
        """The last step of the first fold alone, and of all folds, of trials that have reported."""
        seats = {s.extracted.trial.number: s.reported for s in self._seats if s and any(s.reported)}
        waiting = {t.trial.number: (position(0, t.past), 0) for t in self._waiting if t.past}
        return seats | waiting

    @property
    def way(self) -> str:
        """How the trials are trained; see `TrialRecord.trained_by`."""
        kind = "compiled" if self._models.is_compiled else "eager"
        return f"fused ({kind}{', bfloat16' if self._models.plan.autocast else ''})"

    @property
    def is_mixed(self) -> bool:
        """Whether its trials differ in more than numbers."""
        return self._mixture.plan.mixed

    @property
    def unrolls(self) -> bool:
        """Whether a step is unrolled over the length of the sequences."""
        return self._mixture.plan.batchable.unrolls

    @property
    def occupancy(self) -> float:
        """Share of the slots that would be used in the next epoch."""
        return min(len(self.extracted_trials) / self.n_slots, 1.0)

    @property
    def is_filled(self) -> bool:
        """Whether so many slots are used that an epoch is worth it while others wait."""
        n = len(self.extracted_trials)
        return self.occupancy > 0.5 if self._models.is_compiled else n >= min(N_FEW, self.n_slots)

    def use(self, models: FusedModels) -> None:
        """Train with these models, which may be compiled; trials in training go on in them."""
        seats = {slot: seat for slot, seat in enumerate(self._seats) if seat}
        states = [self._models.model_state(slot) for slot in seats]
        models.remove(range(models.n_slots))
        if models.n_slots < len(states):
            models.resize([], extra=len(states))
        self._models = models
        self._seats = [*seats.values(), *[None] * (models.n_slots - len(states))]
        models.put_all(dict(enumerate(states)))
        if models.is_compiled:
            self.n_slots = models.n_slots

    def takes(self, extracted: ExtractedTrial) -> bool:
        """Return whether a trial of the family can be added, if a proof does not refuse it."""
        return self._mixture.takes(extracted)

    def why_apart(self, extracted: ExtractedTrial) -> tuple[str, str] | None:
        """Return why a trial that it takes would not be trained here as it is alone.

        Returns
        -------
        (str, str) or None
            One of `ASPECTS` in which it must not differ, and the reason; None if it can be added.
        """
        return why_apart(self._extractor, self._mixture, self._grouping, extracted, self.device)

    def add(self, extracted: ExtractedTrial) -> None:
        """Add a trial; it begins with the next epoch, or when a slot is free."""
        self._waiting.append(extracted)
        if self._mixture.add(extracted):
            if self._models.is_compiled:
                self.decided = False  # the program is one of the models as they were
            else:
                self.use(self.make_models(0, autocast=self._models.plan.autocast))

    def examples(self, n: int) -> list[Trial]:
        """Return up to ``n`` of its trials that differ in more than numbers."""
        different = {extracted.key: extracted.trial for extracted in self.extracted_trials}
        return list(different.values())[:n]

    def example_models(self, n: int) -> list[ModelState]:
        """Return ``n`` models like those of its trials, without callbacks, to time them."""
        members = [replace(t.member, schedules=None, progress=None) for t in self.extracted_trials]
        return [members[i % len(members)] for i in range(n)]

    def shares(self, numbers: AbstractSet[int]) -> list[float]:
        """Return which share of their steps those of these trials have made that are in slots."""
        seats = [seat for seat in self._seats if seat]
        return [
            seat.step / seat.extracted.n_steps
            for seat in seats
            if seat.extracted.trial.number in numbers
        ]

    def drop(self, numbers: set[int]) -> None:
        """Free the slots of these trials."""
        self._waiting = [t for t in self._waiting if t.trial.number not in numbers]
        ended = [i for i, s in enumerate(self._seats) if s and s.extracted.trial.number in numbers]
        for slot in ended:
            self._seats[slot] = None
        if ended:
            self._models.remove(ended)

    def _fill_slots(self) -> None:
        """Give the free slots to waiting trials; unless compiled, remove slots that stay idle."""
        n_free = self._seats.count(None)
        if not self._models.is_compiled:
            occupied = [slot for slot, seat in enumerate(self._seats) if seat]
            n_new = min(self.n_slots - len(occupied), len(self._waiting))
            if n_free != n_new:
                self._models.resize(occupied, n_new)
                self._seats = [*(self._seats[slot] for slot in occupied), *[None] * n_new]
        new: dict[int, ModelState] = {}
        for slot, seat in enumerate(self._seats):
            if seat is None and self._waiting:
                extracted = self._waiting.pop(0)
                new[slot] = extracted.member
                self._n_begun += 1
                screens = self.kind == FIRST
                recorder = None if screens else self._whole.recorder()
                nth = 1 if self._grouping.watch(extracted) else self._n_begun
                self._seats[slot] = Seat.of(extracted, nth, recorder, screens=screens)
                if extracted.resumed:
                    # The order of minibatches goes on, if none has been trained here meanwhile.
                    self._epoch = self._epoch or self._epoch_of_resumed()
        if new:
            self._models.put_all(new)

    def _epoch_of_resumed(self) -> int:
        trials = self.extracted_trials
        return max(extracted.resumed.epoch for extracted in trials if extracted.resumed)

    def seat_states(self) -> Iterator[tuple[Trial, SeatState]]:
        """Yield the trials that have made a step and go on, as they are now."""
        for slot, seat in enumerate(self._seats):
            if seat and seat.step and not seat.is_over:
                model = self._models.model_state(slot)
                state = SeatState(
                    seat.step,
                    self._epoch,
                    seat.folds,
                    model,
                    seat.recorder.state if seat.recorder else None,
                    seat.past,
                )
                yield seat.extracted.trial, state

    def position_of(self, state: SeatState) -> int:
        """Return the `Report.position` of a state's last report."""
        return position(state.step, state.past, screens=self.kind == FIRST)

    @property
    def objective(self) -> Objective:
        """The objective, with the folds that are trained."""
        return self._extractor.objective

    @property
    def has_begun(self) -> bool:
        """Whether it has made a step, or a trial goes on with one that was put aside in a batch."""
        resumed = any(extracted.resumed for extracted in self.extracted_trials)
        return resumed or bool(self.reported)

    def advance(self) -> list[Event]:
        """Train one epoch; return the reports, and the ends of trials that were already finished.

        Raises
        ------
        UnlikeError
            If the own net of one of the trials trains it differently.
        """
        over = [seat for seat in self._seats if seat and seat.is_over]
        finished = {seat.extracted.trial.number for seat in over}
        events: list[Event] = []
        if self.kind == FIRST:
            self.screened += [(seat.extracted.trial, seat.past) for seat in over]
        else:
            events += [Ended(number) for number in finished]
        self.drop(finished)
        self._fill_slots()
        if not any(self._seats):
            return events
        began = time.perf_counter()
        self._epoch += 1
        trained_losses = self._models.train_epoch(self._epoch)
        self._end_epoch(trained_losses)
        losses = trained_losses.tolist()
        trained_at = time.perf_counter()
        outputs = self._models.predict(self.X_valid)
        scores, rows = self._score(outputs)
        scored_at = time.perf_counter()
        self._check_against_nets(losses, outputs)
        return events + self._reports(
            losses, scores, rows, trained_at - began, scored_at - trained_at
        )

    def _end_epoch(self, losses: torch.Tensor) -> None:
        """Score the nets' own validation parts, and call the callbacks."""
        nets = {slot: seat.extracted.net for slot, seat in enumerate(self._seats) if seat}
        held_out = self._extractor.arrays.held_out
        end_epoch(self._models, losses, nets, held_out, self.first.scorings)

    def _check_against_nets(self, losses: Sequence[Sequence[float]], outputs: torch.Tensor) -> None:
        """Compare the first epoch of some trials, on one fold, with that of their own nets."""
        for slot, seat in enumerate(self._seats):
            if not (self._sentinel and seat and seat.step == 0 and is_watched(seat.nth)):
                continue
            fold = seat.extracted.trial.number % len(losses)
            state = self._models.states(slot)[fold]
            result = EpochResult(self._epoch, fold, state, losses[fold][slot], outputs[fold, slot])
            plan = self._models.plan
            try:
                check_epoch(self._extractor, seat.extracted, result, seed=self._seed, plan=plan)
            except NotFusibleError as error:
                raise UnlikeError(seat.extracted.trial.number, str(error)) from error

    def _score(
        self, outputs: torch.Tensor
    ) -> tuple[list[list[dict[str, float]]], list[list[FoldRows]]]:
        """Return the scores and the validated rows by fold, then by occupied slot."""
        arrays = self._extractor.arrays
        occupied = [slot for slot, seat in enumerate(self._seats) if seat]
        if len(occupied) < len(self._seats):
            outputs = outputs[:, torch.tensor(occupied, device=outputs.device)]
        nets = [seat.extracted.net for seat in self._seats if seat]
        objective, y = self._extractor.objective, arrays.y_valid
        predictions = batch_predictions(nets, outputs, y)
        scores = scores_of_predictions(objective.scoring, nets, predictions, y)
        if not objective.keeps_rows:
            return scores, [[FoldRows()] * len(nets)] * len(y)
        rows = batch_rows(
            nets,
            predictions,
            y,
            scores,
            main=objective.scoring.metric,
            formula=self._row_formula,
        )
        return scores, rows

    def _reports(
        self,
        losses: Sequence[Sequence[float]],
        scores: Sequence[Sequence[dict[str, float]]],
        rows: Sequence[Sequence[FoldRows]],
        fit_seconds: float,
        score_seconds: float,
    ) -> list[Event]:
        events: list[Event] = []
        occupied = [(slot, seat) for slot, seat in enumerate(self._seats) if seat]
        share = 1 / len(occupied) / len(scores)
        for j, (slot, seat) in enumerate(occupied):
            if seat.step == seat.first_step:
                self.reported.append(seat.extracted.trial.number)
            seat.step += 1
            callbacks = callbacks_of(self._models, slot)
            for i, fold in enumerate(seat.folds):
                if fold.finished:  # a finished fold keeps its last scores
                    continue
                scored = scores[i][j], rows[i][j]
                if callbacks:
                    fold.finished = callbacks[i].finished
                    final = self._final_scores(seat, fold, callbacks[i], scored)
                    self._set_scores(fold, final, callbacks[i].figures)
                else:
                    self._set_scores(fold, scored, {"train_loss": losses[i][slot]})
                fold.fit_seconds += fit_seconds * share
                fold.score_seconds += score_seconds * share
            seconds = (fit_seconds + score_seconds) / len(occupied)
            events.append(Reported(self._report(seat, seconds)))
        return events

    def _report(self, seat: Seat, seconds: float) -> Report:
        """Return the report of a trial that has made a step."""
        report, folds = raced_report(
            seat.extracted.trial.number,
            seat.step,
            seat.folds,
            self._whole.scoring,
            seconds,
            past=seat.past,
            screens_of=self._whole.n_folds if seat.screens else 0,
        )
        report = replace(report, last=seat.is_over)
        if seat.recorder is None:
            return report
        validated = [fold.rows for fold in folds]
        return replace(report, rows=seat.recorder.rows(report, validated, last=seat.is_over))

    @staticmethod
    def _final_scores(
        seat: Seat,
        fold: FoldScores,
        callbacks: BaseReplayed,
        scored: tuple[dict[str, float], FoldRows],
    ) -> tuple[dict[str, float], FoldRows]:
        """Return the scores of a fold's weights, which its callbacks may restore at the end."""
        if not callbacks.may_restore:
            return scored
        fold.past.append(scored)
        finished = fold.finished or seat.step >= seat.extracted.n_steps
        return fold.past[callbacks.end_train() - 1] if finished else scored

    def _set_scores(
        self,
        fold: FoldScores,
        scored: tuple[dict[str, float], FoldRows],
        figures: dict[str, float],
    ) -> None:
        scores, fold.rows = scored
        fold.recorded = set(figures)
        if math.isfinite(figures.get("train_loss", 0.0)):
            fold.recorded -= set(scores)
            fold.scores = {**scores, **figures, **scores}
        else:  # predictions of a diverged net may be finite, but are meaningless
            fold.rows = FoldRows()
            fold.scores = {self._extractor.objective.scoring.metric: math.nan, **figures}
