"""The committed configurations, the prompts they name, and what is done with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmat_gym.cli.policies import PolicyOptions, choose_policies
from cmat_gym.core.errors import TaskError, UnknownNameError, UsageError
from cmat_gym.policies.model_configs import ModelConfig, model_configs, read_model_configs
from cmat_gym.policies.prompts import STYLES, cut_at

URL = "http://127.0.0.1:9/v1"


def test_prompts_are_those_the_authors_publish() -> None:
    # Hand-copied from the model cards; a change here changes scores.
    assert STYLES["llama-2"].render("S", "O") == "[INST] <<SYS>>\nS\n<</SYS>>\n\nO [/INST]"
    assert STYLES["zephyr"].render("S", "O") == "<|system|>\nS</s>\n<|user|>\nO</s>\n<|assistant|>\n"
    assert STYLES["chatml"].render("S", "O") == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nO<|im_end|>\n<|im_start|>assistant\n"
    )
    assert STYLES["chatglm2"].render("", "O") == "[Round 1]\n\n问：O\n\n答："
    assert STYLES["baichuan2"].render("S", "O") == "S<reserved_106>O<reserved_107>"
    assert STYLES["plain"].render("S", "O") == "S\n\nO\n\n> "
    for style in STYLES.values():
        assert style.render("", "{O}").count("{O}") == 1
        assert "None" not in style.render("", "O")


@pytest.mark.parametrize(
    ("text", "cut"), [("a\n> b\nObservation: c", "a"), ("a", "a"), ("\n> ", ""), ("a\nObservation:x", "a")]
)
def test_answers_end_at_the_first_stop(text: str, cut: str) -> None:
    assert cut_at(text, STYLES["plain"].stop) == cut


def test_every_configuration_makes_an_endpoint_with_its_own_prompt() -> None:
    pytest.importorskip("openai", reason="endpoints need the extra `api`")
    choices = choose_policies(list(model_configs()), PolicyOptions(base_url=URL, seed=3))
    assert [choice.name for choice in choices] == list(model_configs())
    for choice, config in zip(choices, model_configs().values(), strict=True):
        chat = config.prompt == "chat"
        assert choice.settings["kind"] == "endpoint"
        assert choice.settings["asked"] == ("chat" if chat else "completions")
        assert choice.settings["model"] == config.model
        assert chat or choice.settings["style"] == config.prompt
        assert not {"base_url", "key_variable", "concurrency"} & choice.settings.keys()


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    pytest.importorskip("openai", reason="endpoints need the extra `api`")
    file = tmp_path / "mine.toml"
    entry = '[[model]]\nname = "{name}"\nroute = "api"\nmodel = "m"\nprompt = "{prompt}"\nmax_new_tokens = 9\n'
    file.write_text(entry.format(name="a", prompt="chat") + entry.format(name="b", prompt="zephyr"))
    first, second = choose_policies([str(file)], PolicyOptions(base_url=URL))
    assert (first.name, second.name) == ("a", "b")
    assert (first.settings["asked"], second.settings["style"]) == ("chat", "zephyr")
    assert first.settings["max_new_tokens"] == 9
    [tuned] = choose_policies(["opt-1.3b"], PolicyOptions(base_url=URL, max_new_tokens=7, api_model="x"))
    assert (tuned.settings["max_new_tokens"], tuned.settings["model"]) == (7, "x")

    file.write_text("[[model]]\nname = 'a'\n")
    with pytest.raises(TaskError, match="missing 3 required"):
        read_model_configs(file)
    file.write_text(entry.format(name="a", prompt="chat") + "colour = 1\n")
    with pytest.raises(TaskError, match="unknown field 'colour'"):
        read_model_configs(file)
    with pytest.raises(UnknownNameError, match="vicuna"):
        ModelConfig("a", "api", "m", "vicuna")
    with pytest.raises(TaskError, match="holds no models"):
        choose_policies([str(tmp_path / "none.toml")])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("qwen-7b-chat", PolicyOptions(), "code of its own, which is not run here"),
        ("tinyagent-7b", PolicyOptions(), "name its folder as --adapter"),
        ("tiny", PolicyOptions(budget_tokens=5), "--budget-tokens is about an endpoint"),
        ("tiny", PolicyOptions(base_url=URL, adapter="x"), "a server brings its own"),
        ("tiny", PolicyOptions(base_url=URL, budget_cost=1.0), "needs the prices"),
        ("expert", PolicyOptions(adapter="x"), "needs a language model"),
    ],
)
def test_what_cannot_be_is_refused(name: str, options: PolicyOptions, message: str) -> None:
    pytest.importorskip("openai", reason="endpoints need the extra `api`")
    with pytest.raises(UsageError, match=message):
        choose_policies([name], options)


def test_a_written_prompt_reaches_local_weights_and_ends_their_answers() -> None:
    pytest.importorskip("peft", reason="language models need the extra `train`")
    from small_models import small_model

    from cmat_gym.core.testing import CounterEnv
    from cmat_gym.policies.generation import Sampling
    from cmat_gym.policies.lora import LoRAPolicy

    env = CounterEnv()
    _, info = env.reset(seed=0)
    sampling = Sampling(temperature=0.0, max_new_tokens=8)
    policy = LoRAPolicy("tiny", env, style="zephyr", sampling=sampling, device="cpu")
    prompt = STYLES["zephyr"].render(env.system_prompt, "It shows 3.")
    assert policy.prompt_ids("It shows 3.", info) == policy.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert policy.text(policy.tokenizer("up</s>\nmore")["input_ids"]) == "up"
    with pytest.raises(UsageError, match="has no chat template; write the prompt out: plain, chatml"):
        LoRAPolicy(small_model(), style="chat", device="cpu")
    with pytest.raises(UnknownNameError, match="vicuna"):
        LoRAPolicy("tiny", style="vicuna", device="cpu")
