"""A comparison, and analyses of the winner, as the command line tells them."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hpo.cli._console import print_line
from hpo.cli._outcome import facts_table
from hpo.cli._text import short_names
from hpo.result import StudyResult
from hpo.review.analyses import found_analyses, told
from hpo.review.comparison import BEST, Comparison, compare

__all__ = ["comparison_table", "print_analyses", "print_comparison"]


def print_comparison(console: Console, result: StudyResult) -> None:
    """Print the groups of a comparison, what differs and how that was judged; if there is one."""
    compared = compare(result)
    if compared is None:
        return
    names = " × ".join(short_names(compared.names).values())
    print_line(console, f"\nComparison: {names}", style="bold")
    print_line(console, comparison_table(compared, console.width))
    print_line(console, compared.note, style="dim")


def comparison_table(compared: Comparison, width: int) -> Table:
    """Return a table of the groups, in as many columns as ``width`` holds without a break.

    Where it is narrow, watched metrics go without their errors.
    """
    rows = compared.rows()
    columns = zip(compared.header, *rows, strict=True)
    if sum(max(map(len, column)) + 2 for column in columns) > width + 2:
        rows = compared.rows(errors=False)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    n_names = len(compared.names)
    for i, header in enumerate(compared.header):
        left = i < n_names or i == len(compared.header) - 1
        table.add_column(Text(header), justify="left" if left else "right")
    for row, group in zip(rows, compared.groups, strict=True):
        table.add_row(*map(Text, row), style="bold" if group.verdict == BEST else "")
    return table


def print_analyses(console: Console, result: StudyResult) -> None:
    """Print what each analysis of the refitted winner found."""
    for name, analysis, data in found_analyses(result):
        print_line(console, f"\n{analysis.title if analysis else name}", style="bold")
        print_line(console, facts_table(told(analysis, data)))
