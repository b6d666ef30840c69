"""The process that sends to MLflow: ``python -m hpo.trackers.mlflow``."""

import sys

from hpo.trackers.mlflow import main

sys.exit(main(sys.argv[1:]))
