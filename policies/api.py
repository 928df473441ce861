"""`APIPolicy`: a model behind an OpenAI-compatible endpoint as the actor.

Chat and legacy text completions, function calls for the protocol `tools`, several requests at a time. Retries with
growing pauses are the client library's own (extra `api`); the rate limit and the budget are here. The key comes from an
environment variable and reaches neither records nor messages.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import gymnasium as gym

from cmat_gym.core.env import base_env
from cmat_gym.core.errors import BackendError, BudgetError, UsageError, choose, require
from cmat_gym.core.roles import CountedAction, Info, Usage
from cmat_gym.policies import prompts

__all__ = ["ENDPOINTS", "APIPolicy", "Budget", "Endpoint"]

ENDPOINTS = ("chat", "completions")
NO_KEY = "none"  # for servers that ask for none; the client library insists on some key
_DEFAULT_KEY = "OPENAI_API_KEY"


@dataclass(frozen=True)
class Endpoint:
    """Which model to ask, where, and how.

    Attributes:
        model: The model's name at the endpoint.
        base_url: Address up to and with `/v1`; None takes `$OPENAI_BASE_URL`, else OpenAI's own.
        kind: `chat`, or `completions` for the legacy text completions, whose prompt is written out here.
        style: Name of the prompt of text completions, one of `prompts.STYLES`.
        key_variable: Environment variable that holds the key; with a `base_url` it may be missing.
        max_new_tokens: Tokens of one answer at most.
        max_observation: Characters of an observation; longer ones lose their beginning and say so in its place. None
            sends all, and a prompt that is too long for the model ends the run with the endpoint's own words.
        temperature: Of the sampling; 0 is greedy.
        stop: Texts at which an answer ends, besides those of the style.
        seed: Sent along where it is not None; what it does is up to the endpoint.
        tool_calls: In the protocol `tools`, offer the world's tools as functions; False leaves them to the prompt.
        limit_name: What the endpoint calls the limit of tokens: OpenAI's newer models want `max_completion_tokens`.
        extra: Further fields of every request.
        timeout: Seconds to wait for an answer.
        retries: How often a request is sent again when the endpoint is busy, failed or did not answer.
        concurrency: Requests that are under way at the same time.
        requests_per_minute: Requests begun in a minute at most, retries not counted; None for no limit.
        price: Price of a million tokens read and of a million written; None where it is not known.
    """

    model: str
    base_url: str | None = None
    kind: str = "chat"
    style: str = "plain"
    key_variable: str = _DEFAULT_KEY
    max_new_tokens: int = 512
    max_observation: int | None = None
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tool_calls: bool = True
    limit_name: str = "max_tokens"
    extra: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 120.0
    retries: int = 6
    concurrency: int = 8
    requests_per_minute: float | None = None
    price: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be asked with."""
        choose("kind of endpoint", self.kind, ENDPOINTS)
        choose("prompt style", self.style, prompts.STYLES)
        if self.max_new_tokens < 1 or self.temperature < 0 or self.concurrency < 1 or self.retries < 0:
            raise UsageError(
                f"max_new_tokens >= 1, temperature >= 0, concurrency >= 1 and retries >= 0 are expected, got {self}"
            )
        if self.base_url is not None and "@" in urlsplit(self.base_url).netloc:
            raise UsageError("base_url must hold no password, as it is printed: put the key into the environment")
        if self.requests_per_minute is not None and self.requests_per_minute <= 0:
            raise UsageError(f"requests_per_minute must be above 0, got {self.requests_per_minute}")


