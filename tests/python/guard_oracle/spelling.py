"""Odd but legal spellings of a statement: white space, comments, upper and lower case."""

import random
import re

# What keeps its letters: strings, quoted names, parameters. Everything else may be respelt.
PIECES = re.compile(
    r"""(E?'(?:[^'\\]|''|\\.)*'|"(?:[^"]|"")*"|\$\d+|\$\$.*?\$\$|[A-Za-z_][A-Za-z_0-9]*|\s+|.)""", re.S
)

BLANKS = ["\n", "\t", "  ", " /* note */ ", " -- note\n", "\r\n", " /* a /* nested */ ' note */ ", " /*;*/ "]


def respelt(sql: str, rng: random.Random) -> str:
    """The same statement in another spelling."""
    casing = rng.choice(["lower", "upper", "mixed", "same", "same"])
    odd = rng.choice([0.0, 0.1, 0.4])
    said = []
    for piece in PIECES.findall(sql):
        if piece.isspace():
            said.append(rng.choice(BLANKS) if rng.random() < odd else piece)
        elif piece[0].isalpha() and "'" not in piece:
            said.append(cased(piece, casing, rng))
        else:
            said.append(piece)
    return "".join(said)


def cased(word: str, casing: str, rng: random.Random) -> str:
    if casing == "upper":
        return word.upper()
    if casing == "lower":
        return word.lower()
    if casing == "mixed":
        return "".join(letter.upper() if rng.random() < 0.5 else letter.lower() for letter in word)
    return word
