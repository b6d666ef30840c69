"""Storage of studies: an Optuna study in a durable storage, shared by all backends."""
