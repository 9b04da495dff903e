"""A table as a paper prints it, in Markdown and LaTeX, and as text for a terminal."""

import operator
import textwrap
from dataclasses import dataclass
from typing import final

from lilliput.foreign_text import in_latex, in_markdown, printable

_NARROWEST = 8


@final
@dataclass(frozen=True)
class PrintedTable:
    """A caption, a heading and lines of text; the first `n_text` columns are words, the others numbers."""

    name: str
    caption: str
    header: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    n_text: int = 2

    def markdown(self) -> str:
        """The table in GitHub's Markdown."""
        rule = ["---"] * self.n_text + ["---:"] * (len(self.header) - self.n_text)
        lines = [self.header, rule, *self.body]
        text = "\n".join("| " + " | ".join(in_markdown(cell) for cell in line) + " |" for line in lines)
        return f"**{self.caption}**\n\n{text}\n"

    def latex(self) -> str:
        """The table for LaTeX with the package booktabs."""
        columns = "l" * self.n_text + "r" * (len(self.header) - self.n_text)
        lines = [" & ".join(map(in_latex, line)) + r" \\" for line in (self.header, *self.body)]
        body = "\n".join([r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"])
        caption = f"\\caption{{{in_latex(self.caption)}}}\n\\label{{tab:{self.name}}}"
        tabular = f"\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}"
        return f"\\begin{{table}}\n\\centering\n{caption}\n{tabular}\n\\end{{table}}\n"

    def text(self, width: int) -> str:
        """The table in at most so many columns of a terminal, where that can be: cells take several lines.

        >>> print(PrintedTable("t", "Ages", ("who", "age"), (("a long name", "7"),), 1).text(12))
        Ages
        who      age
        -------- ---
        a long     7
        name
        """
        lines = [tuple(map(printable, line)) for line in (self.header, *self.body)]
        columns = list(zip(*lines, strict=True))
        widths = [max(map(len, column)) for column in columns]
        # Words are broken only where there is no other way.
        words = [max(len(word) for cell in column for word in (*cell.split(), "")) for column in columns]
        for least in (words, [_NARROWEST] * len(words)):
            while sum(widths) + len(widths) - 1 > width and any(map(operator.gt, widths, least)):
                wide = [size if size > floor else 0 for size, floor in zip(widths, least, strict=True)]
                widths[wide.index(max(wide))] -= 1
        shown = [self._line(line, widths) for line in lines]
        rule = " ".join("-" * one for one in widths)
        return "\n".join([*textwrap.wrap(self.caption, width), shown[0], rule, *shown[1:]])

    def _line(self, cells: tuple[str, ...], widths: list[int]) -> str:
        folded = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, widths, strict=True)]
        found = []
        for at in range(max(map(len, folded))):
            parts = [part[at] if at < len(part) else "" for part in folded]
            sides = zip(range(len(parts)), parts, widths, strict=True)
            whole = (part.ljust(size) if n < self.n_text else part.rjust(size) for n, part, size in sides)
            found.append(" ".join(whole).rstrip())
        return "\n".join(found)


def number(value: float | None) -> str:
    """A return or another score with as many digits as are worth reading.

    >>> number(5877.7), number(-170.42), number(0.51234), number(None)
    ('5,878', '-170.4', '0.512', '-')
    """
    return "-" if value is None else f"{value:,.{digits(value)}f}"


def digits(value: float) -> int:
    """How many digits behind the point are worth reading."""
    return 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 3
