"""Conformance suites and scripted parts for testing backends, executors, pruners and trackers.

The suites are classes of pytest: they need the extra ``testing``.
"""

from hpo._extras import needs_extra
from hpo.testing.scripted import ScriptedObjective

with needs_extra("testing", "The conformance suites of hpo.testing"):
    import pytest as _  # noqa: F401, PT013

__all__ = ["ScriptedObjective"]