@dataclass
class Budget:
    """What may be spent, and what was.

    It is checked before each request, so the answers that are under way at that time still come on top.

    Attributes:
        tokens: Tokens read and written at most; None for no limit.
        cost: Cost at most, in the currency of the prices; None for no limit.
    """

    tokens: int | None = None
    cost: float | None = None
    spent_tokens: int = field(default=0, init=False)
    spent_cost: float = field(default=0.0, init=False)
    requests: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def check(self) -> None:
        """Refuse another request when all is spent.

        Raises:
            BudgetError: It is.
        """
        with self._lock:
            for name, spent, limit in (
                ("tokens", self.spent_tokens, self.tokens),
                ("cost", self.spent_cost, self.cost),
            ):
                if limit is not None and spent >= limit:
                    raise BudgetError(
                        f"The budget is spent: {name} {spent:,.6g} of {limit:,.6g} after {self.requests} requests. "
                        "Tasks that were recorded are kept; go on with a larger budget"
                    )

    def add(self, usage: Usage) -> None:
        """Count an answer."""
        with self._lock:
            self.requests += 1
            self.spent_tokens += usage.prompt_tokens + usage.sampled_tokens
            self.spent_cost += usage.cost or 0.0


class APIPolicy:
    """Acts by asking an endpoint.

    Args:
        endpoint: Which model to ask and how; a name asks that model with everything else as usual.
        env: A world to take system prompt and tools from; see `read_world`.
        budget: What may be spent, also by several policies together.

    Raises:
        UsageError: OpenAI's own address without a key, or a budget of cost without prices.
        MissingExtraError: The extra `api` is not installed.
    """

    def __init__(
        self,
        endpoint: Endpoint | str,
        env: gym.Env[Any, Any] | None = None,
        *,
        budget: Budget | None = None,
    ) -> None:
        self._openai = require("openai", "api")
        self.endpoint = Endpoint(endpoint) if isinstance(endpoint, str) else endpoint
        self.budget = budget or Budget()
        if self.budget.cost is not None and self.endpoint.price is None:
            raise UsageError(f"A budget of cost needs the prices of {self.endpoint.model!r}: price=(read, written)")
        self._key = self._read_key()
        self._client = self._openai.OpenAI(
            api_key=self._key,
            base_url=self.endpoint.base_url,
            timeout=self.endpoint.timeout,
            max_retries=self.endpoint.retries,
        )
        self._pace = _Pace(self.endpoint.requests_per_minute)
        self.system_prompts: dict[str, str] = {}
        self.tools: dict[str, list[dict[str, Any]]] = {}
        if env is not None:
            self.read_world(env)

    def read_world(self, env: gym.Env[Any, Any]) -> None:
        """Learn how to introduce the world of `env`, and in the protocol `tools` what can be called there."""
        world = base_env(env)
        self.system_prompts[world.domain] = world.system_prompt
        self.tools[world.domain] = [tool.schema() for tool in world.tools] if world.protocol == "tools" else []

    def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """Ask for one action for each observation, several at a time.

        Raises:
            BudgetError: The budget is spent.
            UsageError: The endpoint refuses the request or the key.
            BackendError: It does not answer, also after the retries.
        """
        with ThreadPoolExecutor(self.endpoint.concurrency) as pool:
            return list(pool.map(self._ask, observations, infos))

    # One question ---------------------------------------------------------------------------------------------------

    def _ask(self, observation: str, info: Info) -> str:
        domain = str(info["task_id"]).partition("/")[0]
        system = self.system_prompts.get(domain, "")
        if self.endpoint.max_observation is not None and len(observation) > self.endpoint.max_observation:
            observation = prompts.CUT + observation[-self.endpoint.max_observation :]
        self.budget.check()
        self._pace.wait()
        try:
            if self.endpoint.kind == "chat":
                text, usage = self._chat(system, observation, self.tools.get(domain, []))
            else:
                text, usage = self._complete(system, observation)
        except self._openai.OpenAIError as error:
            raise self._explain(error) from None  # the cause holds the request, and the request the key
        if usage is None:
            if self.budget.tokens is not None or self.budget.cost is not None:
                raise BackendError(f"{self._place()} does not report usage, so that no budget can be kept")
            return text
        self.budget.add(usage)
        return CountedAction(text, usage)

    def _chat(self, system: str, observation: str, tools: Sequence[Mapping[str, Any]]) -> tuple[str, Usage | None]:
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": observation})
        offered = {"tools": list(tools)} if tools and self.endpoint.tool_calls else {}
        answer = self._client.chat.completions.create(messages=messages, **offered, **self._fields(self.endpoint.stop))
        message = self._first(answer).message
        if message.tool_calls:
            return _write_calls(message.tool_calls), self._usage(answer)
        return prompts.cut_at(message.content or "", self.endpoint.stop).strip(), self._usage(answer)

    def _complete(self, system: str, observation: str) -> tuple[str, Usage | None]:
        style = prompts.STYLES[self.endpoint.style]
        stop = (*style.stop, *self.endpoint.stop)
        answer = self._client.completions.create(prompt=style.render(system, observation), **self._fields(stop))
        # Cut here as well: not every server knows `stop`, and some leave the mark in.
        return prompts.cut_at(self._first(answer).text or "", stop).strip(), self._usage(answer)

    def _fields(self, stop: tuple[str, ...]) -> dict[str, Any]:
        """What chat and text completions are both asked with."""
        point = self.endpoint
        given: dict[str, Any] = {"model": point.model, "temperature": point.temperature}
        if stop:
            given["stop"] = list(stop)
        if point.seed is not None:
            given["seed"] = point.seed
        # Through `extra_body`, as the client's own argument names differ between its versions.
        return given | {"extra_body": {point.limit_name: point.max_new_tokens, **point.extra}}

    def _first(self, answer: Any) -> Any:
        if not answer.choices:
            raise BackendError(f"{self._place()} answered without a choice")
        return answer.choices[0]

    def _usage(self, answer: Any) -> Usage | None:
        if answer.usage is None:
            return None
        read, written = int(answer.usage.prompt_tokens), int(answer.usage.completion_tokens or 0)
        price = self.endpoint.price
        cost = None if price is None else (read * price[0] + written * price[1]) / 1e6
        return Usage(read, written, cost)

    # Keys and errors ------------------------------------------------------------------------------------------------

    def _read_key(self) -> str:
        key = os.environ.get(self.endpoint.key_variable, "")
        own_server = self.endpoint.base_url or os.environ.get("OPENAI_BASE_URL")
        if not key and not own_server:
            raise UsageError(
                f"{self.endpoint.model!r} needs a key in the environment variable {self.endpoint.key_variable}, "
                "or base_url= for a server of your own"
            )
        return key or NO_KEY

    def _place(self) -> str:
        return f"{self.endpoint.model!r} at {self._client.base_url}"

    def _explain(self, error: Exception) -> Exception:
        """An error of the client library as one of ours, without the key."""
        message = str(error).replace(self._key, "…") if self._key != NO_KEY else str(error)
        if isinstance(error, self._openai.AuthenticationError | self._openai.PermissionDeniedError):
            # The endpoint's own words may repeat parts of the key.
            return UsageError(f"{self._place()} refuses the key in {self.endpoint.key_variable}")
        if isinstance(error, self._openai.RateLimitError | self._openai.InternalServerError):
            return BackendError(f"{self._place()} is busy or failed, after {self.endpoint.retries} retries: {message}")
        if isinstance(error, self._openai.APIStatusError):
            return UsageError(f"{self._place()} refuses the request: {message}")
        return BackendError(f"{self._place()} does not answer, after {self.endpoint.retries} retries: {message}")


class _Pace:
    """Lets requests begin at equal distances, whatever thread they come from."""

    def __init__(self, per_minute: float | None) -> None:
        self.pause = 60 / per_minute if per_minute is not None else 0.0
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        if not self.pause:
            return
        with self._lock:
            begin = max(self._next, time.monotonic())
            self._next = begin + self.pause
        time.sleep(max(0.0, begin - time.monotonic()))


def _write_calls(calls: Sequence[Any]) -> str:
    """Function calls as an agent of the protocol `tools` writes them; a world refuses more than one."""
    written = [
        f'{{"name": {json.dumps(call.function.name)}, "arguments": {call.function.arguments or "{}"}}}'
        for call in calls
    ]
    return written[0] if len(written) == 1 else "\n".join(f"<tool_call>{call}</tool_call>" for call in written)
