import pytest

from hpo.backends._ray_wip import RayBackend
from hpo.testing.backends import BackendConformance


@pytest.fixture(scope="session")
def local_ray():
    from hpo.backends._ray_cluster import connected

    with connected(None):
        yield


@pytest.mark.usefixtures("local_ray")
class TestRay(BackendConformance):
    @pytest.fixture
    def backend(self):
        return RayBackend(max_concurrent=1)
