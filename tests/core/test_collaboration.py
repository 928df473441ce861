"""User, Assistant and Checker together: review before execution, bounded revision, memory, reflection, retry."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import pytest

from cmat_gym.core.collaboration import Assistant, Collaboration
from cmat_gym.core.critics import PolicyCritic, state_values
from cmat_gym.core.errors import UsageError
from cmat_gym.core.lessons import LessonStore
from cmat_gym.core.memory import MemoryConfig
from cmat_gym.core.reflection import PolicyReflector, RuleReflector, transcript
from cmat_gym.core.roles import (
    CountedAction,
    FunctionCritic,
    Info,
    NotedAction,
    Review,
    SampledAction,
    TokenSample,
    Usage,
    add_usage,
    with_notes,
)
from cmat_gym.core.rollout import rollout
from cmat_gym.core.testing import CounterEnv
from cmat_gym.core.trajectory import Trajectory
from cmat_gym.core.user import TemplateUser
from cmat_gym.evaluation.evaluate import evaluate
from cmat_gym.evaluation.panel import Panel
from cmat_gym.policies.scripted import FunctionPolicy

COUNTER_ID = "cmat-test/Counter-v0"
INFOS: list[Info] = [{"task_id": "counter/x"}] * 3


class Script:
    """A policy that says given lines one after the other, and remembers what it was shown."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.seen: list[str] = []

    def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        self.seen.extend(observations)
        return [self.lines.pop(0) for _ in observations]


def by_word(scores: dict[str, float], accept_from: float = 0.5) -> FunctionCritic:
    return FunctionCritic(lambda observation, action, info: scores[str(action)], threshold=accept_from)


# One turn ------------------------------------------------------------------------------------------------------------


class Spoken:
    """Rejects whatever is not `down`, in words."""

    def review(self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]) -> list[Review]:
        return [Review(action == "down", 0.3, feedback="go the other way") for action in actions]


def test_a_rejected_action_is_revised_on_the_feedback() -> None:
    """Fails when the feedback or the rejected action does not reach the assistant, or the first draft is executed."""
    assistant = Script("up", "down")
    [action] = Collaboration(assistant, checker=Spoken()).act(["It shows 0."], INFOS[:1])
    assert action == "down"
    assert assistant.seen == [
        "It shows 0.",
        "Your action 'up' was held back by the checker: go the other way\nGive another action.\nIt shows 0.",
    ]


def test_revision_is_bounded_and_the_best_draft_is_carried_out() -> None:
    """Fails when revising goes on beyond the bound, or when the last or the first draft is taken blindly."""
    scores = {"a": 0.1, "b": 0.4, "c": 0.2}
    assistant = Script("a", "b", "c", "never asked")
    [action] = Collaboration(assistant, checker=by_word(scores), max_revisions=2).act(["o"], INFOS[:1])
    assert action == "b"
    assert assistant.lines == ["never asked"]
    assert isinstance(action, NotedAction)
    assert action.notes["review"]["reward"] == 0.4
    assert [(draft["action"], draft["reward"]) for draft in action.notes["drafts"]] == [("a", 0.1), ("c", 0.2)]
    # Of equally judged drafts the latest, which knows the most feedback.
    assert Collaboration(Script("a", "b"), checker=lambda o, a, i: -1.0).act(["o"], INFOS[:1]) == ["b"]
    assert Collaboration(Script("a"), checker=by_word(scores), max_revisions=0).act(["o"], INFOS[:1]) == ["a"]


def test_only_what_was_rejected_is_revised() -> None:
    """Fails when accepted actions of a batch are asked for again, or when answers are handed to the wrong turn."""
    scores = {"bad": 0.0, "good": 1.0, "fine": 0.6, "better": 0.9}
    assistant = Script("bad", "good", "bad", "better", "bad", "fine")
    actions = Collaboration(assistant, checker=by_word(scores), max_revisions=3).act(["1", "2", "3"], INFOS)
    assert actions == ["better", "good", "fine"]
    assert [text[-1] for text in assistant.seen] == ["1", "2", "3", "1", "3", "3"]


