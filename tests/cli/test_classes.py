"""Which class a user means by a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from relprop.cli.classes import Classes, UnknownClassError

CLASSES = Classes(
    (
        "bullfrog, Rana catesbeiana",
        "tabby, tabby cat",
        "crane",
        "crane",
        "cat",
        "missile, V-2 (big)",
    )
)


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        ("3", 3),
        ("+3", 3),
        ("tabby", 1),
        ("Tabby Cat", 1),
        ("tabby, tabby cat", 1),
        ("cat", 4),
        (" CAT ", 4),
        ("rana", 0),
        ("catesb", 0),
        ("bull", 0),
        ("v-2 (big)", 5),
    ],
)
def test_the_plainest_match_is_meant(wanted: str, number: int) -> None:
    assert CLASSES.find(wanted, 6) == number


def test_one_name_of_two_classes_is_not_guessed_at() -> None:
    with pytest.raises(UnknownClassError, match=r"'crane' could be crane \(2\), crane \(3\)"):
        CLASSES.find("crane", 6)


@pytest.mark.parametrize("wanted", ["6", "-1", "dog"])
def test_what_is_no_class_is_refused(wanted: str) -> None:
    with pytest.raises(UnknownClassError, match="there is no class"):
        CLASSES.find(wanted, 6)


def test_classes_without_a_name_have_a_number() -> None:
    assert Classes().label(7) == "class 7"
    assert Classes(("",)).label(0) == "class 0"


def test_names_are_read_from_lines(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog, hound\n")
    assert Classes.read(tmp_path / "names.txt").names == ("cat", "dog, hound")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_unreadable_names_are_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "names.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnknownClassError, match=r"names\.txt: "):
        Classes.read(path)
