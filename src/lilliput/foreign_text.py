"""Text from elsewhere (a checkpoint, a file's name, an exception) as it may stand in files and on a screen."""


def printable(text: str) -> str:
    r"""The text in one line; what is no visible character (line ends, terminal codes, right-to-left marks) is spelled.

    >>> print(printable("a\x1b[31m\nb\u202e"))
    a\x1b[31m\x0ab\u202e
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _spelled(one) for one in text)


def _spelled(one: str) -> str:
    code = ord(one)
    return f"\\x{code:02x}" if code < 1 << 8 else f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"


def in_c_comment(text: str) -> str:
    r"""ASCII that neither ends a comment of C, nor opens another, nor holds a trigraph.

    >>> print(in_c_comment("a */ b /* ??/ \u00e9"))
    a * / b / * ? ?/ \xe9
    """
    ascii_text = printable(text).encode("ascii", "backslashreplace").decode("ascii")
    spaced = ascii_text.replace("*/", "* /").replace("/*", "/ *")
    return spaced.replace("??", "? ?").replace("??", "? ?")  # of three in a row the first time leaves two


def in_markdown(text: str) -> str:
    r"""Text that is neither a tag, nor code, nor a link, nor the end of a table's cell.

    >>> print(in_markdown("half() | <b> `x` [y](z) \\|"))
    half() \| &lt;b> &#96;x&#96; [y]&#40;z) &#92;\|
    """
    known = {"&": "&amp;", "<": "&lt;", "\\": "&#92;", "`": "&#96;", "|": "\\|"}
    return "".join(known.get(one, one) for one in printable(text)).replace("](", "]&#40;")


def in_markdown_code(text: str) -> str:
    r"""A code span in a line of text; what such a span cannot hold is replaced.

    >>> print(in_markdown_code("half() | `x` \\"))
    `half() | 'x' /`
    """
    known = {"`": "'", "\\": "/", "<": "("}
    return "`" + "".join(known.get(one, one) for one in printable(text)).replace("](", "] (") + "`"


def in_markdown_cell(text: str) -> str:
    r"""A code span in a table's cell.

    >>> print(in_markdown_cell("half() | `x`"))
    `half() \| 'x'`
    """
    return in_markdown_code(text).replace("|", "\\|")


def in_spreadsheet(text: str) -> str:
    """A cell that a spreadsheet does not take for a formula.

    >>> in_spreadsheet("=1+1"), in_spreadsheet("half()")
    ("'=1+1", 'half()')
    """
    text = printable(text)
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def in_latex(text: str) -> str:
    r"""Text as LaTeX prints it.

    >>> print(in_latex("prune_units | 50 %"))
    prune\_units \textbar{} 50 \%
    """
    known = {"\\": r"\textbackslash{}", "|": r"\textbar{}", "±": r"$\pm$", "<": r"\textless{}", ">": r"\textgreater{}"}
    known |= {one: "\\" + one for one in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(known.get(one, one) for one in printable(text))
