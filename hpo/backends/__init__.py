"""Who proposes trials and who runs the loop.

Each public module holds one backend and is found by its name; see `BaseBackend`.
"""
