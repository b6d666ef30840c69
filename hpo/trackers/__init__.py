"""Trackers: processes of their own make targets, such as MLflow, agree with a study's storage.

Each public module holds one tracker and is found by its name; see `BaseTracker`.
"""

from hpo.trackers._follower import follow_once
from hpo.trackers._following import Following, catch_up, environment, left_message, start
from hpo.trackers._order import (
    Order,
    Outcome,
    all_orders,
    pages_of,
    read_outcome,
    unreadable_orders,
)
from hpo.trackers._progress import Progress
from hpo.trackers.base import BaseTracker, TrialChange, Written, step_metrics

__all__ = [
    "BaseTracker",
    "Following",
    "Order",
    "Outcome",
    "Progress",
    "TrialChange",
    "Written",
    "all_orders",
    "catch_up",
    "environment",
    "follow_once",
    "left_message",
    "pages_of",
    "read_outcome",
    "start",
    "step_metrics",
    "unreadable_orders",
]
