"""The script that draws comments: a seed draws the same places, whatever they say by then."""

from pathlib import Path

from bench import comments

SOURCE = '''"""A sum."""


def add(a, b):
    """Adds.

    >>> add(1, 2)
    3
    """
    # both are exact,
    # so nothing is rounded
    return a + b  # noqa: X
'''


def package(root: Path, file: str, source: str) -> Path:
    (root / "vitcost").mkdir(parents=True)
    (root / "vitcost" / file).write_text(source, encoding="utf-8")
    return root


def test_a_comment_is_all_its_lines_and_a_docstring_has_no_example(tmp_path: Path) -> None:
    found = comments.comments(package(tmp_path, "sums.py", SOURCE))
    assert [(one.line, one.place, one.text) for one in found] == [
        (1, "above add: docstring", "A sum."),
        (5, "add: docstring", "Adds."),
        (10, "add: 1", "both are exact, so nothing is rounded"),
    ]


def test_a_seed_draws_the_same_places_of_rewritten_and_moved_modules(tmp_path: Path) -> None:
    old = comments.comments()
    assert len(old) > 3000
    first, again, other = (
        [one.place for one in comments.drawn(found, seed, 60)]
        for found, seed in ((old, 22), (old[::-1], 22), (old, 23))
    )
    assert first == again != other
    plain = comments.comments(package(tmp_path / "a", "sums.py", SOURCE))
    said = SOURCE.replace("A sum.", "The sum of two.").replace("both are", "each is")
    rewritten = comments.comments(package(tmp_path / "b", "added.py", said))
    for seed in range(20):
        pair = [comments.drawn(found, seed, 2) for found in (plain, rewritten)]
        assert len({tuple(each.place for each in drawn) for drawn in pair}) == 1
