"""Tables in Markdown: of claims, of speed, on model cards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(head: str, rows: Iterable[Sequence[object]]) -> str:
    """One line per row; `head` names the columns, separated by bars."""
    columns = [name.strip() for name in head.split("|")]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, cells))} |" for cells in rows)])
