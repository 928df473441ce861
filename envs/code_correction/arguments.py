"""Arguments for the calls that tell a right function from a wrong one: seeded draws by kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from cmat_gym.core.dice import Dice

__all__ = ["KINDS", "fill"]

_WORDS = ("apple", "river", "stone", "cloud", "bread", "train", "lemon", "paper", "green", "music", "tiger", "plane")
_LONG = ("understanding", "well-known", "counterclockwise", "half-hearted", "extraordinary", "mother-in-law")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_HOLE = re.compile(r"\$([a-z_0-9]+)")


def _sentence(dice: Dice) -> str:
    words = [dice.pick((*_WORDS, *_LONG, "a", "of", "I'm")) for _ in range(dice.integer(4, 9))]
    return " ".join(words).capitalize() + dice.pick((".", "!", "", "?", " -- end"))


def _block(dice: Dice) -> str:
    lines = [" " * dice.pick((0, 2, 2, 4, 8)) + dice.pick(("", _sentence(dice), dice.pick(_WORDS))) for _ in range(4)]
    return "\n".join(lines) + dice.pick(("", "\n"))


def _url(dice: Dice) -> str:
    query = dice.pick(("", f"?{_query(dice)}", "?"))
    return f"{dice.pick(('http', 'https', 'ftp'))}://{_host(dice)}{_path(dice)}{query}"


def _query(dice: Dice) -> str:
    pairs = [f"{dice.pick(_LETTERS)}={dice.pick((*_WORDS, 'a+b', '%41', ''))}" for _ in range(dice.integer(1, 4))]
    return dice.pick(("&", "&", ";")).join(pairs)


def _host(dice: Dice) -> str:
    return f"{dice.pick(('', 'www.', 'a.b.'))}{dice.pick(_WORDS)}.{dice.pick(('com', 'org', 'co.uk'))}"


def _path(dice: Dice) -> str:
    parts = [dice.pick((*_WORDS, "a b", ".", "..", "x~y")) for _ in range(dice.integer(1, 3))]
    return "/" + "/".join(parts) + dice.pick(("", "/"))


def _template(dice: Dice) -> str:
    return f"{dice.pick(_WORDS)} {dice.pick(('$name', '${name}', '$$5', '$Name'))} {dice.pick(('$amount', '', '$$'))}"


def _markup(dice: Dice) -> str:
    return (
        f"<{dice.pick(_LETTERS)} b=\"{dice.pick(_WORDS)}\">{dice.pick(_WORDS)} & 'x' {dice.pick(('<>', '&amp;', ''))}"
    )


def _entities(dice: Dice) -> str:
    return " ".join(dice.pick(("&lt;", "&gt;", "&amp;", "&#65;", "&#x41", "&eacute;", "&nope;", "a&b")) for _ in "four")


def _shell(dice: Dice) -> str:
    words = [dice.pick((*_WORDS, "'a b'", '"c d"', "x\\ y", "-n", "''", "a'b'c")) for _ in range(dice.integer(2, 5))]
    return " ".join(words) + dice.pick(("", " # note"))


def _graph(dice: Dice) -> dict[int, list[int]]:
    """Who comes after whom; now and then in a circle."""
    edges = {node: dice.sample(range(node + 1, 9), dice.integer(1, 2)) for node in dice.sample(range(1, 7), 3)}
    return edges | ({8: [min(edges)]} if dice.chance(0.3) else {})


def _options(dice: Dice) -> list[str]:
    return [dice.pick(("-a", "-b", "-bx", "-ac", "--all", "--name=v", "--na", "--", "file", "-")) for _ in range(4)]


def _ip6(dice: Dice) -> str:
    return dice.pick(("::1", "2001:db8::", "fe80::1:0:0:2", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "a:0:0:b::"))


def _ip4(dice: Dice) -> str:
    return ".".join(str(dice.integer(0, 255)) for _ in range(4))


KINDS: Mapping[str, Callable[[Dice], object]] = {
    "int": lambda dice: dice.integer(-30, 60),
    "nat": lambda dice: dice.integer(0, 59),
    "small": lambda dice: dice.integer(1, 5),
    "two_to_nine": lambda dice: dice.integer(2, 9),
    "count": lambda dice: dice.integer(1, 12),
    "big": lambda dice: dice.integer(1000, 99_999),
    "number": lambda dice: dice.integer(-90, 90) / 8,
    "unit": lambda dice: dice.integer(0, 16) / 16,
    "signed": lambda dice: dice.integer(-16, 16) / 16,
    "third": lambda dice: dice.integer(0, 2) / 2,
    "width": lambda dice: dice.integer(8, 30),
    "flag": lambda dice: dice.chance(0.5),
    "letter": lambda dice: dice.pick(_LETTERS),
    "spaces": lambda dice: " " * dice.integer(0, 3),
    "prefix": lambda dice: dice.pick(("  ", "> ", "# ", "\t")),
    "word": lambda dice: dice.pick(_WORDS),
    "long_word": lambda dice: dice.pick(_LONG),
    "dashed": lambda dice: "-".join(dice.sample(_WORDS, 3)),
    "words": lambda dice: dice.sample(_WORDS, dice.integer(3, 6)),
    "sentence": _sentence,
    "sentences": lambda dice: f"{_sentence(dice)} {_sentence(dice)}",
    "block": _block,
    "tabbed": lambda dice: "\t{}\n\t{} {}\n \t\v{}".format(*dice.sample(_WORDS, 4)),
    "ints": lambda dice: [dice.integer(-20, 40) for _ in range(dice.integer(2, 9))],
    "digits": lambda dice: [dice.integer(0, 4) for _ in range(dice.integer(4, 9))],
    "counts": lambda dice: [dice.integer(1, 12) for _ in range(dice.integer(2, 6))],
    "five_counts": lambda dice: [dice.integer(1, 12) for _ in range(5)],
    "floats": lambda dice: [dice.integer(-60, 60) / 4 for _ in range(dice.integer(3, 8))],
    "five_floats": lambda dice: [dice.integer(-60, 60) / 4 for _ in range(5)],
    "bytes": lambda dice: bytes(dice.integer(32, 255) for _ in range(dice.integer(1, 11))),
    "template": _template,
    "markup": _markup,
    "entities": _entities,
    "shell": _shell,
    "url": _url,
    "host": _host,
    "path": _path,
    "query": _query,
    "percent": lambda dice: "".join(dice.pick(("%20", "%41", "a", "b", "/", "%C3%A9", "+")) for _ in range(5)),
    "year": lambda dice: dice.integer(1890, 2060),
    "month": lambda dice: dice.integer(1, 12),
    "day": lambda dice: dice.integer(1, 28),
    "weekday": lambda dice: dice.integer(0, 6),
    "month_name": lambda dice: dice.pick(("Jan", "Feb", "Apr", "Aug", "Oct", "Dec")),
    "options": _options,
    "graph": _graph,
    "ip4": _ip4,
    "ip6": _ip6,
    "net4": lambda dice: f"10.0.{dice.integer(0, 255)}.{8 * dice.integer(0, 31)}/{dice.integer(29, 32)}",
}


def fill(template: str, dice: Dice) -> str:
    """A source from its template: every `$kind` becomes a drawn value, written in Python; a variable that starts with
    `$` within a string, but is no kind, stays as it is.
    """
    return _HOLE.sub(lambda match: repr(KINDS[match[1]](dice)) if match[1] in KINDS else match[0], template)
