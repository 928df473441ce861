"""Families of builtin tasks about logs, tables, configuration and other text."""

from __future__ import annotations

from collections import Counter

from cmat_gym.envs.os.drafts import Dice, Draft, Problem
from cmat_gym.envs.os.families_files import new_root, sentences
from cmat_gym.envs.os.words import KEYS, LEVELS, NAMES, SERVICES, USERS

__all__ = ["FAMILIES"]

STATUS = (200, 301, 403, 404, 500)


def _log(dice: Dice, lines: int) -> list[str]:
    days = sorted(dice.integer(1, 28) for _ in range(lines))
    return [
        f"2025-11-{day:02} {dice.pick(LEVELS)} {dice.pick(SERVICES)} {' '.join(dice.sample(NAMES, 2))}" for day in days
    ]


def _access_log(dice: Dice, lines: int) -> list[tuple[str, str, int, int]]:
    """Client, page, status and size of each line."""
    clients = [f"10.0.{dice.integer(0, 9)}.{host}" for host in dice.sample(range(1, 99), 4)]
    return [
        (dice.pick(clients), f"/{dice.pick(NAMES)}", dice.pick(STATUS), dice.integer(10, 999)) for _ in range(lines)
    ]


def _unique_top(values: list[str]) -> str | None:
    """The most frequent value, if no other one is as frequent."""
    ranked = Counter(values).most_common(2)
    return None if len(ranked) > 1 and ranked[0][1] == ranked[1][1] else ranked[0][0]


def count_matches(dice: Dice) -> Problem:
    """How many lines have a word."""
    draft, root = Draft(dice), new_root(dice)
    path = f"{root}/{dice.pick(SERVICES)}.log"
    lines = _log(dice, dice.integer(8, 30))
    level = dice.pick(LEVELS)
    draft.file(path, "\n".join(lines) + "\n")
    return Problem(
        f"How many lines of {path} contain {level}?",
        (f"grep -c {level} {path}",),
        (f"I count the lines with {level}.",),
        draft.entries(),
        answer=str(sum(level in line for line in lines)),
    )


def count_lines(dice: Dice) -> Problem:
    """How long a file is."""
    draft, root = Draft(dice), new_root(dice)
    path, lines = f"{root}/{dice.pick(NAMES)}.txt", dice.integer(5, 60)
    draft.file(path, sentences(dice, lines))
    return Problem(
        f"How many lines does {path} have?",
        (f"wc -l < {path}",),
        ("I count the lines.",),
        draft.entries(),
        answer=str(lines),
    )


def show_line(dice: Dice) -> Problem:
    """What stands in a line."""
    draft, root = Draft(dice), new_root(dice)
    path, lines = f"{root}/{dice.pick(NAMES)}.txt", sentences(dice, dice.integer(5, 30)).splitlines()
    number = dice.integer(1, len(lines))
    draft.file(path, "\n".join(lines) + "\n")
    return Problem(
        f"What is the text of line {number} of {path}?",
        (f"sed -n {number}p {path}",),
        (f"I print line {number}.",),
        draft.entries(),
        answer=lines[number - 1],
    )


def top_client(dice: Dice) -> Problem:
    """Who asks most often."""
    draft, root = Draft(dice), new_root(dice)
    path = f"{root}/access.log"
    while True:
        lines = _access_log(dice, dice.integer(10, 25))
        top = _unique_top([line[0] for line in lines])
        if top:
            break
    draft.file(path, "".join(f"{client} GET {page} {status} {size}\n" for client, page, status, size in lines))
    return Problem(
        f"Each line of {path} starts with the address of a client. Which address occurs most often?",
        (f"cut -d ' ' -f 1 {path} | sort | uniq -c | sort -n | tail -n 1",),
        ("I count the lines of each address.",),
        draft.entries(),
        answer=top,
    )


def count_status(dice: Dice) -> Problem:
    """How many requests had a status."""
    draft, root = Draft(dice), new_root(dice)
    path, status = f"{root}/access.log", dice.pick(STATUS)
    lines = _access_log(dice, dice.integer(10, 30))
    draft.file(path, "".join(f"{client} GET {page} {code} {size}\n" for client, page, code, size in lines))
    return Problem(
        f"In {path}, each line is: client method page status size. How many requests have the status {status}?",
        (f"awk '$4 == {status}' {path} | wc -l",),
        ("The status is the fourth word.",),
        draft.entries(),
        answer=str(sum(line[2] == status for line in lines)),
    )


