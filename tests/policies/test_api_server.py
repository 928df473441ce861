"""Two routes to one model: transformers in this process, and transformers' own OpenAI-compatible server on loopback.

Greedy answers, records and scores must be equal. Needs the extras `train`, `api` and transformers' `serving`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from cmat_gym.cli.main import main
from cmat_gym.core.registry import WORLDS
from cmat_gym.evaluation.evaluate import Evaluation, evaluate

for module in ("torch", "transformers", "peft", "openai", "fastapi", "uvicorn"):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module!r} is missing: cmat-gym[train,api,serve] brings it", allow_module_level=True)

from cmat_gym.policies.api import APIPolicy, Endpoint  # noqa: E402
from cmat_gym.policies.generation import Sampling  # noqa: E402
from cmat_gym.policies.lora import LoRAPolicy  # noqa: E402

pytestmark = pytest.mark.slow
MODEL = str(Path(__file__).resolve().parents[2] / "policies" / "data" / "tiny")
TOKENS = 24


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running `transformers serve` with the model `tiny`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", MODEL]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    with log.open("wb") as file:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
    try:
        _wait(process, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"transformers serve did not start: {log.read_text(errors='replace')[-2000:]}")


def both(address: str, world: str, *, style: str | None = None, **env_kwargs: Any) -> list[Evaluation]:
    """The same panel by the endpoint and in this process."""
    kind = {} if style is None else {"kind": "completions", "style": style}
    point = Endpoint(MODEL, base_url=address, max_new_tokens=TOKENS, concurrency=1, tool_calls=False, **kind)
    local: list[LoRAPolicy] = []

    def ask(envs: Sequence[gym.Env[str, str]]) -> APIPolicy:
        return APIPolicy(point, envs[0])

    def sample(envs: Sequence[gym.Env[str, str]]) -> LoRAPolicy:
        sampling = Sampling(temperature=0.0, max_new_tokens=TOKENS)
        local.append(LoRAPolicy(MODEL, envs[0], sampling=sampling, style=style, device="cpu"))
        return local[0]

    options = {"split": "test", "name": "tiny", "num_envs": 2, "max_turns": 3, **env_kwargs}
    runs = [evaluate(policy, world, 2, **options) for policy in (ask, sample)]
    assert local[0].cut_prompts == 0, "the endpoint cuts nothing"
    return runs


def check_equal(endpoint: Evaluation, local: Evaluation) -> None:
    said = [[turn.action for episode in run.trajectories for turn in episode.turns] for run in (endpoint, local)]
    assert said[0] == said[1]
    assert any(said[0])
    assert endpoint.records == local.records
    assert endpoint.score == local.score
    assert endpoint.sampled_tokens


@pytest.mark.parametrize("world", [world.id for world in WORLDS])
def test_chat_gives_what_transformers_gives(address: str, world: str) -> None:
    check_equal(*both(address, world))


def test_text_completions_give_what_transformers_gives(address: str) -> None:
    check_equal(*both(address, "cmat/WebShop-v0", style="plain"))


def test_the_protocol_of_function_calls_gives_what_transformers_gives(address: str) -> None:
    check_equal(*both(address, "cmat/DB-v0", protocol="tools"))


def test_the_command_line_takes_either_route_and_goes_on_after_a_budget(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["eval", "DB", "--policy", "tiny", "--size", "3", "--max-turns", "2", "--num-envs", "1", "--json"]
    command += ["--max-new-tokens", str(TOKENS)]
    endpoint = [*command, "--base-url", address, "--api-model", MODEL, "--out", str(tmp_path)]
    assert main([*endpoint, "--budget-tokens", "300"]) == 2
    assert "The budget is spent: tokens" in capsys.readouterr().err
    recorded = (tmp_path / "DB-v0" / "tiny" / "records.jsonl").read_text().splitlines()
    assert 0 < len(recorded) < 3
    assert main(endpoint) == 0
    asked = Evaluation.from_json(json.loads(capsys.readouterr().out)[0])
    assert (tmp_path / "DB-v0" / "tiny" / "records.jsonl").read_text().splitlines()[: len(recorded)] == recorded
    assert main(command) == 0
    check = Evaluation.from_json(json.loads(capsys.readouterr().out)[0])
    assert asked.records == check.records


def test_stop_texts_end_an_answer_at_the_server(address: str) -> None:
    point = {"base_url": address, "max_new_tokens": 12}
    env = gym.make("cmat/WebShop-v0")
    observation, info = env.reset(seed=0)
    [whole] = APIPolicy(Endpoint(MODEL, **point), env).act([observation], [info])
    mark = whole[len(whole) // 2 :][:3]
    [cut] = APIPolicy(Endpoint(MODEL, stop=(mark,), **point), env).act([observation], [info])
    assert cut == whole[: whole.index(mark)].strip()
    assert cut.usage.sampled_tokens < whole.usage.sampled_tokens
    env.close()
