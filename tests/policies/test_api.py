"""`APIPolicy` against a server on loopback whose answers and failures are written down; the client library is real."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cmat_gym.core.errors import BackendError, BudgetError, CmatError, UnknownNameError, UsageError
from cmat_gym.core.roles import CountedAction, Usage
from cmat_gym.core.testing import CounterEnv
from cmat_gym.policies.prompts import CUT, STYLES

pytest.importorskip("openai", reason="endpoints need the extra `api`")
from cmat_gym.policies.api import APIPolicy, Budget, Endpoint

INFO = {"task_id": "counter/builtin-v0/test/000000", "turn": 0}
SECRET = "sk-very-secret-key-0123456789"


class Script:
    """A server that answers with what it is given, in turn, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.keys: list[str] = []
        self.delay = 0.0
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def _handler(script) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with script._lock:
                    script.asked.append({"path": self.path, **body})
                    script.times.append(time.monotonic())
                    script.keys.append(self.headers["Authorization"])
                    status, answer = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
                    script.at_once += 1
                    script.most_at_once = max(script.most_at_once, script.at_once)
                time.sleep(script.delay)
                with script._lock:
                    script.at_once -= 1
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                if status == 429:
                    self.send_header("Retry-After-Ms", "20")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        return Handler

    def policy(self, *, budget: Budget | None = None, protocol: str = "text", **point: Any) -> APIPolicy:
        return APIPolicy(Endpoint("model", base_url=self.url, **point), CounterEnv(protocol=protocol), budget=budget)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    made = Script()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def chat(text: str | None, *, calls: Sequence[tuple[str, str]] = (), usage: tuple[int, int] | None = (10, 3)) -> Any:
    tool_calls = [
        {"id": str(number), "type": "function", "function": {"name": name, "arguments": arguments}}
        for number, (name, arguments) in enumerate(calls)
    ]
    message = {"role": "assistant", "content": text, **({"tool_calls": tool_calls} if calls else {})}
    return 200, _answer("chat.completion", {"index": 0, "finish_reason": "stop", "message": message}, usage)


def completion(text: str) -> Any:
    return 200, _answer("text_completion", {"index": 0, "finish_reason": "stop", "text": text}, (7, 2))


