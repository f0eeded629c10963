from __future__ import annotations

import re

import pytest

from triptych.core.class_names import class_numbers, labels_as_numbers
from triptych.core.errors import UsageError

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
           "Ankle boot")  # fmt: skip


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("bag", [8]),
        ("Ankle boot", [9]),
        ("ankle-boot, BAG", [9, 8]),
        ("ankleboot", [9]),
        ("bag,3, 0-2,bag", [8, 3, 0, 1, 2, 8]),
        ("shirt", [6]),
        ("t-shirt/top", [0]),
        ("9", [9]),
    ],
)
def test_names_numbers_and_ranges(text: str, numbers: list[int]) -> None:
    assert class_numbers(text, FASHION) == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bagg", "no class is called 'bagg'. Did you mean Bag? There are: T-shirt/top, Trouser"),
        ("boot", "Did you mean Ankle boot?"),
        ("tshirt", "Did you mean"),
        ("sneekers", "Did you mean Sneaker?"),
        ("10", "there is no class 10. There are: T-shirt/top"),
        ("8-12", "there is no class 12."),
        ("3-1", "ranges run upwards"),
        ("bag,,shirt", "no class is called ''"),
        ("", "no class is called ''. There are"),
        ("-1", "no class is called '-1'"),
    ],
)
def test_a_mistyped_class_names_the_nearest(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        class_numbers(text, FASHION)


def test_where_classes_are_called_by_numbers_a_number_is_a_name() -> None:
    names = ("1", "10", "2", "5")
    assert class_numbers("5,1-2,10", names) == [3, 0, 2, 1]
    with pytest.raises(UsageError, match="there is no class 0"):
        class_numbers("0", names)
    assert class_numbers("0-9", tuple("0123456789")) == list(range(10))


def test_names_may_hold_commas_and_differ_by_case_alone() -> None:
    names = ("tench, Tinca tinca", "goldfish", "a", "A")
    assert class_numbers("goldfish,tench,tinca tinca", names) == [1, 0]
    assert class_numbers("A,a", names) == [3, 2]
    assert class_numbers("a,b", ("a", "b", "ab")) == [0, 1]


def test_labels_from_python() -> None:
    assert labels_as_numbers(["bag", 3], FASHION) == [8, 3]
    assert labels_as_numbers("bag", FASHION) == [8]
    assert labels_as_numbers([1, 2], FASHION) == [1, 2]
    assert labels_as_numbers(None, FASHION) is None
