"""What every world promises, as checks that run on any registered id: yours and ours.

    import pytest
    from cmat_gym.core.conformance import CHECKS

    @pytest.mark.parametrize("check", CHECKS)
    def test_my_world(check):
        check("my/World-v0")

Each check makes the environments it needs with `gym.make` and raises `AssertionError` where a promise is broken.
"""

from __future__ import annotations

import json
import math
import pickle
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env

from cmat_gym.core.env import MAX_ACTION_LENGTH, base_env, restore, snapshot
from cmat_gym.core.errors import TaskError, UnknownNameError, UsageError
from cmat_gym.core.protocol import PROTOCOLS, Call, format_tool_call
from cmat_gym.core.task import Task

__all__ = ["BAD_ACTIONS", "CHECKS", "SHARED_INFO", "Step", "bad_actions", "play", "walk"]

SHARED_INFO = {"task_id": str, "turn": int, "score": float, "success": bool, "valid_action": bool, "state_key": str}
LONG = 100  # turns: enough for the expert to repair whatever a walk has done
TASKS = 20  # per split
MEMORIES = (None, "dual")

BAD_ACTIONS = (
    "",
    " \n\t ",
    "\x00\x1b[2J\x7f",
    "\ud800 a lone surrogate \udfff",
    "🙂 ‮ reversed ﷽ z̸̢̛a̷l̶g̵o̸",
    "Thought: only a thought",
    "Action:",
    "Action: Action: Action:",
    "Thought: one\nAction: up\nAction: down",
    "Action: up\nObservation: I made this up",
    "[", "]", "[]", "[[[[]]]]", "()", "{}", "}{", "%s%n%d{0}", "\\", "'\"`",
    "search[", "click[]", "search[]", "click[[buy now]]", "finish[", "answer(",
    "[" * 50_000, "{" * 50_000, '{"a":' * 50_000,
    "x" * (MAX_ACTION_LENGTH + 1),
    '{"name": "up"}', '{"name": 3, "arguments": {}}', '{"name": "up", "arguments": []}', "null", '"up"', "1" * 10_000,
    '{"name": null, "arguments": null}', '{"name": "no such tool", "arguments": {"a": NaN}}', '[{"name": "up"}]',
    "<tool_call>{}</tool_call>", "<tool_call></tool_call><tool_call></tool_call>",
    "'; DROP TABLE tasks; --", "$(rm -rf /)", "../../../etc/passwd", "__import__('os').abort()", "<script>1</script>",
)  # fmt: skip
"""Actions that a world must answer with an observation, never with an exception."""


class Step(NamedTuple):
    """What a step, or a reset, gave."""

    observation: str
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]

    @property
    def ended(self) -> bool:
        """Whether it was the last one."""
        return self.terminated or self.truncated


Transcript: TypeAlias = list[Step]


def play(env: gym.Env[str, str], actions: Sequence[str]) -> Transcript:
    """Take the actions, up to the end of the episode."""
    transcript: Transcript = []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        transcript.append(Step(observation, float(reward), terminated, truncated, info))
        if transcript[-1].ended:
            break
    return transcript


def walk(env: gym.Env[str, str], turns: int, rng: np.random.Generator, *, to_end: bool = True) -> list[str]:
    """Act at random for some turns: admissible actions, the expert's, now and then a bad one. Returns the actions.

    With `to_end=False` the walk stops in the state before an action that would end the episode.
    """
    actions: list[str] = []
    for _ in range(turns):
        world = base_env(env)
        before = snapshot(env)
        listed = [world.format_call(call) for call in world.admissible_calls() or ()]
        choices = [*listed, world.expert_action(), BAD_ACTIONS[int(rng.integers(len(BAD_ACTIONS)))]]
        action = choices[int(rng.integers(len(choices)))]
        [step] = play(env, [action])
        if step.ended and not to_end:
            restore(env, before)
            continue
        actions.append(action)
        if step.ended:
            break
    return actions


def play_expert(env: gym.Env[str, str]) -> Transcript:
    """Let the expert act to the end."""
    transcript: Transcript = []
    while not transcript or not transcript[-1].ended:
        transcript += play(env, [base_env(env).expert_action()])
    return transcript


