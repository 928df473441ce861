"""Mutations: what each kind does, that formatting stays, and that the edits fit every function of the table."""

from __future__ import annotations

import ast

import pytest

from cmat_gym.envs.code_correction.functions import library_folder, read_functions
from cmat_gym.envs.code_correction.generator import parses
from cmat_gym.envs.code_correction.mutations import KINDS, Code, apply
from cmat_gym.envs.code_correction.renaming import rename
from cmat_gym.envs.code_correction.slips import SLIPS

FUNCTION = '''\
def find(xs, key=None, limit=3):  # a comment
    """The docstring: 1 + 1 < 3, not touched."""
    found, é = [], "ü"
    for i in range(len(xs)):
        if not key or xs[i] < limit and i != 2:
            found.append(xs[i : i + 2])
        else:
            é = min(key, i)
        é = é
    total = f"{limit + 1}"
    i += 1
    return found, (é), total
'''


def lines_of(kind: str) -> list[str]:
    """The lines that the edits of a kind put in, without white space around them."""
    code = Code(FUNCTION)
    before = FUNCTION.splitlines()
    texts = [apply(FUNCTION, edit).splitlines() for edit in {**KINDS, **SLIPS}[kind](code)]
    return [next((line.strip() for line in text if line not in before), "") for text in texts]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("comparison", "if not key or xs[i] <= limit and i != 2:"),
        ("comparison", "if not key or xs[i] < limit and i == 2:"),
        ("boolean", "if not key or xs[i] < limit or i != 2:"),
        ("boolean", "if not key and xs[i] < limit and i != 2:"),
        ("condition", "if not (not key or xs[i] < limit and i != 2):"),
        ("arithmetic", "found.append(xs[i : i - 2])"),
        ("arithmetic", "i -= 1"),
        ("constant", "found.append(xs[i : i + 3])"),
        ("argument order", "é = min(i, key)"),
        ("variable", "é = min(limit, i)"),
        ("return", "found, (é), total"),
        ("return", "return"),
        ("return", "return é"),
        ("slice", "found.append(xs[i + 1 : i + 2])"),
        ("loop", "for i in range(len(xs) - 1):"),
        ("missing not", "if key or xs[i] < limit and i != 2:"),
        ("method", "found.extend(xs[i : i + 2])"),
        ("method", "é = max(key, i)"),
        ("default", "def find(xs, key=None, limit=4):  # a comment"),
        ("default", "def find(xs, key=0, limit=3):  # a comment"),
        ("deletion", "pass"),
        ("colon", "else"),
        ("colon", "for i in range(len(xs))"),
        ("bracket", "return found, (é, total"),
        ("quote", 'found, é = [], "ü'),
        ("name", "found.append(xs[i : i + 2])".replace("found", "foud")),
    ],
)
def test_what_a_kind_does(kind: str, expected: str) -> None:
    assert expected in lines_of(kind)


def test_statements_are_deleted_with_their_lines_and_swapped() -> None:
    deleted = [apply(FUNCTION, edit) for edit in KINDS["deletion"](Code(FUNCTION))]
    assert FUNCTION.replace("    i += 1\n", "") in deleted
    swapped = [apply(FUNCTION, edit) for edit in KINDS["swap"](Code(FUNCTION))]
    assert (
        FUNCTION.replace('    total = f"{limit + 1}"\n    i += 1\n', '    i += 1\n    total = f"{limit + 1}"\n')
        in swapped
    )


def test_indentation_loses_one_space() -> None:
    slipped = [apply(FUNCTION, edit) for edit in SLIPS["indentation"](Code(FUNCTION))]
    assert FUNCTION.replace("    i += 1", "   i += 1") in slipped


def test_an_edit_touches_neither_docstring_nor_f_strings_nor_the_rest() -> None:
    """Whatever is done, the text before and after the edit is the text that was there: no unparsing."""
    for kind, find in {**KINDS, **SLIPS}.items():
        edits = list(find(Code(FUNCTION)))
        assert edits, f"{kind} finds nothing"
        for edit in edits:
            assert edit.kind == kind
            changed = apply(FUNCTION, edit)
            assert changed != FUNCTION
            assert '"""The docstring: 1 + 1 < 3, not touched."""' in changed
            assert "{limit + 1}" in changed or kind in ("deletion", "quote")


def test_edits_of_every_function_of_the_table() -> None:
    """Mutations keep functions Python, but for a few that cannot know; slips other than names and indents never do."""
    functions = list(read_functions(library_folder()).values())[::4]
    made = broken = 0
    for function in functions:
        code = Code(function.reference)
        for find in KINDS.values():
            for edit in find(code):
                made += 1
                broken += not parses(apply(function.reference, edit))
        assert any(list(find(code)) for find in KINDS.values()), f"{function.name} cannot be broken"
        for kind in ("bracket", "quote", "colon"):
            for edit in SLIPS[kind](code):
                assert not parses(apply(function.reference, edit)), (function.name, edit)
    assert made > 1500
    assert broken < made / 200


def test_renaming_is_consistent_and_leaves_what_it_cannot_place() -> None:
    renamed = rename(FUNCTION, parameters=True)
    assert "def find(v1, v2=None, limit=3):" in renamed, "limit is in an f-string"
    assert ast.dump(ast.parse(renamed)) == ast.dump(
        ast.parse(
            FUNCTION.replace("xs", "v1").replace("key", "v2").replace("found", "v3").replace("é", "v4")
            .replace(" i ", " v5 ").replace("[i]", "[v5]").replace("[i :", "[v5 :").replace(", i)", ", v5)")
            .replace("total", "v6")
        )
    )  # fmt: skip
    kept = rename(FUNCTION, parameters=False)
    assert "def find(xs, key=None, limit=3):" in kept
    assert "return v1, (v2), v4" in kept