def sum_sizes(dice: Dice) -> Problem:
    """The sum of a column."""
    draft, root = Draft(dice), new_root(dice)
    path = f"{root}/access.log"
    lines = _access_log(dice, dice.integer(5, 20))
    client = dice.pick([line[0] for line in lines])
    draft.file(path, "".join(f"{address} GET {page} {code} {size}\n" for address, page, code, size in lines))
    return Problem(
        f"In {path}, each line is: client method page status size. What is the sum of the sizes of client {client}?",
        (f"awk '$1 == \"{client}\" {{s += $5}} END {{print s}}' {path}",),
        ("I add up the fifth words of its lines.",),
        draft.entries(),
        answer=str(sum(line[3] for line in lines if line[0] == client)),
    )


def distinct_values(dice: Dice) -> Problem:
    """How many different values a column has."""
    draft, root = Draft(dice), new_root(dice)
    path = f"{root}/visits.txt"
    names = [dice.pick(USERS) for _ in range(dice.integer(8, 30))]
    draft.file(path, "".join(f"{name} {dice.integer(1, 99)}\n" for name in names))
    return Problem(
        f"The first word of each line of {path} is a name. How many different names are there?",
        (f"cut -d ' ' -f 1 {path} | sort -u | wc -l",),
        ("I count the names without repeats.",),
        draft.entries(),
        answer=str(len(set(names))),
    )


def table_extreme(dice: Dice) -> Problem:
    """Which row of a table has the highest or lowest value."""
    draft, root = Draft(dice), new_root(dice)
    path = f"{root}/prices.csv"
    names = dice.sample(NAMES, dice.integer(5, 15))
    prices = dice.sample(range(3, 400), len(names))
    highest = dice.chance(0.5)
    rows = "".join(f"{name},{price},{dice.pick(USERS)}\n" for name, price in zip(names, prices, strict=True))
    draft.file(path, rows)
    return Problem(
        f"In {path}, each line is: item,price,seller. Which item has the {'highest' if highest else 'lowest'} price?",
        (f"sort -t , -k 2 -n {path} | {'tail' if highest else 'head'} -n 1",),
        ("I sort the lines by the second column.",),
        draft.entries(),
        answer=names[prices.index(max(prices) if highest else min(prices))],
    )


def find_text(dice: Dice) -> Problem:
    """Which file has a word."""
    draft, root = Draft(dice), new_root(dice)
    names = dice.sample(NAMES, dice.integer(4, 9))
    word = dice.pick(USERS)
    paths = [f"{root}/{name}.txt" for name in names]
    for path in paths:
        draft.file(path, sentences(dice, dice.integer(2, 4)))
    path = dice.pick(paths)
    draft.change(path, content=draft.nodes[path].content + f"{dice.pick(NAMES)} {word}\n")
    return Problem(
        f"Which file in {root} contains the word {word}? Answer with its full path.",
        (f"grep -l {word} {root}/*",),
        (f"I search for {word} in all files.",),
        draft.entries(),
        answer=path,
    )


def config_value(dice: Dice) -> Problem:
    """What a setting is."""
    draft, root = Draft(dice), new_root(dice)
    path, keys = f"{root}/{dice.pick(SERVICES)}.conf", dice.sample(KEYS, dice.integer(4, 8))
    values = {key: f"{dice.pick(NAMES)}{dice.integer(1, 99)}" for key in keys}
    key = dice.pick(keys)
    commented = f"# {key}=none\n"
    draft.file(path, commented + "".join(f"{name}={value}\n" for name, value in values.items()))
    return Problem(
        f"What is the value of {key} in {path}?",
        (f"grep '^{key}=' {path}",),
        (f"I look for the line of {key}.",),
        draft.entries(),
        answer=values[key],
    )


