"""The process that follows a study: ``python -m hpo.trackers``."""

import sys

from hpo.trackers._follower import main

sys.exit(main(sys.argv[1:]))
