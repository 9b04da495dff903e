"""A table as a paper prints it: Markdown and LaTeX."""

from dataclasses import dataclass
from typing import final

from lilliput.foreign_text import in_latex, in_markdown


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
