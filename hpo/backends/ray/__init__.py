"""Ray Tune as a backend: trials on any number of machines."""

from hpo.backends.ray.backend import RayBackend

__all__ = ["RayBackend"]
