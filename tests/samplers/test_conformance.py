"""Every public sampler, found by its module's name, keeps the laws."""

import pytest

from hpo import _discovery
from hpo.testing.samplers import SamplerConformance

ELSEWHERE = {"grid", "ray"}
"""They need a finite space, and an algorithm: test_samplers.py, test_ray_sampler.py."""


class TestPublicSamplers(SamplerConformance):
    @pytest.fixture(params=sorted(set(_discovery.names("hpo.samplers")) - ELSEWHERE))
    def sampler(self, request):
        return request.param