def bad_actions(world_actions: Sequence[str], rng: np.random.Generator, count: int) -> list[str]:
    """Seeded variations on valid actions: cut, doubled, reversed, with characters replaced or inserted."""
    mutations: list[Callable[[str], str]] = [
        lambda text: text[: int(rng.integers(len(text) + 1))],
        lambda text: text + text,
        lambda text: text[::-1],
        lambda text: text.upper(),
        lambda text: "".join(chr(int(rng.integers(0x3000))) if rng.random() < 0.2 else letter for letter in text),
        lambda text: text.replace("[", "[["),
        lambda text: f"Thought: {text}\nAction: {text}",
    ]
    pool = [*world_actions, *BAD_ACTIONS[:20]]
    return [mutations[int(rng.integers(len(mutations)))](pool[int(rng.integers(len(pool)))]) for _ in range(count)]


# The checks -----------------------------------------------------------------------------------------------------------


def check_gymnasium_api(env_id: str) -> None:
    """Gymnasium's own checker finds nothing to warn of."""
    for memory in MEMORIES:
        for protocol in PROTOCOLS:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                # It would rather check bare environments, but memory is part of the ones we hand out.
                warnings.filterwarnings("ignore", ".*is different from the unwrapped version.*")
                # It takes an episode of one turn for a mistake; a task may well have one.
                env = gym.make(env_id, memory=memory, protocol=protocol, max_turns=LONG, disable_env_checker=True)
                check_env(env.unwrapped)
                check_env(env)


def check_reset_and_info(env_id: str) -> None:
    """Every observation is in the space, every info has the shared keys with the right types, turns count up."""
    for memory in MEMORIES:
        env = gym.make(env_id, memory=memory)
        for seed in range(3):
            rng = np.random.default_rng(seed)
            observation, info = env.reset(seed=seed)
            transcript = [Step(observation, 0.0, False, False, info), *play(env, walk_plan(env, 8, rng))]
            for turn, step in enumerate(transcript):
                assert step.observation in env.observation_space
                assert step.info["turn"] == turn
                for key, kind in SHARED_INFO.items():
                    assert type(step.info[key]) is kind, f"info[{key!r}] is {step.info[key]!r}, not a {kind.__name__}"
                listed = step.info.get("admissible_actions", [])
                assert all(action in env.action_space for action in listed)
                assert not (step.ended and listed), "a finished episode lists admissible actions"


def walk_plan(env: gym.Env[str, str], turns: int, rng: np.random.Generator) -> list[str]:
    """The actions of a random walk from here; the environment is where it was."""
    state = snapshot(env)
    actions = walk(env, turns, rng)
    restore(env, state)
    return actions


def check_listed_actions_are_valid(env_id: str) -> None:
    """What `info["admissible_actions"]` lists is accepted, and is the same list again after a refused action."""
    for protocol in PROTOCOLS:
        env = gym.make(env_id, memory=None, protocol=protocol, max_turns=LONG)
        rng = np.random.default_rng(0)
        for seed in range(4):
            env.reset(seed=seed)
            walk(env, int(rng.integers(5)), rng, to_end=False)
            state = snapshot(env)
            _, info = restore(env, state)
            for action in info.get("admissible_actions", []):
                [step] = play(env, [action])
                assert step.info["valid_action"], f"{action!r} is listed as admissible and refused: {step.observation}"
                restore(env, state)
            [step] = play(env, [""])
            assert not step.info["valid_action"]
            assert step.info.get("admissible_actions") == info.get("admissible_actions")


def check_determinism(env_id: str) -> None:
    """Two copies with the same seed live the same life, over several episodes; another seed gives another task."""
    for memory in MEMORIES:
        env, copy = gym.make(env_id, memory=memory), gym.make(env_id, memory=memory)
        rng = np.random.default_rng(2)
        assert env.reset(seed=11) == copy.reset(seed=11)
        for _ in range(4):
            plan = walk_plan(env, 10, rng)
            assert play(env, plan) == play(copy, plan)
            assert env.reset() == copy.reset()
        drawn = {env.reset(seed=seed)[1]["task_id"] for seed in range(8)}
        assert len(drawn) > 1


