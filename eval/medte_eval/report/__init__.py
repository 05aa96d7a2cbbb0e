"""What results say, to people: on a terminal, and as a page, Markdown and a table of what a folder holds."""

from medte_eval.report.terminal import (
    Result,
    print_comparisons,
    print_leaderboards,
    print_results,
    print_table,
    print_tuned,
    score_name,
    system_name,
)

__all__ = [
    "Result",
    "print_comparisons",
    "print_leaderboards",
    "print_results",
    "print_table",
    "print_tuned",
    "score_name",
    "system_name",
]