def test_a_failing_checker_lets_pass_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Fails when a broken judge ends episodes, or when nobody hears of it."""
    collaboration = Collaboration(Script("up", "up"), checker=lambda o, a, i: 1 / 0)
    assert collaboration.act(["o"], INFOS[:1]) == ["up"]
    assert "division by zero" in caplog.text
    collaboration.checker = FunctionCritic(lambda o, a, i: float("nan"))
    assert collaboration.act(["o"], INFOS[:1]) == ["up"]
    assert collaboration.checker_failures == 2


def test_notes_and_tokens_stay_with_an_action() -> None:
    """Fails when a review strips an action of its tokens: the trainer would have nothing to learn from."""
    sample = TokenSample((1,), (2,), (-0.5,))
    action = with_notes(SampledAction("up", sample, {"a": 1}), b=2)
    for twin in (action, pickle.loads(pickle.dumps(action)), copy.deepcopy(action)):
        assert isinstance(twin, SampledAction)
        assert (twin, twin.sample, twin.notes) == ("up", sample, {"a": 1, "b": 2})
    plain = pickle.loads(pickle.dumps(with_notes("down", c=3)))
    assert (plain, plain.notes, type(plain)) == ("down", {"c": 3}, NotedAction)


def test_a_turn_costs_all_of_its_drafts() -> None:
    """Fails when revisions are free in the record, or when an unknown price passes for none."""
    drafts = [CountedAction("a", Usage(10, 1, 0.5)), CountedAction("b", Usage(20, 2, 0.25))]

    class Counts:
        def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
            return [drafts.pop(0)]

    [action] = Collaboration(Counts(), checker=by_word({"a": 0.0, "b": 1.0})).act(["o"], INFOS[:1])
    assert isinstance(action, CountedAction)
    assert (action, action.usage) == ("b", Usage(30, 3, 0.75))
    assert action.notes["drafts"][0]["action"] == "a"
    twin = pickle.loads(pickle.dumps(action))
    assert (twin, twin.usage, twin.notes) == (action, action.usage, action.notes)
    assert add_usage([Usage(1, 1, 0.5), Usage(1, 1)]) == Usage(2, 2, None)


# Whole episodes ------------------------------------------------------------------------------------------------------


def test_a_language_models_review_is_read() -> None:
    """Fails when verdict, score or feedback is misread, or when mumbling rejects."""
    answers = [
        "Verdict: reject\nScore: 0.2\nFeedback: look first",
        "verdict: ACCEPT",
        "Score: .7",
        "Score: 40",
        "Score: 0.1\nFeedback: no",
        "hm",
        "Verdict: accept\nVerdict: reject",
    ]
    judge = Script(*answers)
    critic = PolicyCritic(judge)
    reviews = critic.review(["page"] * 7, ["buy"] * 7, [INFOS[0]] * 7)
    assert [(r.accept, r.reward, r.feedback) for r in reviews] == [
        (False, 0.2, "look first"),
        (True, 1.0, ""),
        (True, 0.7, ""),
        (True, 1.0, ""),
        (False, 0.1, "no"),
        (True, 0.0, ""),
        (True, 1.0, ""),
    ]
    assert critic.unreadable == 1
    assert judge.seen[0].startswith("page\n\nThe assistant wants to do this next: buy\n")
    assert critic.review([], [], []) == []


def test_values_of_states_by_any_critic() -> None:
    """Fails when a critic's value is confused with its reward, or a function is shown an action."""

    class Values:
        def review(self, o: Sequence[str], a: Sequence[str], i: Sequence[Info]) -> list[Review]:
            return [Review(reward=9.0, value=0.25) for _ in a]

    class Direct(Values):
        def state_values(self, observations: Sequence[str], infos: Sequence[Info]) -> list[float]:
            return [0.75 for _ in observations]

    assert state_values(FunctionCritic(lambda o, a, i: len(o) + 100 * len(a)), ["abc"], INFOS[:1]) == [3.0]
    assert state_values(Values(), ["abc"], INFOS[:1]) == [0.25]
    assert state_values(Direct(), ["abc"], INFOS[:1]) == [0.75]
    assert state_values(Direct(), [], []) == []
    with pytest.raises(UsageError, match="one finite number each"):
        state_values(FunctionCritic(lambda o, a, i: float("inf")), ["a"], INFOS[:1])


