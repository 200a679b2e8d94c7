"""Files with something wrong in them, at random: in bytes, in cards of headers, in values."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

__all__ = ("MUTATIONS", "mutated")

_BLOCK = 2880
_VALUES = (
    "'x'", "''", "T", "F", "-1", "0", "1", "2", "3", "1.5", "1E400", "NAN", "-1E38", "1E-300", "99999999", "-32",
    "9223372036854775807", "-9223372036854775808", "(1.0, 2.0)", "'1,2'", "'NaN'", "'A'", "'1D'", "'PE(5)'", "'999E'",
    "",
)  # fmt: skip
_NUMBERS = (b"\x7f\xc0\x00\x00", b"\x7f\x80\x00\x00", b"\xff\x80\x00\x00", b"\x7f\x7f\xff\xff", b"\x00\x00\x00\x01",
            b"\x80\x00\x00\x00", b"\x7f\xf8\x00\x00\x00\x00\x00\x00", b"\x47\xef\xff\xff\xff\xff\xff\xff")  # fmt: skip
_TEXTS = (b"nan", b"-1", b"1e999", b"\xff", b"\x00", b"[", b"'", b'"', b",,", b"=", b"{", b"\n", b"999999999", b"")

Mutation = Callable[[bytearray, random.Random], None]


def _cards(content: bytearray) -> list[int]:
    """Where cards are: of all headers, for data hardly ever look like one."""
    found = []
    for begin in range(0, len(content) - 79, 80):
        card = content[begin : begin + 80]
        if re.match(rb"[A-Z0-9_-]{1,8} *(= |$)", card) and all(32 <= byte < 127 for byte in card):
            found.append(begin)
    return found


def _bytes(content: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 3, 30))):
        content[rng.randrange(len(content))] = rng.randrange(256)


def _header_bytes(content: bytearray, rng: random.Random) -> None:
    begin = rng.choice(_cards(content) or [0])
    for _ in range(rng.choice((1, 4))):
        content[min(begin + rng.randrange(80), len(content) - 1)] = rng.choice(b"=/'AZ09 .+-\x00\xff")


def _cut(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(len(content)) :]


def _cut_block(content: bytearray, rng: random.Random) -> None:
    begin = rng.randrange(max(1, len(content) // _BLOCK)) * _BLOCK
    del content[begin : begin + _BLOCK]


def _repeat(content: bytearray, rng: random.Random) -> None:
    begin = rng.randrange(max(1, len(content) // _BLOCK)) * _BLOCK
    content[begin:begin] = content[begin : begin + _BLOCK * rng.choice((1, 2, 50))]


def _card_value(content: bytearray, rng: random.Random) -> None:
    cards = _cards(content)
    if cards:
        begin = rng.choice(cards)
        keyword = content[begin : begin + 8].decode().ljust(8)
        content[begin : begin + 80] = f"{keyword}= {rng.choice(_VALUES):>20}".ljust(80)[:80].encode()


def _card_gone(content: bytearray, rng: random.Random) -> None:
    cards = _cards(content)
    if cards:
        begin = rng.choice(cards)
        content[begin : begin + 80] = b"COMMENT".ljust(80)


def _card_moved(content: bytearray, rng: random.Random) -> None:
    cards = _cards(content)
    if len(cards) > 1:
        one, other = rng.sample(cards, 2)
        content[one : one + 80], content[other : other + 80] = content[other : other + 80], content[one : one + 80]


def _numbers(content: bytearray, rng: random.Random) -> None:
    number = rng.choice(_NUMBERS)
    begin = rng.randrange(len(content)) // 8 * 8
    for k in range(rng.choice((1, 1, 20, 5000))):
        place = begin + k * len(number)
        if place + len(number) <= len(content):
            content[place : place + len(number)] = number


def _texts(content: bytearray, rng: random.Random) -> None:
    begin = rng.randrange(len(content))
    content[begin : begin + rng.randrange(12)] = rng.choice(_TEXTS)


MUTATIONS: dict[str, Mutation] = {
    "bytes": _bytes, "header bytes": _header_bytes, "cut": _cut, "block gone": _cut_block, "repeated": _repeat,
    "value": _card_value, "value 2": _card_value, "value 3": _card_value, "card gone": _card_gone,
    "cards moved": _card_moved, "numbers": _numbers, "numbers 2": _numbers,
}  # fmt: skip


def mutated(content: bytes, rng: random.Random, text: bool = False) -> tuple[str, bytes]:
    """What was done, and what came of it."""
    changed = bytearray(content)
    name = "text" if text else rng.choice(list(MUTATIONS))
    for _ in range(rng.choice((1, 1, 2))):
        if changed:
            (_texts if text else MUTATIONS[name])(changed, rng)
    return name, bytes(changed)
