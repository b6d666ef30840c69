"""One Ray for all tests of the backend on it: starting it takes seconds."""

import pytest


@pytest.fixture(scope="session")
def local_ray():
    """Be connected to a private Ray on this machine, which backends then use."""
    from hpo.backends.ray.cluster import connected

    with connected(None):
        yield


def pytest_itemcollected(item):
    case = getattr(item, "callspec", None)
    if case is not None and case.params.get("backend") == "ray":
        item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def ray_where_needed(request):
    """Connect the conformance tests of the backend ``ray``."""
    case = getattr(request.node, "callspec", None)
    if case is not None and case.params.get("backend") == "ray":
        request.getfixturevalue("local_ray")
