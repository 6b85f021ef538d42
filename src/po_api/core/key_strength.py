"""Signs that a secret was made up or copied instead of generated. Their absence proves nothing."""

import math
from collections import Counter
from itertools import pairwise

# Keys that tutorials show, and that are found in many installations.
_PUBLISHED = frozenset(
    {
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    }
)
_PLACEHOLDERS = (
    "changeme",
    "changethis",
    "change-me",
    "change_me",
    "change-this",
    "change_this",
    "example",
    "insecure",
    "password",
    "placeholder",
    "replace",
    "secret-key",
    "secret_key",
    "secretkey",
    "your-secret",
    "your_secret",
)
# Of adjacent characters; in random hexadecimal digits it is a fifth.
_SEQUENCE_SHARE = 0.85


def weakness(secret: str, *, min_bits: int) -> str | None:
    """Why `secret` can be guessed, such as "repeats one pattern"; None if nothing shows it.

    `min_bits` is the least information that the frequencies of its characters have to allow.
    """
    text = secret.strip()
    if _bits(text) < min_bits:
        return "has too few different characters"
    if _repeats(text):
        return "repeats one pattern"
    if _is_sequence(text):
        return "is a sequence of characters"
    if text in _PUBLISHED:
        return "is a published example"
    if any(word in text.lower() for word in _PLACEHOLDERS):
        return "contains a placeholder such as changeme"
    return None


def _bits(text: str) -> float:
    """The information that a text with these frequencies of characters can have at most."""
    length = len(text)
    return -sum(count * math.log2(count / length) for count in Counter(text).values())


def _repeats(text: str) -> bool:
    """Whether it begins again before its half, and so on to the end."""
    return any(text.startswith(text[period:]) for period in range(1, len(text) // 2 + 1))


def _is_sequence(text: str) -> bool:
    """Whether most characters follow or precede their neighbours in the alphabet, as in abcdef."""
    steps = [abs(ord(after) - ord(before)) <= 1 for before, after in pairwise(text)]
    return sum(steps) > _SEQUENCE_SHARE * len(steps)
