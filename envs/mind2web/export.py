"""Recorded walks of the expert on generated sites, in the layout of Mind2Web's files.

    from cmat_gym.envs.mind2web.export import export
    export("my-walks", {"train": range(1000), "test_task": range(200)})

The result is read by `source="my-walks"` like the benchmark's own files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from cmat_gym.core.dice import Dice
from cmat_gym.envs.mind2web.backend import Move, Visit, act, document, look, open_visit
from cmat_gym.envs.mind2web.dom import Element, Node, Page, is_hidden, option_value, value_of
from cmat_gym.envs.mind2web.expert import Mind2WebExpert
from cmat_gym.envs.mind2web.generator import BuiltinWebTasks, live_task
from cmat_gym.envs.mind2web.recorded import TOP

__all__ = ["export", "record_walk"]

KEPT = {
    "role": "role",
    "type": "type",
    "alt": "alt",
    "title": "title",
    "name": "name",
    "value": "value",
    "placeholder": "placeholder",
    "class": "class",
    "aria-label": "aria_label",
}


def record_walk(payload: Mapping[str, Any], instruction: str, name: str) -> dict[str, Any]:
    """The expert's walk through a live task as one task of Mind2Web's JSON, candidate ranks included.

    The last step, to declare the task done, is not part of the layout. Candidates are what can be acted on; their ranks
    are drawn: the right one is among the first ten, near the top.
    """
    task = live_task(payload)
    expert = Mind2WebExpert(*task)
    dice = Dice(payload["seed"], 11, *instruction.encode())
    visit = open_visit(task.site)
    actions: list[dict[str, Any]] = []
    texts: list[str] = []
    while (move := expert.next_step(visit).move).op != "FINISH":
        page = look(task.site, visit)
        actions.append(
            _record(page, visit, move, f"{name}-{len(actions)}", document(task.site, visit.db, visit.url), dice)
        )
        texts.append(_in_words(page.elements[move.ref - 1], move))
        visit = act(task.site, visit, move)
    return {
        "annotation_id": name,
        "website": task.site.brand,
        "domain": "Generated",
        "subdomain": task.site.kind,
        "confirmed_task": instruction,
        "action_reprs": texts,
        "actions": actions,
    }


def export(folder: str | Path, splits: Mapping[str, Iterable[int]], seed: int = 0) -> None:
    """Write walks as a folder in the benchmark's layout.

    Args:
        folder: Where to; made if it is not there.
        splits: `train`, `test_task`, `test_website` or `test_domain` -> indices of tasks (of the builtin split `train`
            for `train`, of `test` for the others).
        seed: Of the builtin tasks.
    """
    tasks = BuiltinWebTasks(seed)
    for split, indices in splits.items():
        made = [tasks.make("train" if split == "train" else "test", index) for index in indices]
        walks = [record_walk(task.payload, task.instruction, task.id.replace("/", "_")) for task in made]
        place = Path(folder) / split
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{split}_0.json").write_text(json.dumps(walks), encoding="utf-8")


def _record(page: Page, visit: Visit, move: Move, uid: str, raw: str, dice: Dice) -> dict[str, Any]:
    ids = {node: str(n) for n, node in enumerate(page.root.iter(), 1)}
    target = page.elements[move.ref - 1]
    others = [element for element in page.elements if element is not target]
    ranks = dice.sample(range(1, len(others) + 1), len(others))
    place = min(
        int(dice.uniform() ** 3 * 10), len(others), 4 if len(others) == 5 else TOP
    )  # mostly first or second, never tenth or later
    order = sorted(zip(ranks, others, strict=True), key=lambda pair: pair[0])
    ranked = [element for _, element in order]
    ranked.insert(place, target)
    # A tournament over six drops five on "none of the above" and never asks for the one that is left: leave one out.
    rank_of = {element.ref: TOP if rank == 5 and len(ranked) == 6 else rank for rank, element in enumerate(ranked)}
    candidates = {e.ref: _candidate(e, ids, rank_of[e.ref], e is target) for e in ranked}
    operation = {"op": move.op, "original_op": move.op, "value": move.value}
    return {
        "action_uid": uid,
        "operation": operation,
        "cleaned_html": "".join(_clean(page.root.find("body"), ids, {e.node: e for e in page.elements}, visit)),
        "raw_html": raw,
        "pos_candidates": [candidates[target.ref]],
        "neg_candidates": [candidates[element.ref] for element in others],
    }


def _candidate(element: Element, ids: Mapping[Node, str], rank: int, right: bool) -> dict[str, Any]:
    name = ids[element.node]
    attributes = json.dumps({**dict(element.node.attrib), "backend_node_id": name})
    return {
        "tag": element.node.tag,
        "attributes": attributes,
        "backend_node_id": name,
        "is_original_target": right,
        "is_top_level_target": right,
        "rank": rank,
    }


def _in_words(element: Element, move: Move) -> str:
    value = f": {move.value}" if move.value or move.op != "CLICK" else ""
    return f"[{element.role}]  {element.name} -> {move.op}{value}"


def _clean(node: Node, ids: Mapping[Node, str], elements: Mapping[Node, Element], visit: Visit) -> Iterator[str]:
    """The visible part of a page as XML: texts are nodes of their own, what controls hold are attributes."""
    if not isinstance(node.tag, str) or node.tag in ("script", "style") or is_hidden(node):
        return
    name = ids[node]
    attributes = {KEPT[key]: value for key, value in node.attrib.items() if key in KEPT}
    element = elements.get(node)
    if element is not None and element.role in ("text", "area"):
        attributes["input_value"] = value_of(element, visit.fields)
    elif element is not None and element.role in ("checkbox", "radio"):
        attributes["input_checked"] = "true" if value_of(element, visit.fields) else "false"
    elif node.tag == "option" and node.getparent().tag == "select":
        attributes["option_selected"] = _selected(node, elements, visit)
    written = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    yield f'<{node.tag} backend_node_id="{name}"{written}>'
    if node.tag != "textarea":
        yield from _texts(node.text, f"{name}t")
    for child in node:
        yield from _clean(child, ids, elements, visit)
        yield from _texts(child.tail, f"{ids[child]}u")
    yield f"</{node.tag}>"


def _selected(option: Node, elements: Mapping[Node, Element], visit: Visit) -> str:
    element = elements[option.getparent()]
    return "true" if value_of(element, visit.fields) == option_value(option) else "false"


def _texts(text: str | None, name: str) -> Iterator[str]:
    if text and text.strip():
        yield f'<text backend_node_id="{name}">{escape(" ".join(text.split()))}</text>'
