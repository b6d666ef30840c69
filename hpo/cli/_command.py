"""The command as it was typed, and the one to type next."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo._redaction import redact

__all__ = ["Command"]

_ONCE = {"--fresh", "--extend", "--accept-code", "--retry-failed"}
"""Options that only take effect when the study is opened, and are not repeated."""


@dataclass(frozen=True)
class Command:
    """A command line.

    Parameters
    ----------
    program : tuple of str
    args : tuple of str
    """

    program: tuple[str, ...]
    args: tuple[str, ...]

    @classmethod
    def typed(cls, args: Sequence[str]) -> "Command":
        """Return the command of this process."""
        by_module = Path(sys.argv[0]).parts[-2:] == ("cli", "__main__.py")
        return cls(("python", "-m", "hpo.cli") if by_module else ("hpo",), tuple(args))

    def resume_command(self) -> str:
        """Return the command that resumes the study: the same without one-time options."""
        return self._text([arg for arg in self.args if arg not in _ONCE])

    def asking_for(self, n_trials: int) -> str:
        """Return the command that makes the study ``n_trials`` long."""
        args: list[str] = []
        for arg in self.args:
            if arg in _ONCE or arg.startswith("--n-trials="):
                continue
            if args and args[-1] == "--n-trials":
                args.pop()
                continue
            args.append(arg)
        return self._text([*args, "--n-trials", str(n_trials)])

    def retrying(self) -> str:
        """Return the command that tries the failed trials again."""
        return self._text([*(arg for arg in self.args if arg not in _ONCE), "--retry-failed"])

    def other(self, *args: str) -> str:
        """Return another command of the same program."""
        return self._text(args)

    def _text(self, args: Sequence[str]) -> str:
        # Commands are copied from the screen into messages and logs, so secrets are hidden.
        return shlex.join([*self.program, *map(redact, args)])
