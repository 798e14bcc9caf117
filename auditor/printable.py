"""Takes the sting out of text that came from outside, before any terminal or report sees it.

Names, paths, reasons and error texts may hold terminal escapes, control characters, bidi overrides, signs that hide
others, commands of a CI runner, or ten thousand letters. What is left is visible text; escaping `<`, `|` or `[` stays
the business of each format.
"""

from __future__ import annotations

import re
import unicodedata

TEXT_LIMIT = 600
ERROR_LIMIT = 2000

# CSI, and strings such as OSC with their end, with ESC or as single C1 bytes; then any other escape. A string without
# its end loses its beginning alone: what follows may be our own words.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]?"
)
# Letters and marks that Unicode calls printable and that show nothing: fillers, joiners, variation selectors.
_HIDDEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Marks piled on one letter until they cover the lines around it.
_MARK = "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_PILED = re.compile(f"({_MARK}{{3}}){_MARK}+")
# `::command::` at the start of a line is GitHub's; `##[command]`, `##vso[…]` and `##teamcity[…]` are read anywhere.
_AT_START = re.compile(r"^(\s*):(?=:)")
_ANYWHERE = re.compile(r"##(?=\w*\[)")
_NOT_PLAIN = re.compile("^ | $|  |::|##")
_UNSEEN = re.compile("[^ -~\n]")
_LINE_END = re.compile(r"\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")


def neutral(text: str, limit: int = TEXT_LIMIT) -> str:
    """One line of visible characters, at most `limit` of them; longer text ends in an ellipsis."""
    if len(text) <= limit and text.isascii() and text.isprintable() and not _NOT_PLAIN.search(text):
        return text
    line = " ".join(_visible(text[: 4 * limit + 4096]).split())
    line = without_command(line)
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def neutral_lines(text: str) -> str:
    r"""The same for text of several lines, whole: only `\n` ends a line, and its indentation stays."""
    lines = _LINE_END.sub("\n", text).split("\n")
    return "\n".join(without_command(_visible(line.expandtabs(4))) for line in lines)


def without_command(line: str) -> str:
    """One line without what a CI runner takes for a command to itself."""
    return _ANYWHERE.sub("## ", _AT_START.sub(r"\1: ", line)) if "::" in line or "##" in line else line


def json_escaped(text: str) -> str:
    """JSON whose strings hold every character that does not show as itself in escaped form: the same content."""
    if text.replace("\n", "").isprintable():
        return text
    return _UNSEEN.sub(lambda found: found[0] if found[0].isprintable() else _escape(found[0]), text)


def _escape(sign: str) -> str:
    units = sign.encode("utf-16-be").hex()
    return "".join(f"\\u{units[k : k + 4]}" for k in range(0, len(units), 4))


def error_text(error: BaseException, limit: int = ERROR_LIMIT, *, named: bool = False) -> str:
    """What an exception says, as one neutral line; it cannot fail, whatever the exception does.

    Args:
        error: possibly of user code: with a broken or endless `__str__`, lone surrogates, megabytes of text.
        limit: characters that are kept.
        named: whether the name of its class stands before its text.
    """
    text = _own_words(error, limit)
    if not named:
        return text
    name = neutral(type.__dict__["__name__"].__get__(type(error)), 100)  # no metaclass of user code is asked
    return neutral(f"{name}: {text}" if text else name, limit)


def _own_words(error: BaseException, limit: int) -> str:
    for words in (str, repr):
        try:
            # A subclass of str may do as it likes: str.__str__ gives the plain text.
            return neutral(str.__str__(words(error)), limit)
        except BaseException:  # whatever user code raises here is no news of its own
            continue
    return "its text cannot be shown"


def _visible(text: str) -> str:
    """`text` without escape sequences, control, bidi, zero-width and unassigned characters; any space is a space."""
    if text.isascii() and text.isprintable():
        return text
    text = _SEQUENCE.sub("", text)
    if not text.isprintable():
        # Categories C*: controls, formats (bidi marks, zero-width), surrogates, private use; Z*: any separator.
        text = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    return _PILED.sub(r"\1", _HIDDEN.sub("", text))


_ASCII = {
    **dict.fromkeys(map(chr, range(0x2500, 0x2580)), "+"),  # corners and crossings of boxes, but for the lines below
    **dict.fromkeys("−–—‐‑‒―─━═╌╍┄┈╴╶╸╺╼╾", "-"),
    **dict.fromkeys("│┃║╎╏┆┊╵╷╹╻▏▌▐", "|"),
    **dict.fromkeys("‘’‚′", "'"),
    **dict.fromkeys("“”„″«»", '"'),
    **dict.fromkeys("•·∙▪●", "*"),
    **{"≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "±": "+/-", "×": "x", "÷": "/", "√": "sqrt", "∞": "inf"},
    **{"→": "->", "←": "<-", "↔": "<->", "↑": "^", "↓": "v", "⇒": "=>", "…": "...", "✓": "ok", "✗": "x"},
    **{"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "λ": "lambda", "μ": "mu", "σ": "sigma"},
    **{"Δ": "d", "Σ": "sum", "ß": "ss", "æ": "ae", "ø": "o", "œ": "oe", "ł": "l"},
}


def ascii_form(text: str) -> str:
    """Text without a character beyond ASCII: `<=` for `≤`, `-` for a minus, `e` for `é`, `?` where there is no form."""
    return "".join(_ASCII.get(sign) or _letters(sign) or "?" for sign in text)


def _letters(sign: str) -> str:
    return "".join(part for part in unicodedata.normalize("NFKD", sign) if part.isascii())
