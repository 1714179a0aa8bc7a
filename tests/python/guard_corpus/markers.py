"""Finds what must not be received: forbidden markers, plain, reversed, in hex and in base64."""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence

HEX = re.compile(r"[0-9a-fA-F]{8,}")
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{10,}")

# Beyond this an answer is cut: the limits of the service have failed long before.
LONGEST = 8_000_000


def leaks(received: str, patterns: Sequence[re.Pattern[str]], known: Iterable[str]) -> list[str]:
    """The words with a marker that were received, and that neither the statement nor the oracle holds.

    A marker is the beginning of a value (`LEAK_B_`); the whole word counts, so that a statement which names
    one secret does not excuse another.
    """
    excused = "\n".join(reading for text in known for reading in readings(text)).casefold()
    found = dict.fromkeys(
        word for reading in readings(received) for pattern in patterns for word in words(reading, pattern)
    )
    return [word for word in found if word.casefold() not in excused]


def words(text: str, pattern: re.Pattern[str]) -> Iterable[str]:
    for match in pattern.finditer(text):
        start, end = match.span()
        while start > 0 and is_word(text[start - 1]):
            start -= 1
        while end < len(text) and is_word(text[end]):
            end += 1
        yield text[start:end]


def is_word(character: str) -> bool:
    return character == "_" or character.isalnum()


def readings(text: str) -> list[str]:
    """A text and what it may be an encoding of."""
    text = text[:LONGEST]
    joined = re.sub(r"[\r\n]", "", text)
    return [text, text[::-1], *from_hex(text), *from_base64(joined)]


def from_hex(text: str) -> list[str]:
    return [
        bytes.fromhex(digits[shift : shift + (len(digits) - shift) // 2 * 2]).decode("latin-1")
        for digits in HEX.findall(text)
        for shift in (0, 1)
    ]


def from_base64(text: str) -> list[str]:
    decoded = []
    for run in BASE64.findall(text):
        standard = run.replace("-", "+").replace("_", "/")
        for shift in range(4):
            part = standard[shift : shift + (len(standard) - shift) // 4 * 4]
            rest = standard[shift + len(part) :]
            if len(rest) > 1:
                part += rest.ljust(4, "=")
            try:
                decoded.append(base64.b64decode(part).decode("latin-1"))
            except (binascii.Error, ValueError):
                continue
    return decoded
