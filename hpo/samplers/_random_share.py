"""The trials that are uniform random, whatever the model of a sampler proposes."""

from dataclasses import dataclass

from hpo.trial import derive_seed

__all__ = ["RandomShare"]


@dataclass(frozen=True)
class RandomShare:
    """A random subset of all trials, determined by the seed and the trials' numbers.

    Parameters
    ----------
    share : float
        From 0 to 1.
    seed : int

    Raises
    ------
    ValueError
        If ``share`` is out of its range.
    """

    share: float
    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"random_share must be from 0 to 1. Got {self.share!r} instead.")

    def __contains__(self, number: int) -> bool:
        drawn = derive_seed(self.seed, "uniform", number) / 2**63
        return drawn < self.share
