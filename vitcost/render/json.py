"""JSON: the result's dict in base units, in ASCII, whatever the names in it."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitcost.render.result import Result

__all__ = ["render"]

# written here because importing json, with its decoder, takes longer than running these lines
_NUMBERS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_LETTERS = {
    '"': '\\"', "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\f": r"\f", "\b": r"\b",
}  # fmt: skip


def render(result: "Result", *, color: bool, width: int | None) -> str:
    text = _text(result.to_dict(), "\n")
    # commands of a CI job may occur in a string, so their signs are escaped
    return (re.sub(r"##(?=\w*\[)", r"\\u0023\\u0023", text) if "##" in text else text) + "\n"


def _text(value: object, margin: str) -> str:
    """A value as ``json.dumps`` writes it: each key and element on its own line, indented by two.

    >>> print(_text({"a": [1, True, None], "b": {}}, "\\n"))
    {
      "a": [
        1,
        true,
        null
      ],
      "b": {}
    }
    """
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        number = float.__repr__(value)
        return _NUMBERS.get(number, number)
    inner = f"{margin}  "
    if isinstance(value, dict):
        brackets, parts = "{}", [f"{_quoted(k)}: {_text(v, inner)}" for k, v in value.items()]
    elif isinstance(value, list | tuple):
        brackets, parts = "[]", [_text(each, inner) for each in value]
    else:
        raise TypeError(f"JSON has no {type(value).__name__}")
    return (
        f"{brackets[0]}{inner}{f',{inner}'.join(parts)}{margin}{brackets[1]}" if parts else brackets
    )


def _quoted(text: str) -> str:
    """A string in ASCII; DEL is escaped too, as JSON itself allows this control character.

    >>> _quoted("as²b"), _quoted("\x7f😀")
    ('"as\\\\u00b2b"', '"\\\\u007f\\\\ud83d\\\\ude00"')
    """
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{"".join(map(_letter, text))}"'


def _letter(letter: str) -> str:
    if letter in _LETTERS:
        return _LETTERS[letter]
    if " " <= letter <= "~":
        return letter
    number = ord(letter)
    if number < 0x10000:
        return f"\\u{number:04x}"
    # the code point becomes a pair of surrogates
    high, low = divmod(number - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
