"""Optuna's median stopping rule, and that of Google Vizier."""

from hpo.pruners._every_step import EveryStepMedian

__all__ = ["OptunaMedianPruner"]


class OptunaMedianPruner(EveryStepMedian):
    """Stops a trial whose best score so far is worse than the median of its peers at that step.

    With ``reference="step_value"`` and ``peers="complete"`` it decides exactly as
    ``optuna.pruners.MedianPruner`` does in a study that maximizes and reports steps from 0.

    Parameters
    ----------
    n_startup_trials : int, default=5
        No trial is stopped before this many peers (0 or more) are available: complete
        trials with ``peers="complete"``; with ``peers="reported"`` other trials that have a
        value at the current step. Without any peer no trial is stopped.
    n_warmup_steps : int, default=0
        Number of first steps (0 or more) at which no trial is stopped: the first possible stop
        is after step ``n_warmup_steps + 1``.
    interval_steps : int, default=1
        Steps (1 or more) from one check to the next, counted from the first possible stop.
        If a trial has no report at a check, the check is made at its next report.
    n_min_trials : int, default=1
        No trial is stopped at a step where fewer peers than this (1 or more) have a value, nan
        included.
    reference : {"step_value", "running_mean"}, default="step_value"
        The value of each peer in the median: its value at that step, or the mean of its
        values up to that step. The latter is the rule of Golovin et al. 2017, "Google
        Vizier: A Service for Black-Box Optimization", section 3.2.2; a complete peer with
        fewer steps then enters with the mean of all its values.
    peers : {"complete", "reported"}, default="complete"
        Which other trials count: the complete ones, or all that have a value at that step,
        whatever their state. Trials that advance together, none of them complete yet, can only
        be compared with ``"reported"``.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    Values of nan are ignored in the peers' means, in the median and in the trial's best value. A
    trial whose values are all nan at a check is stopped as diverged.
    """