def check_global_random_state(env_id: str) -> None:
    """Neither `random` nor `np.random` is drawn from or seeded."""
    before = random.getstate(), pickle.dumps(np.random.get_state())  # noqa: NPY002 - the global state is the point
    env = gym.make(env_id)
    env.reset(seed=0)
    walk(env, 10, np.random.default_rng(0), to_end=False)
    play_expert(env)
    after = random.getstate(), pickle.dumps(np.random.get_state())  # noqa: NPY002
    assert before == after


def check_pickling(env_id: str) -> None:
    """An environment that went through `pickle` in the middle of an episode goes on as if nothing had happened."""
    for memory in MEMORIES:
        env = gym.make(env_id, memory=memory)
        rng = np.random.default_rng(3)
        env.reset(seed=3)
        walk(env, 3, rng, to_end=False)
        copy = pickle.loads(pickle.dumps(env))
        plan = walk_plan(env, 10, rng)
        assert play(env, plan) == play(copy, plan)
        assert env.reset() == copy.reset()


def check_snapshots(env_id: str) -> None:
    """Going back to a snapshot equals playing the same actions again, here and in a fresh environment."""
    for memory in MEMORIES:
        for seed in range(4):
            env = gym.make(env_id, memory=memory)
            rng = np.random.default_rng(seed)
            env.reset(seed=seed)
            first = walk(env, 4, rng, to_end=False)
            state = pickle.loads(pickle.dumps(snapshot(env)))
            key = base_env(env).state_key()
            rest = walk_plan(env, 8, rng)
            expected = play(env, rest)
            expected_reset = env.reset()

            fresh = gym.make(env_id, memory=memory)
            for again in (env, fresh):
                _, info = restore(again, state)
                assert info["state_key"] == base_env(again).state_key() == key
                assert play(again, rest) == expected
                assert again.reset() == expected_reset, "the random generator is not part of the snapshot"

            replayed = gym.make(env_id, memory=memory)
            replayed.reset(seed=seed)
            play(replayed, first)
            assert base_env(replayed).state_key() == key
            assert play(replayed, rest) == expected


def check_bad_actions(env_id: str) -> None:
    """Whatever an agent says is answered with an observation, in both protocols, and costs a turn."""
    for protocol in PROTOCOLS:
        env = gym.make(env_id, memory=None, protocol=protocol, max_turns=10_000)
        rng = np.random.default_rng(5)
        _, info = env.reset(seed=5)
        world = base_env(env)
        known = [*info.get("admissible_actions", []), world.expert_action()]
        known += [format_tool_call(Call(tool.name, dict.fromkeys(tool.parameters, "x"))) for tool in world.tools]
        samples = [env.action_space.sample() for _ in range(50)]
        for action in (*BAD_ACTIONS, *samples, *bad_actions(known, rng, 150)):
            before = base_env(env).state_key()
            _, info = restore(env, snapshot(env))
            [step] = play(env, [action])
            assert step.observation in env.observation_space
            assert step.info["turn"] == info["turn"] + 1
            assert step.info["state_key"] != before, "the turn is part of the state"
            if step.ended:
                env.reset()


def check_callers_mistakes(env_id: str) -> None:
    """What the caller gets wrong raises an error that names the value and lists the choices."""
    for keyword in ("split", "protocol", "reward", "memory"):
        wrong: dict[str, Any] = {keyword: "nonsense"}
        _raises(UnknownNameError, partial(gym.make, env_id, **wrong), "nonsense", "choose")
    _raises(TypeError, lambda: gym.make(env_id, no_such_keyword=1), "no_such_keyword")
    _raises(UsageError, lambda: gym.make(env_id, max_turns=0), "max_turns", "0")
    _raises(UsageError, lambda: gym.make(env_id, discount=1.5), "discount", "1.5")
    world = base_env(gym.make(env_id))
    _raises(UsageError, lambda: world.step("up"), "reset")
    _raises(TaskError, lambda: world.reset(options={"task": "nonsense"}), "nonsense", world.tasks.task_id("train", 0))
    _raises(IndexError, lambda: world.reset(options={"task": len(world.split)}), str(len(world.split)))
    _raises(UsageError, lambda: world.reset(options={"task": 1.5}), "1.5")
    _raises(UsageError, lambda: world.reset(options={"level": 1}), "level", "task")
    world.reset(seed=0)
    _raises(UsageError, lambda: world.step(3), "3", "int")  # type: ignore[arg-type]
    world.close()
    world.close()
    _raises(UsageError, lambda: world.step("up"), "closed")
    _raises(UsageError, world.reset, "closed")


