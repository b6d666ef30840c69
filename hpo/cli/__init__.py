"""The command line: ``hpo init``, ``run``, ``validate``, ``list``, ``show``, ``ui`` and ``sync``.

Exit codes: 0 all went well; 1 the study ended without a complete trial; 2 invalid input,
explained by a message; 3 trials are left on another machine that gives no sign; 130 after Ctrl-C,
143 after SIGTERM, 129 after SIGHUP (a closed terminal).
"""

from hpo.cli._app import app, main

__all__ = ["app", "main"]