def test_the_checker_turns_failure_into_success() -> None:
    """Fails when the collaboration is not a policy like any other, or when records lack the reviews."""
    panel = Panel.of(COUNTER_ID, "test", 6)

    def checker(observation: str, action: str, info: Info) -> float:
        target = int(observation.partition("counter to ")[2].partition(".")[0])
        shown = int(observation.rpartition("It shows ")[2].rstrip("."))
        return 1.0 if action == ("stop" if shown == target else "up" if target > shown else "down") else -1.0

    def guess(observation: str, info: Info) -> str:
        tried = [word for word in ("up", "down", "stop") if f"action '{word}' was held back" in observation]
        return {"": "up", "up": "down", "down": "stop"}[tried[0] if tried else ""]

    env_kwargs = {"max_turns": 400}
    alone = evaluate(lambda envs: FunctionPolicy(guess), COUNTER_ID, panel, **env_kwargs)
    both = evaluate(
        lambda envs: Collaboration(FunctionPolicy(guess), checker=checker, max_revisions=2),
        COUNTER_ID,
        panel,
        **env_kwargs,
    )
    assert alone.success.estimate == 0.0
    assert both.success.estimate == 1.0
    env = gym.make(COUNTER_ID)
    [record] = Collaboration(FunctionPolicy(guess), checker=checker, max_revisions=2).play([env], [0])
    assert record.success
    assert record.turns[0].notes["drafts"][0]["action"] == "up"
    assert record.turns[0].notes["review"]["accept"] is True


class Teacher:
    """Reflects with one and the same insight."""

    def __init__(self) -> None:
        self.seen: list[Trajectory] = []

    def reflect(self, trajectories: Sequence[Trajectory]) -> list[list[str]]:
        self.seen.extend(trajectories)
        return [["Count down."] for _ in trajectories]


def counter(store: LessonStore | None = None, **kwargs: Any) -> Any:
    return gym.make(COUNTER_ID, max_turns=12, lessons=store, **kwargs)


def count_to(observation: str, info: Info) -> str:
    """Counts up; knows how to stop, and to go down where a lesson says so."""
    target = int(observation.partition("counter to ")[2].partition(".")[0])
    shown = int(observation.rpartition("It shows ")[2].rstrip("."))
    return "stop" if shown == target else "down" if "Lessons:\n- Count down." in observation else "up"


def test_lessons_of_one_episode_help_the_next_in_every_environment() -> None:
    """Fails when nothing is remembered, when only one environment learns, or when context and family are lost."""
    teacher = Teacher()
    envs = [counter(), counter()]
    # The two environments have a store each; what is learned in either goes into both.
    other = next(i for i in range(99) if int(CounterEnv().split[i].instruction[21:-1]) > 12)
    records = Collaboration(FunctionPolicy(count_to), reflector=teacher).play(envs, [0, other])
    assert [record.success for record in records] == [False, False]
    assert [t.task_id for t in teacher.seen] == [record.task_id for record in records]
    contexts = "\n".join(record.instruction for record in records)
    for env in envs:
        [lesson] = env.get_wrapper_attr("store").lessons
        assert (lesson.text, lesson.context, lesson.family) == ("Count down.", contexts, "counter")
    assert Collaboration(FunctionPolicy(count_to)).play(envs, [0])[0].success


def test_retry_with_lessons_solves_without_new_weights() -> None:
    """Fails when solved tasks are played again, when lessons come too late, or when attempts are not bounded."""
    store = LessonStore()
    attempts = Collaboration(FunctionPolicy(count_to), reflector=Teacher()).retry([counter(store)], [0, 0], attempts=3)
    assert [[t.success for t in attempt.trajectories] for attempt in attempts] == [[False, True], [False, True]]
    assert [attempt.lessons for attempt in attempts] == [[["Count down."]], [["Count down."]]]
    assert attempts[0].final.success
    never = Collaboration(FunctionPolicy(lambda o, i: "up"), reflector=Teacher())
    [attempt] = never.retry([counter()], [0], attempts=3)
    assert len(attempt.trajectories) == 3
    assert len(attempt.lessons) == 3
    [content] = never.retry([counter()], [0], solved=lambda trajectory: True)
    assert (len(content.trajectories), content.lessons) == (1, [])


def test_the_users_words_open_the_episode_and_questions_are_answered() -> None:
    """Fails when the loop leaves the user out, or when on_turn is not told of every turn."""
    assistant = Script("ask[Which way?]", "down", *["up"] * 20)
    turns: list[int] = []
    collaboration = Collaboration(assistant, user=TemplateUser("Kindly {instruction}", "down, I say"), max_questions=1)
    [record] = collaboration.play([counter()], [0], on_turn=lambda index, t: turns.append(len(t.turns)))
    assert "Kindly Bring the counter" in record.turns[0].observation
    assert "The user says: down, I say" in record.turns[1].observation
    assert record.turns[0].notes["question"] == "Which way?"
    assert len(record.turns) == 13 == len(turns)  # the question took none of the twelve turns


