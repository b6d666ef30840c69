import inspect

import pytest

from hpo._discovery import find, names
from hpo.testing.trackers import TrackerConformance
from hpo.trackers import BaseTracker


@pytest.mark.parametrize("name", names("hpo.trackers"), scope="class")
class TestTrackers(TrackerConformance):
    @pytest.fixture
    def tracker(self, name, store, tmp_path):
        plugin = find("hpo.trackers", name, BaseTracker)
        given = {"tracking_uri": store, "spool_dir": tmp_path / "spool"}
        accepted = inspect.signature(plugin).parameters
        tracker = plugin(**{k: v for k, v in given.items() if k in accepted})
        yield tracker
        tracker.close(0.0)
