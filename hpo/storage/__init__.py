"""Where studies are kept: an Optuna study in a durable storage, which every backend asks."""
