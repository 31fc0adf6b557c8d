"""The script that counts lines: a table is none of them, whatever it holds."""

from pathlib import Path

from bench import lines

SOURCE = '''"""A sum."""

# rows, one a name
ROWS = {
    "a": 1,
    "b": 2,
    "c": 3,
}
SQUARES = [
    n * n
    for n in range(3)
    if n
    ]


def add(a, b):
    """Adds."""
    return a + b  # exactly
'''


def test_a_line_is_code_words_blank_or_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "sums.py").write_text(SOURCE, encoding="utf-8")
    assert lines.count(tmp_path) == {"table": 5, "code": 7, "words": 3, "blank": 3}
    assert lines.count(lines.ROOT).total() == sum(
        len(path.read_text(encoding="utf-8").splitlines()) for path in lines.ROOT.rglob("*.py")
    )
