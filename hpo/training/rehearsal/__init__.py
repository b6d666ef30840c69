"""One batch of every fold before the first trial: what cannot work, and what would."""

from hpo.training.rehearsal._course import rehearse

__all__ = ["rehearse"]
