"""Rules by which folds are trained, one after the other or at once, and trials stopped."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """How the folds of a trial are trained and when it stops.

    Parameters
    ----------
    folds : {"lockstep", "race", "by_hand", "incumbent"}
        All at once; one first, and the others if it is promoted; one after the other, with the
        mean of those trained reported to Optuna's median rule, as people write it; one after the
        other, until the mean is below the incumbent's over the same folds.
    pruner : {"none", "rungs", "median"}
        In lock-step, or on the first fold: no stops, the median at rungs, Optuna's median.
    by : {"last", "best"}
        What is compared at a rung: the score there, or the best one so far.
    promote : int
        A trial gets the other folds if it is among the best ``1 / promote`` of those that ended
        the first.
    rotating : bool
        Whether the fold that comes first is another one from trial to trial.
    one_by_one : bool
        The other folds one after the other; after each of them the trial must be promoted again.
    rungs_later : bool
        Whether the other folds are judged at rungs, too.
    late : bool
        Whether a trial that was not promoted is, once it is among the best of more.
    told : {"pruned", "fold"}
        What the sampler is told of a trial that ended a fold and no more: that it was pruned, or
        its score there less that fold's own effect.
    """

    folds: str = "lockstep"
    pruner: str = "rungs"
    by: str = "last"
    promote: int = 2
    rotating: bool = False
    one_by_one: bool = False
    rungs_later: bool = False
    late: bool = False
    told: str = "pruned"

    @property
    def name(self) -> str:
        """How the table calls it."""
        how = {"none": "no pruner", "median": "Optuna's median", "rungs": f"rungs by {self.by}"}
        said = [f"race {self.promote}" if self.folds == "race" else self.folds, how[self.pruner]]
        for flag in ("rotating", "one_by_one", "rungs_later", "late"):
            said += [flag.replace("_", " ")] if getattr(self, flag) else []
        return ", ".join([*said, *(["told fold"] if self.told == "fold" else [])])


REFERENCE = Rule(pruner="median")
RULES = [
    REFERENCE,
    Rule(pruner="none"),
    Rule(),
    Rule(by="best"),
    Rule("by_hand", "median"),
    Rule("incumbent"),
    Rule("race"),
    Rule("race", by="best"),
    Rule("race", promote=3),
    Rule("race", promote=4),
    Rule("race", promote=3, late=True),
    Rule("race", rotating=True),
    Rule("race", by="best", rotating=True),
    Rule("race", one_by_one=True),
    Rule("race", rungs_later=True),
    Rule("race", by="best", rungs_later=True),
    Rule("race", pruner="none"),
    Rule("race", told="fold"),
]