def set_config(dice: Dice) -> Problem:
    """Change a setting."""
    draft, root = Draft(dice), new_root(dice)
    path, keys = f"{root}/{dice.pick(SERVICES)}.conf", dice.sample(KEYS, dice.integer(3, 7))
    lines = {key: f"{dice.pick(NAMES)}{dice.integer(1, 99)}" for key in keys}
    key, value = dice.pick(keys), f"{dice.pick(USERS)}{dice.integer(1, 99)}"
    draft.file(path, "".join(f"{name}={text}\n" for name, text in lines.items()))
    before = draft.entries()
    lines[key] = value
    draft.change(path, content="".join(f"{name}={text}\n" for name, text in lines.items()), strict=False)
    return Problem(
        f"Set {key} to {value} in {path}. Leave the other lines as they are.",
        (f"sed -i 's/^{key}=.*/{key}={value}/' {path}",),
        (f"I replace the line of {key}.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def replace_text(dice: Dice) -> Problem:
    """Replace a word in all files of a folder."""
    draft, root = Draft(dice), new_root(dice)
    old, new = dice.sample(USERS, 2)
    for name in dice.sample(NAMES, dice.integer(2, 4)):
        words = [*dice.sample(NAMES, dice.integer(3, 5)), old, old]
        order = dice.sample(words, len(words))
        draft.file(f"{root}/{name}.txt", " ".join(order[:3]) + "\n" + " ".join(order[3:]) + "\n")
    before = draft.entries()
    for path in draft.nodes:
        draft.change(path, content=draft.nodes[path].content.replace(old, new), strict=False)
    return Problem(
        f"Replace every {old} by {new} in all .txt files of {root}.",
        (f"sed -i 's/{old}/{new}/g' {root}/*.txt",),
        ("I replace the word everywhere, also twice in a line.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def sort_unique(dice: Dice) -> Problem:
    """Sort a list and drop repeats."""
    draft, root = Draft(dice), new_root(dice)
    source, target = f"{root}/{dice.pick(NAMES)}.txt", f"{root}/{dice.pick(USERS)}.sorted"
    words = [dice.pick(USERS) for _ in range(dice.integer(6, 15))]
    draft.file(source, "\n".join(words) + "\n")
    before = draft.entries()
    draft.file(target, "\n".join(sorted(set(words))) + "\n", strict=False, spaces=False)
    return Problem(
        f"Write the lines of {source}, sorted and without repeats, to {target}. Keep {source} as it is.",
        (f"sort -u {source} > {target}",),
        ("sort -u drops the repeats.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def extract_errors(dice: Dice) -> Problem:
    """Copy the lines of a level into another file."""
    draft, root = Draft(dice), new_root(dice)
    service, level = dice.pick(SERVICES), dice.pick(LEVELS)
    lines = _log(dice, dice.integer(6, 15))
    wanted = [line for line in lines if level in line]
    if not wanted:
        lines.append(f"2025-11-29 {level} {service} {dice.pick(NAMES)}")
        wanted = lines[-1:]
    draft.file(f"{root}/{service}.log", "\n".join(lines) + "\n")
    before = draft.entries()
    draft.file(f"{root}/{level}.txt", "\n".join(wanted) + "\n", strict=False, spaces=False)
    return Problem(
        f"Write all lines of {root}/{service}.log that contain {level} to {root}/{level}.txt, in their order.",
        (f"grep {level} {root}/{service}.log > {root}/{level}.txt",),
        (f"I filter the lines with {level}.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def delete_lines(dice: Dice) -> Problem:
    """Delete comments or lines with a word from a file."""
    draft, root = Draft(dice), new_root(dice)
    path, word = f"{root}/{dice.pick(NAMES)}.txt", dice.pick(USERS)
    lines = sentences(dice, dice.integer(4, 8)).splitlines()
    marked = dice.sample(range(len(lines)), dice.integer(1, 3))
    text = [f"{line} {word}" if number in marked else line for number, line in enumerate(lines)]
    draft.file(path, "\n".join(text) + "\n")
    before = draft.entries()
    draft.change(path, content="".join(f"{line}\n" for line in text if word not in line), strict=False)
    return Problem(
        f"Delete every line that contains {word} from {path}.",
        (f"sed -i '/{word}/d' {path}",),
        (f"I delete the lines with {word}.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


FAMILIES = {
    1: (count_matches, count_lines, show_line, find_text),
    2: (config_value, set_config, sort_unique, extract_errors, delete_lines, distinct_values),
    3: (top_client, count_status, sum_sizes, table_extreme, replace_text),
}
"""Level of difficulty -> families."""
