"""Text from tables and records made safe for the place where it is printed."""

import re

from ifrvis.errors import printable

GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon"
GREEK += " phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
NO_LETTER = "«»ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲųſ"  # of pdfLaTeX's first encoding, among those below U+0180
JOINED = "\u2060"  # stands between two hyphens, which LaTeX would print as a dash
LATEX = {
    JOINED: "{}",
    "`": "'",
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': "''",
    "[": "{[}",  # after a line's end a bracket or a star would be read as its option
    "]": "{]}",
    "*": "{*}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    **{"·": r"$\cdot$", "→": r"$\to$", "≤": r"$\le$", "≥": r"$\ge$"},
    "−": "$-$",
    "–": "--",
    "—": "---",
    **{letter: f"$\\{name}$" for letter, name in zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ", GREEK.split())},
    **dict.fromkeys(NO_LETTER, "?"),
    **dict(zip("‘’“”…", ("`", "'", "``", "''", r"\dots{}"))),
}


def plain_text(text: str) -> str:
    """One line of printable characters: no line break, no control sequence."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def markdown_text(text: str) -> str:
    """Text in which Markdown and HTML find nothing to interpret, also inside a table's cell."""
    return re.sub(r"([\\`*_{}\[\]<>|~#&])", r"\\\1", plain_text(text))


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it is, what Markdown has as code as such; what pdfLaTeX has no letter for becomes a
    question mark.
    """
    apart = re.sub("-(?=-)", f"-{JOINED}", plain_text(text))
    parts = ["".join(LATEX.get(c, c if ord(c) < 0x180 else "?") for c in part) for part in re.split("`([^`]+)`", apart)]
    shown = "".join(f"\\texttt{{{part}}}" if index % 2 else part for index, part in enumerate(parts))
    return shown.replace(r"lambda\_e", r"$\lambda_e$")


def csv_text(text: str) -> str:
    """Text that a spreadsheet does not take for a formula; some trim it first, some know full-width signs.

    What would control a terminal that shows the file becomes a question mark; ends of lines stay: the writer quotes
    them.
    """
    text = "\r".join(map(printable, text.split("\r")))
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")) else text