def test_an_error_in_a_world_teaches_nothing() -> None:
    """Fails when an episode that broke off is reflected on as if the agent had failed."""
    teacher = Teacher()
    env = counter()
    env.unwrapped._apply = lambda call: 1 / 0
    [record] = Collaboration(FunctionPolicy(lambda o, i: "up"), reflector=teacher).play([env], [0])
    assert record.error is not None
    assert teacher.seen == []


# Reflection ----------------------------------------------------------------------------------------------------------


def play(*actions: str, task: int = 0, **kwargs: Any) -> Trajectory:
    [record] = rollout([counter(**kwargs)], Script(*actions, *["up"] * 20), [task])
    return record


def test_rules_name_what_went_wrong() -> None:
    """Fails when a refusal, a repetition, a bad end or the turn limit is not seen, or a success is blamed."""
    [lessons] = RuleReflector(lessons=9).reflect([play("fly", "up", "stop")])
    assert lessons == [
        "'stop' ended the task too early: first check that all that was asked for is done.",
        "'fly' was refused: say up, down or stop.",
    ]
    [lessons] = RuleReflector(lessons=9).reflect([play("up", "up", "Thought: hm\nAction: down")])
    assert "Do not repeat 'up' when it changes nothing; try something else." in lessons
    assert lessons[-1] == "All 12 turns were used up: come to the point sooner."
    assert len(RuleReflector(lessons=1).reflect([play("fly", "up", "stop")])[0]) == 1
    success = play(*["down"] * 5, "stop")
    assert success.success
    assert RuleReflector().reflect([success]) == [[]]
    [[worked]] = RuleReflector(successes=True).reflect([success])
    assert "'down', 'stop'" in worked
    with pytest.raises(UsageError, match="at least 1"):
        RuleReflector(0)


def test_a_language_model_reflects_on_what_happened() -> None:
    """Fails when the transcript lacks task, actions, outcomes or the score, or when lines are misread."""
    writer = Script("I see.\nLesson: Go  down.\nlesson 2: Stop in time.\nLesson: a third", "no idea")
    reflector = PolicyReflector(writer, lessons=2)
    failure = play("fly", "up", "stop")
    success = play(*["down"] * 5, "stop")
    assert reflector.reflect([success, failure, failure]) == [[], ["Go down.", "Stop in time."], []]
    assert writer.seen[0].startswith(
        "Task: Bring the counter to -5.\n1. fly -> Invalid action: say up, down or stop.\n2. up -> It shows 1.\n"
    )
    assert "The task was not solved: the score is 0.00 of 1." in writer.seen[0]
    helped = PolicyReflector(Script("no idea"), fallback=RuleReflector(1))
    assert helped.reflect([failure])[0][0].startswith("'stop' ended the task")
    assert PolicyReflector(Script()).reflect([success]) == [[]]


def test_long_transcripts_lose_their_middle() -> None:
    lines = transcript(play(), most_turns=4).splitlines()
    assert [line[:2] for line in lines] == ["Ta", "1.", "2.", "[.", "11", "12"]
    assert lines[3] == "[... 8 turns ...]"


# Bad calls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Collaboration(Script(), max_revisions=-1), "max_revisions must be >= 0"),
        (lambda: Collaboration(3), "needs a policy"),  # type: ignore[arg-type]
        (lambda: Collaboration(Script(), checker=3), "A critic is a function"),  # type: ignore[arg-type]
        (lambda: Collaboration(Script(), max_questions=1), "needs a user"),
        (lambda: Collaboration(Script(), reflector=3), "A reflector has"),  # type: ignore[arg-type]
        (lambda: Collaboration(Script()).retry([counter()], [0]), "give the Collaboration a reflector"),
        (lambda: Collaboration(Script(), reflector=Teacher()).retry([], [0]), "at least one environment"),
        (lambda: Collaboration(Script(), reflector=Teacher()).retry([counter()], [0], attempts=0), "at least 1"),
        (lambda: Collaboration(Script(), reflector=Teacher()).retry([counter(memory=None)], [0]), "long-term memory"),
        (
            lambda: Collaboration(Script(), reflector=Teacher()).retry([counter(memory=MemoryConfig(lessons=0))], [0]),
            "long-term memory",
        ),
        (lambda: PolicyReflector(Script(), most_turns=1), "most_turns >= 2"),
    ],
)
def test_bad_calls_name_the_way_out(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


def test_a_policy_that_answers_too_little_is_named() -> None:
    class Silent:
        def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
            return []

    with pytest.raises(UsageError, match=r"Silent\.act gave 0 actions for 1"):
        Assistant(Silent()).act(["o"], INFOS[:1])