def check_truncation(env_id: str) -> None:
    """The turn limit truncates and never terminates; the task's own end terminates, also on the last turn."""
    env = gym.make(env_id, memory=None, max_turns=3)
    env.reset(seed=0)
    flags = [(step.terminated, step.truncated) for step in play(env, [""] * 5)]
    assert flags == [(False, False), (False, False), (False, True)]
    _raises(UsageError, lambda: env.step(""), "reset")

    env = gym.make(env_id, memory=None, max_turns=LONG)
    env.reset(seed=0)
    needed = len(play_expert(env))
    env = gym.make(env_id, memory=None, max_turns=needed)
    env.reset(seed=0)
    last = play_expert(env)[-1]
    assert (last.terminated, last.truncated, last.info["turn"]) == (True, False, needed)
    _raises(UsageError, lambda: env.step(""), "reset")


def check_tasks(env_id: str) -> None:
    """Tasks are found by id, survive JSON, and no content is in two splits."""
    world = base_env(gym.make(env_id))
    seen: dict[str, str] = {}
    for split, size in world.tasks.sizes().items():
        tasks = world.tasks.split(split)
        assert len(tasks) == size
        for task in tasks[: 10 * TASKS]:
            assert world.tasks.find(task.id) == task
            assert task.content_hash() == tasks.source.find(task.id).content_hash()
            assert (task.domain, task.split, task.source) == (world.domain, split, world.tasks.name)
            assert Task(**json.loads(json.dumps(task.to_json()))) == task
            assert seen.setdefault(task.content_hash(), split) == split, (
                f"{task.id} is in {seen[task.content_hash()]} too"
            )


def check_expert(env_id: str) -> None:
    """The expert scores 1.0 from the start and from wherever a random walk leads it, as fast as it says."""
    rng = np.random.default_rng(7)
    for split in base_env(gym.make(env_id)).tasks.sizes():
        env = gym.make(env_id, memory=None, split=split, max_turns=LONG)
        for index in range(min(TASKS, len(base_env(env).split))):
            for turns in (0, int(rng.integers(1, 8))):
                env.reset(seed=0, options={"task": index})
                walk(env, turns, rng, to_end=False)
                cost = base_env(env).cost_to_go()
                if turns and cost == float("inf"):
                    continue  # the walk did something that cannot be made good
                transcript = play_expert(env)
                last = transcript[-1]
                assert all(step.info["valid_action"] for step in transcript)
                assert (last.info["score"], last.info["success"], last.terminated) == (1.0, True, True)
                assert last.reward == 1.0
                assert len(transcript) == cost


def check_doing_nothing(env_id: str) -> None:
    """No plan, no score: neither at the start nor after turns without a valid action."""
    for split in base_env(gym.make(env_id)).tasks.sizes():
        env = gym.make(env_id, memory=None, split=split, max_turns=3)
        for index in range(min(TASKS, len(base_env(env).split))):
            _, info = env.reset(seed=0, options={"task": index})
            last = play(env, [""] * 3)[-1]
            for score, success in ((info["score"], info["success"]), (last.info["score"], last.info["success"])):
                assert (score, success) == (0.0, False)
            assert last.reward == 0.0


