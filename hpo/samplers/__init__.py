"""Who proposes trials.

Each public module says how one sampler is made and is found by its name; see
`hpo.backends._samplers.BaseSamplerFactory`.
"""
