"""Recorded steps: pruning, tournaments and direct answers against the rules, and the files they come from."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.env import TextEnv, base_env
from cmat_gym.core.errors import TaskError
from cmat_gym.envs.mind2web.export import export, record_walk
from cmat_gym.envs.mind2web.generator import BuiltinWebTasks
from cmat_gym.envs.mind2web.official import index_file, read_scores
from cmat_gym.envs.mind2web.pruning import prune
from cmat_gym.envs.mind2web.recorded import action_text, read_record
from cmat_gym.envs.mind2web.static import parse_answer, rounds_needed

MIND2WEB = "cmat/Mind2Web-v0"

# Pruning and text form ------------------------------------------------------------------------------------------------


def tree(*rows: str) -> str:
    return f'<html backend_node_id="0"><body backend_node_id="1">{"".join(rows)}</body></html>'


def node(ref: str, tag: str = "a", inside: str = "", **attributes: str) -> str:
    written = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<{tag} backend_node_id="{ref}"{written}>{inside}</{tag}>'


def text(words: str, name: str = "t") -> str:
    return f'<text backend_node_id="{name}">{words}</text>'


def test_candidate_ancestors_and_near_siblings_stay_and_the_rest_goes() -> None:
    links = "".join(node(f"s{n}", inside=text(f"link {n}")) for n in range(10))
    page = prune(tree(node("p", "div", links, role="menu"), node("q", "div", text("far away"))), ("s4",))
    assert page.text == (
        "<html><div menu><a>link 1</a><a>link 2</a><a>link 3</a><a id=0>link 4</a><a>link 5</a><a>link 6</a>"
        "<a>link 7</a></div></html>"
    )
    assert [choice.node for choice in page.choices] == ["s4"]


def test_text_is_no_sibling_place_and_descendants_stop_at_fifty_and_six_levels() -> None:
    links = "".join(f"{text('x')}{node(f's{n}', inside=text(f'l{n}'))}" for n in range(6))
    assert "l3" in prune(tree(node("p", "div", links)), ("s0",)).text
    assert "l4" not in prune(tree(node("p", "div", links)), ("s0",)).text
    deep = text("bottom")
    for level in (7, 6, 5, 4, 3, 2, 1):
        deep = node(f"d{level}", "div", deep, title=f"level{level}")
    assert "level6" in (shown := prune(tree(node("c", "div", deep)), ("c",)).text)
    assert "level7" not in shown
    many = "".join(node(f"m{n}", "b", title=f"n{n}.") for n in range(60))
    shown = prune(tree(node("c", "div", many)), ("c",)).text
    assert len(re.findall(r"<b", shown)) == 50
    assert "n49." in shown
    assert "n50." not in shown


def test_what_carries_nothing_is_spliced_out_from_the_leaves_up() -> None:
    inner = node("w1", "div", node("w2", "span", node("c", inside=text("go"))))
    assert prune(tree(inner), ("c",)).text == "<html><a id=0>go</a></html>"
    two = node("w1", "div", node("w2", "span", node("c", inside=text("go")) + node("o", "i", text("and"))))
    assert prune(tree(two), ("c",)).text == "<html><span><a id=0>go</a><i>and</i></span></html>"  # two nodes: it stays
    assert prune(tree(node("e", "div") + node("c")), ("c",)).text == "<html><a id=0 /></html>"


def test_attributes_become_words() -> None:
    button = node("c", "button", type="submit", aria_label="Search  NOW", title="search now", name="none",
                  value="https://x.org", placeholder="hidden", alt="averyveryverylongword ok",
                  label="one two three four five six", onclick="x", **{"class": "btn"})  # fmt: skip
    # role, …, type, alt, aria_label, label, title (a repeat), …: in the benchmark's order, whatever the file's
    assert (
        prune(tree(button), ("c",)).text
        == "<html><button id=0 submit ok search now one two three four five btn /></html>"
    )
    long = {name: " ".join(f"{name[0]}{n}" for n in range(5)) for name in ("role", "type", "alt", "label", "title")}
    assert len(prune(tree(node("c", **long)), ("c",)).choices[0].text.split()) == 10
    words = prune(tree(node("c", **long)), ("c",)).text.removesuffix(" /></html>").split()
    assert len(words) == 2 + 20  # at most twenty words of meta


def test_texts_are_cut_quotes_go_and_escapes_are_undone() -> None:
    words = " ".join(f"w{n}" for n in range(30))
    shown = prune(tree(node("c", inside=text(f"say &quot;hi&quot; a &amp; b &lt;c&gt; {words}"))), ("c",)).text
    assert shown == "<html><a id=0>say hi a & b <c> " + " ".join(f"w{n}" for n in range(14)) + "</a></html>"


def test_ids_follow_the_document_and_round_brackets_are_an_option() -> None:
    page = tree(node("9", inside=text("first")), node("3", inside=text("second")), node("5", "input", type="text"))
    pruned = prune(page, ("5", "3", "9"))
    assert [choice.node for choice in pruned.choices] == ["9", "3", "5"]
    assert [choice.text for choice in pruned.choices] == [
        "<a id=0>first</a>",
        "<a id=1>second</a>",
        "<input id=2 text />",
    ]
    # The original puts nothing between the attributes and the text of a node here.
    assert prune(page, ("5", "3", "9"), round_brackets=True).text == (
        "(html(body(a id=0first)(a id=1second)(input id=2 text )))"
    )


def test_blanks_between_nodes_stay() -> None:
    first, second = node("c", inside=" " + text("go") + " "), node("d", inside=text("on"))
    page = prune(tree(f"\n  {first}\n {second}\n"), ("c", "d"))
    assert page.text == "<html><body> <a id=0> go </a> <a id=1>on</a> </body></html>"


def test_candidates_that_are_not_there_do_not_count_and_pages_may_be_damaged() -> None:
    assert prune(tree(node("c")), ("zz",)).choices == ()
    assert prune("", ("c",)).choices == ()
    assert [c.node for c in prune('<html><div><a backend_node_id="c">x</div></html>', ("c",)).choices] == ["c"]


@given(st.text(alphabet='<>/="ab id_&;', max_size=120))
@settings(max_examples=150, deadline=None)
def test_any_page_can_be_pruned(page: str) -> None:
    assert isinstance(prune(page, ("a", "b")).text, str)


# Answers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Answer: B.\nAction: CLICK", ("B", "CLICK", "")),
        ("Let me think. Answer: C. Action: TYPE\nValue: New York ", ("C", "TYPE", "New York")),
        ("Answer: F.\nAction: SELECT\nValue: Queen\nAnswer: B.", ("F", "SELECT", "Queen")),  # the first one counts
        ("Value: a\nValue: b\nAnswer: D", ("D", "", "a")),
        ("Answer: G", ("A", "", "")),
        ("answer: B", ("A", "", "")),
        ("", ("A", "", "")),
        ("Answer: B.\nAction: PRESS\nValue:", ("B", "", "")),
    ],
)
def test_answers_are_read_by_the_benchmarks_rules(answer: str, expected: tuple[str, str, str]) -> None:
    assert parse_answer(answer) == expected


def test_action_texts() -> None:
    assert action_text("CLICK", "whatever") == "CLICK"
    assert action_text("TYPE", " New York ") == "TYPE New York"
    assert action_text("TYPE", "") == "TYPE "


@pytest.mark.parametrize(("candidates", "rounds"), [(0, 0), (1, 0), (2, 1), (5, 1), (6, 2), (9, 2), (10, 3), (20, 5)])
def test_the_longest_tournament(candidates: int, rounds: int) -> None:
    assert rounds_needed(candidates) == rounds
    left, asked = candidates, 0
    while left > 1:
        left, asked = left - min(left, 5) + 1, asked + 1
    assert asked == rounds


# Tournaments over made-up records -------------------------------------------------------------------------------------


def recorded(steps: list[tuple[int, int, str, str]]) -> dict[str, Any]:
    """A record whose steps have so many candidates, of which the one with this rank is right."""
    actions = []
    for number, (count, right, op, value) in enumerate(steps):
        page = tree(*(node(f"n{n}", inside=text(f"choice {n}")) for n in range(count)))
        made = [{"backend_node_id": f"n{n}", "tag": "a", "attributes": "{}", "rank": n} for n in range(count)]
        actions.append({
            "action_uid": f"u{number}", "cleaned_html": page, "raw_html": page,
            "operation": {"op": op, "original_op": op, "value": value},
            "pos_candidates": [made[right]], "neg_candidates": [c for n, c in enumerate(made) if n != right],
        })  # fmt: skip
    texts = [f"[a]  choice {right} -> {op}" for _, right, op, _ in steps]
    return {"annotation_id": "made-up", "website": "w", "domain": "d", "subdomain": "s", "confirmed_task": "Do it",
            "action_reprs": texts, "actions": actions}  # fmt: skip


def open_record(folder: Path, record: dict[str, Any], **keywords: Any) -> TextEnv:
    path = folder / "tasks.json"
    path.write_text(json.dumps([record]), encoding="utf-8")
    env = base_env(gym.make(MIND2WEB, source=path, split="test", memory=None, **keywords))
    env.reset(options={"task": 0})
    return env


def choices(env: TextEnv) -> list[str]:
    return re.findall(r"^[B-Z]\. .*$", str(env._observation), re.MULTILINE)


def test_a_choice_goes_to_the_end_of_the_pool_and_the_last_one_counts(tmp_path: Path) -> None:
    env = open_record(tmp_path, recorded([(10, 3, "TYPE", "x")]), interface="tournament")
    assert env.turn_limit == 3
    asked, done = 0, False
    while not done:
        lines = choices(env)
        right = next((line for line in lines if "choice 3" in line), None)
        letter = (right or lines[0])[0]
        asked += 1
        _, reward, done, truncated, _ = env.step(f"Answer: {letter}.\nAction: TYPE\nValue: x")
        done = done or truncated
        assert len(lines) <= 5
    assert asked == 3
    assert reward == 1.0


def test_none_of_the_above_drops_all_five_and_a_lone_rest_is_not_asked(tmp_path: Path) -> None:
    env = open_record(tmp_path, recorded([(6, 0, "CLICK", "")]), interface="tournament")
    assert len(choices(env)) == 5
    _, reward, terminated, _, _ = env.step("Answer: A.")
    assert (terminated, reward) == (True, 0.0)
    assert env.score().details["action_f1"] == 0.0  # nothing was ever chosen: the prediction is empty


def test_a_letter_beyond_the_choices_chooses_nothing(tmp_path: Path) -> None:
    env = open_record(tmp_path, recorded([(3, 0, "CLICK", "")]), interface="tournament")
    _, reward, terminated, _, info = env.step("Answer: F.\nAction: CLICK")
    assert (terminated, reward, info["valid_action"]) == (True, 0.0, True)


def test_an_earlier_choice_is_replaced_by_a_later_wrong_one(tmp_path: Path) -> None:
    env = open_record(tmp_path, recorded([(9, 2, "CLICK", "")]), interface="tournament")
    first = choices(env)
    right = next((line[0] for line in first if "choice 2" in line), None)
    env.step(f"Answer: {right or first[0][0]}.\nAction: CLICK")
    wrong = next(line[0] for line in choices(env) if "choice 2" not in line)
    _, reward, terminated, _, _ = env.step(f"Answer: {wrong}.\nAction: CLICK")
    assert (terminated, reward) == (True, 0.0)


def test_positives_of_a_high_rank_make_a_step_unsolvable_but_count(tmp_path: Path) -> None:
    for interface in ("tournament", "single", "elements"):
        env = open_record(tmp_path, recorded([(12, 11, "CLICK", ""), (4, 0, "CLICK", "")]), interface=interface)
        assert env.cost_to_go() == float("inf")
        done = False
        while not done:
            _, reward, done, truncated, _ = env.step(env.expert_action())
            done = done or truncated
        assert reward == 0.5


def test_a_single_candidate_is_never_asked_in_a_tournament(tmp_path: Path) -> None:
    env = open_record(tmp_path, recorded([(1, 0, "CLICK", ""), (2, 1, "CLICK", "")]), interface="tournament")
    assert len(env._get_state()["results"]) == 1
    _, reward, terminated, _, _ = env.step(env.expert_action())
    assert (reward, terminated) == (0.5, True)


def test_the_order_of_a_tournament_depends_on_the_task_alone(tmp_path: Path) -> None:
    env = open_record(tmp_path, recorded([(10, 3, "CLICK", "")]), interface="tournament")
    first = env._get_state()["pool"]
    env.reset(seed=5)
    env.reset(seed=6, options={"task": 0})
    assert env._get_state()["pool"] == first
    assert first != sorted(first)


def test_teacher_forcing_shows_recorded_actions_and_free_running_the_agents(tmp_path: Path) -> None:
    record = recorded([(4, 1, "CLICK", ""), (4, 2, "TYPE", "x"), (4, 0, "CLICK", "")])
    forced = open_record(tmp_path, record)
    observation = forced.step("CLICK [0]")[0]  # wrong
    assert "choice 1 -> CLICK" in observation
    assert forced.step("TYPE [2] x")[2] is False
    _, reward, terminated, _, _ = forced.step("CLICK [0]")
    assert (reward, terminated) == (pytest.approx(2 / 3), True)
    free = open_record(tmp_path, record, teacher_forced=False)
    observation, _, terminated, _, _ = free.step("CLICK [1]")
    assert "choice 1 -> CLICK" in observation
    _, reward, terminated, _, _ = free.step("TYPE [2] y")
    assert (reward, terminated) == (pytest.approx(1 / 3), True)


def test_a_refused_answer_costs_the_turn_of_a_step(tmp_path: Path) -> None:
    env = open_record(tmp_path, recorded([(4, 1, "CLICK", ""), (4, 2, "CLICK", "")]))
    assert env.step("CLICK [17]")[-1]["valid_action"] is False
    _, reward, terminated, truncated, _ = env.step("CLICK [1]")
    assert (reward, terminated, truncated) == (0.5, False, True)


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("walks")
    export(folder, {"train": range(6), "test_task": range(4)})
    return folder


@pytest.mark.parametrize("interface", ["elements", "single", "tournament"])
@pytest.mark.parametrize("protocol", ["text", "tools"])
def test_exported_walks_are_read_back_and_gold_scores_one(walks: Path, interface: str, protocol: str) -> None:
    keywords: dict[str, Any] = {"interface": interface, "protocol": protocol, "memory": None}
    official = base_env(gym.make(MIND2WEB, source=walks, split="train", **keywords))
    builtin = base_env(gym.make(MIND2WEB, pages="static", **keywords))
    assert official.tasks.sizes() == {"train": 6, "test_task": 4}
    for index in range(6):
        pages = [env.reset(options={"task": index})[0] for env in (official, builtin)]
        if interface != "tournament":  # whose order depends on the task's id
            assert pages[0] == pages[1]
        cost, done, turns = official.cost_to_go(), False, 0
        while not done:
            _, reward, done, truncated, _ = official.step(official.expert_action())
            done, turns = done or truncated, turns + 1
        assert (reward, turns) == (1.0, cost)


def test_steps_can_be_episodes_of_their_own(walks: Path) -> None:
    tasks = base_env(gym.make(MIND2WEB, source=walks, split="train", memory=None))
    steps = base_env(gym.make(MIND2WEB, source=walks, split="train", memory=None, unit="step"))
    total = 0
    for index in range(6):
        tasks.reset(options={"task": index})
        total += tasks.turn_limit
    assert len(steps.split) == total
    for index in range(total):
        steps.reset(options={"task": index})
        _, reward, terminated, _, _ = steps.step(steps.expert_action())
        assert (reward, terminated) == (1.0, True)


def test_tasks_are_pickled_and_found_again(walks: Path) -> None:
    env = base_env(gym.make(MIND2WEB, source=walks, split="train", memory=None))
    env.reset(options={"task": 2})
    env.step(env.expert_action())
    copy = pickle.loads(pickle.dumps(env))
    assert copy.state_key() == env.state_key()
    assert copy.expert_action() == env.expert_action()
    assert env.tasks.find(env.task.id) == env.task


def test_changed_files_are_noticed(walks: Path, tmp_path: Path) -> None:
    env = base_env(gym.make(MIND2WEB, source=walks, split="train", memory=None))
    task = env.split[0]
    export(tmp_path, {"train": range(3, 6)})
    other = base_env(gym.make(MIND2WEB, source=tmp_path, split="train", memory=None))
    with pytest.raises(TaskError, match="same files"):
        other.reset(options={"task": task})


def test_the_index_finds_every_task_and_counts_its_steps(tmp_path: Path) -> None:
    tasks = [
        {"annotation_id": f'a"[{{{n}\\', "x": {"actions": [1]}, "actions": [{"y": [{}]}] * n, "z": "]"}
        for n in range(5)
    ]
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(tasks, indent=1), encoding="utf-8")
    data = path.read_bytes()
    for _ in range(2):  # the second time from the cache
        spans = index_file(path)
        assert [span.steps for span in spans] == [0, 1, 2, 3, 4]
        assert [json.loads(data[span.start : span.end]) for span in spans] == tasks


@pytest.mark.parametrize("content", [b"", b"[", b"[{}", b"{}", b"nonsense"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(TaskError, match=r"bad\.json"):
        index_file(path)


def test_scores_rank_candidates_and_pickles_are_refused(tmp_path: Path) -> None:
    record = recorded([(12, 11, "CLICK", "")])
    for candidate in (*record["actions"][0]["pos_candidates"], *record["actions"][0]["neg_candidates"]):
        del candidate["rank"]
    scores = {"scores": {"made-up_u0": {f"n{n}": float(n) for n in range(12)}}}
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(scores), encoding="utf-8")
    step = read_record(record, read_scores(path)).steps[0]
    assert step.positives == {"n11"}
    assert set(step.pool) == {f"n{n}" for n in range(2, 12)}
    env = open_record(tmp_path, record, scores=path)
    assert env.step(env.expert_action())[1] == 1.0
    with pytest.raises(TaskError, match="nowhere"):
        read_scores(tmp_path / "nowhere.json")
    bad = tmp_path / "scores.pkl"
    bad.write_bytes(pickle.dumps(scores))
    with pytest.raises(TaskError, match=r"pickle.*Convert"):
        read_scores(bad)
    bad.rename(tmp_path / "scores2.json")
    with pytest.raises(TaskError, match="pickle"):
        read_scores(tmp_path / "scores2.json")


def test_without_scores_the_ranks_are_our_own_and_the_same_every_time() -> None:
    record = recorded([(30, 7, "CLICK", "")])
    record["confirmed_task"] = "Take choice 7"
    for candidate in (*record["actions"][0]["pos_candidates"], *record["actions"][0]["neg_candidates"]):
        del candidate["rank"]
    step = read_record(record).steps[0]
    assert step.positives == {"n7"}
    assert len(step.pool) == 10
    assert read_record(record) == read_record(record)


@pytest.mark.parametrize("missing", ["actions", "annotation_id", "action_reprs", "confirmed_task"])
def test_records_with_holes_are_named(missing: str) -> None:
    record = recorded([(3, 0, "CLICK", "")])
    del record[missing]
    with pytest.raises(TaskError, match=missing):
        read_record(record)


def test_walks_hold_nothing_hidden_and_their_html_is_the_benchmarks() -> None:
    task = BuiltinWebTasks().split("train")[0]
    walk = record_walk(task.payload, task.instruction, "w")
    for action in walk["actions"]:
        assert set(action) == {
            "action_uid",
            "operation",
            "cleaned_html",
            "raw_html",
            "pos_candidates",
            "neg_candidates",
        }
        ids = re.findall(r'backend_node_id="([^"]+)"', action["cleaned_html"])
        assert len(ids) == len(set(ids))
        for candidate in (*action["pos_candidates"], *action["neg_candidates"]):
            assert candidate["backend_node_id"] in ids
            assert json.loads(candidate["attributes"])["backend_node_id"] == candidate["backend_node_id"]
        assert "<style" not in action["cleaned_html"]
