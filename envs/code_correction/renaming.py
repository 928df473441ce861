"""A function with other names for its parameters and variables: for models that know the standard library by heart."""

from __future__ import annotations

import ast

from cmat_gym.envs.code_correction.mutations import Code

__all__ = ["rename"]


def rename(text: str, *, parameters: bool) -> str:
    """The function with `v1`, `v2`, … in place of its variables, and of its parameters where that is asked for.

    Names that the syntax tree does not give the place of (in f-strings, exception handlers, nested functions, `global`)
    stay, and so do keywords in calls.
    """
    code = Code(text)
    arguments = code.function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    kept = {"self", "cls"} | code.in_f_strings | _placeless(code.function)
    if not parameters:
        kept |= {argument.arg for argument in named}
    names = {name: f"v{number}" for number, name in enumerate((n for n in code.names() if n not in kept), start=1)}
    if any(isinstance(node, ast.Name) and node.id in names.values() for node in ast.walk(code.function)):
        return text
    used = [node for node in code.nodes if isinstance(node, ast.Name) and node.id in names]
    places = [(*code.span(node), names[node.id]) for node in used]
    places += [(code.span(node)[0], code.span(node)[0] + len(node.arg), names[node.arg])
               for node in named if node.arg in names]  # fmt: skip
    for start, end, name in sorted(places, reverse=True):
        text = text[:start] + name + text[end:]
    return text


def _placeless(function: ast.FunctionDef) -> set[str]:
    """Names that stand somewhere without a place in the syntax tree."""
    found: set[str] = {argument.arg for argument in (function.args.vararg, function.args.kwarg) if argument is not None}
    for node in ast.walk(function):
        if isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            found.update(node.names)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef) and node is not function:
            found.update(part.id for part in ast.walk(node) if isinstance(part, ast.Name))
            found.update(part.arg for part in ast.walk(node) if isinstance(part, ast.arg))
    return found
