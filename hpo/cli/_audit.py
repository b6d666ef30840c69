"""``hpo audit``: a study under other rules of pruning and of choosing."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from hpo._discovery import build
from hpo.cli._console import make_console, print_line
from hpo.cli._json import audit_data, print_json
from hpo.cli._show import read
from hpo.cli._storage import readable_storage
from hpo.display.text import brief, score
from hpo.pruners import BasePruner
from hpo.result import StudyResult
from hpo.review.audit import Choice, Replay, choices, replays

__all__ = ["RULES", "audit_study"]

RULES = ("nop", "median", "optuna_median", "halving:eta=3", "halving:eta=4")
"""Rules under which a study is replayed if none is named."""


def audit_study(
    name: str, option: str | None, rules: Sequence[str], *, as_json: bool = False
) -> None:
    """Print what other rules would have saved and lost in a study.

    Parameters
    ----------
    name : str
    option : str or None
        The storage's URL; see `readable_storage`.
    rules : sequence of str
        Pruners with options; none is `RULES`.
    as_json : bool
        Print JSON instead.

    Raises
    ------
    HpoError
        If there is no such study, storage or pruner.
    """
    pruners = {rule: build("hpo.pruners", rule, BasePruner) for rule in rules or RULES}
    storage = readable_storage(option)
    result = read(name, storage)
    console = make_console()
    replayed = replays(result, pruners)
    if as_json:
        print_json(audit_data(result, replayed, choices(result) if result.winner else []))
        return
    if not replayed:
        print_line(console, "No trial has ended with a report yet.", style="yellow")
        return
    print_line(console, Text(result.name, style="bold"))
    print_line(console, "\nPruning", style="bold")
    print_line(console, _pruning(replayed))
    print_line(console, _note(replayed, result))
    if result.winner is not None:
        print_line(console, "\nChoosing", style="bold")
        print_line(console, _choosing(choices(result)))


def _table(left: Sequence[str], *columns: str) -> Table:
    """Return an empty table, with columns of words ``left`` and others of numbers."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(Text(name), justify="left" if name in left else "right")
    return table


def _pruning(replayed: Sequence[Replay]) -> Table:
    words = ("rule", "the winner", "best that is left")
    table = _table(words, "rule", "epochs", "saved", "stopped", *words[1:])
    for each in replayed:
        winner = each.stopped_winner_at
        left = "-"
        if each.winner is not None:
            left = f"trial {each.winner.number}, {score(each.winner.value)}"
            left += f" ({-each.loss:+.4f})" if each.loss else ""
        cells = (
            each.rule,
            f"{each.n_epochs:,}",
            f"{each.saved:.0%}",
            str(each.n_stopped),
            "kept" if winner is None else f"stopped at epoch {winner}",
            left,
        )
        table.add_row(*map(Text, cells))
    return table


def _note(replayed: Sequence[Replay], result: StudyResult) -> Text:
    n_unknown = max(each.n_unknown for each in replayed)
    text = "Replayed in the order of the trials, as one process would run them."
    if n_unknown:
        text += (
            f" {result.n_pruned} trials were pruned in the study itself: where a rule would have "
            f"let them go on (up to {n_unknown}), only the epochs that they trained are known."
        )
    return Text(text, style="dim")


def _choosing(chosen: Sequence[Choice]) -> Table:
    table = _table(("rule", "parameters"), "rule", "trial", "score", "epochs", "parameters")
    for each in chosen:
        record = each.winner
        facts = (each.rule, str(record.number), score(record.value), str(record.refit_steps))
        table.add_row(*map(Text, facts), Text(brief(record.trial.params)))
    return table
