"""Every backend of the package, found by its name, keeps the laws."""

import pytest

from hpo._discovery import build, names
from hpo.backends.base import BaseBackend
from hpo.testing.backends import BackendConformance


class TestBackends(BackendConformance):
    @pytest.fixture(params=names("hpo.backends"))
    def backend(self, request):
        # One trial at a time, where a backend can run several: the suite compares with that.
        return build("hpo.backends", request.param, BaseBackend, max_concurrent=1)
