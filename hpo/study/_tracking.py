"""Keep a study's facts in its storage while it runs, and have a tracker follow it from there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo._stop_signal import StopSignal
from hpo.observer import StudyInfo
from hpo.storage.study_facts import MODEL_ERROR, begin_session, end_session, model_files
from hpo.storage.trial_store import TrialStore
from hpo.storage.unsaved import is_unsaved
from hpo.trackers import BaseTracker, Following

__all__ = ["Tracking"]


class Tracking:
    """The facts of one session of a study, and the follower of its tracker.

    Parameters
    ----------
    tracker : BaseTracker or None
    store : TrialStore
    info : StudyInfo
    """

    def __init__(self, tracker: BaseTracker | None, store: TrialStore, info: StudyInfo) -> None:
        self._store = store
        self._note = ""
        self._following: Following | None = None
        self.keeps_files = False
        """Whether the tracker takes the report, the plots and the model."""
        self.keeps_model = False
        """Whether the model is kept beside the storage."""
        if store.url is None:
            return
        if tracker is not None and tracker.target:
            self.keeps_files = tracker.keeps_files
            self._following = Following(tracker, store, temporary=is_unsaved(store.url))
        saved = not is_unsaved(store.url)
        self.keeps_model = saved and (tracker is None or tracker.keeps_model)
        begin_session(store, info)
        if self._following:
            self._following.start()

    def end(
        self,
        metrics: Mapping[str, float],
        results: Mapping[str, Any],
        files: Mapping[str, Path],
        state: str,
        *,
        finished: bool = True,
    ) -> None:
        """Store how the session has ended; see `end_session`."""
        if self._store.url is not None:
            kept = files if self.keeps_files else self._of_model(files)
            self._note = end_session(self._store, metrics, results, kept, state, finished=finished)

    def _of_model(self, files: Mapping[str, Path]) -> Mapping[str, Path]:
        """Return the files of the model, or the one that says why there is none."""
        if not self.keeps_model:
            return {}
        return model_files(files) or {n: files[n] for n in (MODEL_ERROR,) if n in files}

    def close(self, interrupt: StopSignal) -> str:
        """Wait until the target agrees; return a note for the user, empty if it does.

        Ctrl-C ends the waiting, and the target is completed without this process.
        """
        before = interrupt.reason
        notes = [self._note]
        if self._following:
            notes.append(
                self._following.finish(
                    hurried=lambda: interrupt.at_once or interrupt.reason != before
                )
            )
        return "\n".join(note for note in notes if note)