def check_progress_reward(env_id: str) -> None:
    """Shaping is potential-based: its discounted sum over any path is γ^T Φ(s_T) - Φ(s_0); the expert's steps pay 0."""
    discount = 0.9
    env = gym.make(env_id, memory=None, reward="progress", discount=discount, max_turns=12)
    plain = gym.make(env_id, memory=None, reward="outcome", max_turns=12)
    rng = np.random.default_rng(9)

    def potential() -> float:
        return math.pow(discount, base_env(env).cost_to_go())

    for seed in range(6):
        assert env.reset(seed=seed) == plain.reset(seed=seed)
        start = potential()
        actions = walk_plan(env, 12, rng)
        shaped, unshaped = play(env, actions), play(plain, actions)
        extra = [one.reward - other.reward for one, other in zip(shaped, unshaped, strict=True)]
        total = sum(discount**turn * value for turn, value in enumerate(extra))
        end = 0.0 if shaped[-1].terminated else discount ** len(extra) * potential()
        assert abs(total - (end - start)) < 1e-9
        env.reset(seed=seed)
        assert all(abs(step.reward) < 1e-12 for step in play_expert(env)[:-1])


def check_protocols(env_id: str) -> None:
    """`tools` is another spelling of the same world: equal calls lead to equal pages, rewards and states."""
    rng = np.random.default_rng(4)
    for seed in range(4):
        envs = [gym.make(env_id, memory=None, protocol=protocol, max_turns=LONG) for protocol in ("text", "tools")]
        worlds = [base_env(env) for env in envs]
        assert all(json.loads(json.dumps([tool.schema() for tool in world.tools])) for world in worlds)
        first = [env.reset(seed=seed)[0] for env in envs]
        assert first[0] == first[1]
        for _ in range(8):
            calls = [world.admissible_calls() or [] for world in worlds]
            assert calls[0] == calls[1]
            if calls[0] and rng.random() < 0.5:
                choice = int(rng.integers(len(calls[0])))
                actions = [world.format_call(calls[0][choice]) for world in worlds]
            else:
                actions = [world.expert_action() for world in worlds]
            steps = [play(env, [action])[0] for env, action in zip(envs, actions, strict=True)]
            assert steps[0][:4] == steps[1][:4]
            assert {k: steps[0].info[k] for k in SHARED_INFO} == {k: steps[1].info[k] for k in SHARED_INFO}
            if steps[0].ended:
                break


def check_workers(env_id: str) -> None:
    """Equal task ids are equal tasks in worker processes and here."""
    envs: Any = gym.make_vec(env_id, num_envs=4, mode="processes", workers=2, memory=None)
    alone = gym.make(env_id, memory=None)
    ids = [base_env(alone).tasks.task_id(split, 3) for split in base_env(alone).tasks.sizes()]
    ids = (ids * 4)[:4]
    try:
        observations, infos = envs.reset(seed=0, options={"task": ids})
        tasks = envs.get_attr("task")
    finally:
        envs.close()
    for index, task_id in enumerate(ids):
        observation, info = alone.reset(seed=0, options={"task": task_id})
        assert (observations[index], infos["state_key"][index]) == (observation, info["state_key"])
        assert tasks[index] == base_env(alone).task


def check_light_imports(env_id: str) -> None:
    """Making and stepping the world imports no deep-learning library, also where one is installed."""
    program = f"""
import pickle, sys
sys.path[:] = {sys.path!r}
import gymnasium
env = gymnasium.make(pickle.loads({pickle.dumps(gym.spec(env_id))!r}))
env.reset(seed=0)
env.step(env.unwrapped.expert_action())
print([name for name in ("torch", "transformers", "trl", "peft", "datasets") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", f"imported {done.stdout}{done.stderr}"


def _raises(kind: type[Exception], act: Callable[[], object], *words: str) -> None:
    message: str | None = None
    try:
        act()
    except kind as error:
        message = str(error)
    assert message is not None, f"no {kind.__name__} was raised"
    assert all(word in message for word in words), f"the message {message!r} does not say all of {words}"


CHECKS: tuple[Callable[[str], None], ...] = (
    check_gymnasium_api,
    check_reset_and_info,
    check_listed_actions_are_valid,
    check_determinism,
    check_global_random_state,
    check_pickling,
    check_snapshots,
    check_bad_actions,
    check_callers_mistakes,
    check_truncation,
    check_tasks,
    check_expert,
    check_doing_nothing,
    check_progress_reward,
    check_protocols,
    check_workers,
    check_light_imports,
)
"""All checks, in the order in which a new world should pass them."""