def _answer(kind: str, choice: dict[str, Any], usage: tuple[int, int] | None) -> dict[str, Any]:
    counts = (
        None
        if usage is None
        else {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    )
    return {"id": "1", "object": kind, "created": 0, "model": "model", "choices": [choice], "usage": counts}


def test_chat_sends_system_prompt_and_observation_and_counts_tokens(script: Script) -> None:
    script.answers = [chat(" up \n")]
    policy = script.policy(price=(2.0, 10.0), max_new_tokens=20, seed=4, extra={"top_k": 1})
    [action] = policy.act(["It shows 3."], [INFO])
    assert action == "up"
    assert isinstance(action, CountedAction)
    assert action.usage == Usage(10, 3, (10 * 2 + 3 * 10) / 1e6)
    assert script.asked == [
        {
            "path": "/v1/chat/completions",
            "model": "model",
            "temperature": 0.0,
            "max_tokens": 20,
            "seed": 4,
            "top_k": 1,
            "messages": [
                {"role": "system", "content": CounterEnv().system_prompt},
                {"role": "user", "content": "It shows 3."},
            ],
        }
    ]
    assert script.keys == [f"Bearer {SECRET}"]


def test_text_completions_write_the_prompt_out_and_stop(script: Script) -> None:
    script.answers = [completion("up<|im_end|>\nand more")]
    policy = script.policy(kind="completions", style="chatml", stop=("\n\n",))
    assert policy.act(["It shows 3."], [INFO]) == ["up"], "cut here too, where the server does not know `stop`"
    [asked] = script.asked
    assert asked["path"] == "/v1/completions"
    assert asked["prompt"] == STYLES["chatml"].render(CounterEnv().system_prompt, "It shows 3.")
    assert asked["stop"] == ["<|im_end|>", "<|im_start|>", "\n\n"]


def test_tools_are_offered_and_calls_come_back_as_the_protocol_writes_them(script: Script) -> None:
    env = CounterEnv(protocol="tools")
    name = env.tools[0].name
    arguments = json.dumps(dict.fromkeys(env.tools[0].parameters, "x"))
    script.answers = [
        chat(None, calls=[(name, arguments)]),
        chat(None, calls=[(name, arguments), (name, arguments)]),
        chat(None, calls=[(name, "{broken")]),
        chat("no call"),
    ]
    policy = script.policy(protocol="tools", concurrency=1)
    one, two, broken, none = policy.act([""] * 4, [INFO] * 4)
    assert script.asked[0]["tools"] == [tool.schema() for tool in env.tools]
    assert json.loads(one) == {"name": name, "arguments": json.loads(arguments)}
    assert two.count("<tool_call>") == 2
    assert none == "no call"
    for action, valid in ((one, True), (two, False), (broken, False), (none, False)):
        env.reset(seed=0)
        assert env.step(action)[4]["valid_action"] is valid
    script.asked.clear()
    script.policy(protocol="tools", tool_calls=False).act([""], [INFO])
    script.policy(protocol="text").act([""], [INFO])
    assert all("tools" not in asked for asked in script.asked)


def test_a_busy_or_failing_endpoint_is_asked_again(script: Script) -> None:
    script.answers = [(429, {"error": {"message": "slow down"}}), (503, {}), chat("up")]
    assert script.policy(retries=2).act([""], [INFO]) == ["up"]
    assert len(script.asked) == 3
    assert script.times[2] - script.times[1] > 0.2, "the pauses grow"


def test_an_endpoint_that_stays_away_is_a_backend_error(script: Script) -> None:
    script.answers = [(500, {"error": {"message": f"on fire, {SECRET}"}})]
    with pytest.raises(BackendError, match="busy or failed, after 1 retries") as raised:
        script.policy(retries=1).act([""], [INFO])
    assert SECRET not in str(raised.value)
    script.server.shutdown()
    script.server.server_close()
    with pytest.raises(BackendError, match="does not answer, after 0 retries"):
        script.policy(retries=0).act([""], [INFO])


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_is_the_callers_and_never_shows_the_key(
    status: int, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    script.answers = [(status, {"error": {"message": f"no: {SECRET}"}})]
    expected = "refuses the key in OPENAI_API_KEY" if status in (401, 403) else "refuses the request.*no: …"
    with pytest.raises(UsageError, match=expected) as raised:
        script.policy().act([""], [INFO])
    assert len(script.asked) == 1, "asking again would change nothing"
    assert SECRET not in str(raised.value)
    assert SECRET not in caplog.text


def test_the_budget_ends_the_run(script: Script) -> None:
    script.answers = [chat("up")]
    budget = Budget(tokens=30)
    policy = script.policy(budget=budget, concurrency=1)
    with pytest.raises(BudgetError, match="tokens 39 of 30 after 3 requests"):
        policy.act([""] * 5, [INFO] * 5)
    assert len(script.asked) == 3
    costly = script.policy(budget=Budget(cost=1e-5), price=(1.0, 1.0), concurrency=1)
    with pytest.raises(BudgetError, match=r"cost 1\.3e-05 of 1e-05 after 1 requests"):
        costly.act([""] * 2, [INFO] * 2)
    with pytest.raises(UsageError, match="needs the prices"):
        script.policy(budget=Budget(cost=1.0))


def test_without_usage_there_is_an_answer_but_no_budget(script: Script) -> None:
    script.answers = [chat("up", usage=None)]
    [action] = script.policy().act([""], [INFO])
    assert action == "up"
    assert not isinstance(action, CountedAction)
    with pytest.raises(BackendError, match="does not report usage"):
        script.policy(budget=Budget(tokens=5)).act([""], [INFO])


def test_requests_run_side_by_side_and_keep_their_order(script: Script) -> None:
    script.answers, script.delay = [chat("up")], 0.1
    script.policy(concurrency=4).act([""] * 8, [INFO] * 8)
    assert 2 <= script.most_at_once <= 4
    script.answers = [chat(str(number)) for number in range(5)]
    script.delay = 0.0
    assert script.policy(concurrency=1).act([""] * 5, [INFO] * 5) == list("01234")


def test_the_rate_limit_spaces_requests(script: Script) -> None:
    script.answers = [chat("up")]
    script.policy(requests_per_minute=600).act([""] * 4, [INFO] * 4)
    assert max(script.times) - min(script.times) > 0.25


def test_long_observations_lose_their_beginning(script: Script) -> None:
    script.answers = [chat("up")]
    script.policy(max_observation=10).act(["0123456789abcdef"], [INFO])
    assert script.asked[0]["messages"][1]["content"] == CUT + "6789abcdef"


def test_a_key_is_asked_for_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(UsageError, match="'gpt-x' needs a key in the environment variable OPENAI_API_KEY"):
        APIPolicy("gpt-x")
    APIPolicy(Endpoint("gpt-x", base_url="http://127.0.0.1:9/v1"))


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Endpoint("m", kind="chats"), UnknownNameError),
        (lambda: Endpoint("m", style="vicuna"), UnknownNameError),
        (lambda: Endpoint("m", max_new_tokens=0), UsageError),
        (lambda: Endpoint("m", requests_per_minute=0), UsageError),
        (lambda: Endpoint("m", base_url="http://me:secret@127.0.0.1/v1"), UsageError),
    ],
)
def test_impossible_endpoints_are_refused(make: Callable[[], Endpoint], error: type[CmatError]) -> None:
    with pytest.raises(error):
        make()
