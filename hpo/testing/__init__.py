"""Conformance suites and scripted parts for testing backends, executors, pruners and trackers."""

from hpo.testing.scripted import ScriptedObjective

__all__ = ["ScriptedObjective"]
