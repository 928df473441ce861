"""Every string of the policies that a model reads or writes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

THOUGHT_AND_ACTION = "Thought: {thought}\nAction: {action}"

# The prompt for tokenizers without a chat template.
PLAIN_PROMPT = "{system}\n\n{observation}\n\n> "


class PromptStyle(NamedTuple):
    """A prompt written out, for models and endpoints without a chat template of their own.

    Attributes:
        with_system: The prompt, with places for `{system}` and `{observation}`.
        without_system: The same for a world that says nothing in advance.
        stop: Texts at which an answer ends; they are not part of it.
    """

    with_system: str
    without_system: str
    stop: tuple[str, ...] = ()

    def render(self, system: str, observation: str) -> str:
        """The prompt for an observation."""
        form = self.with_system if system else self.without_system
        return form.format(system=system, observation=observation)


# How the models of the paper were tuned to be spoken to, each as its authors publish it; the token that begins a text
# is the tokenizer's own and left out. `plain` is for models that were tuned to no conversation at all.
STYLES: Mapping[str, PromptStyle] = MappingProxyType(
    {
        "plain": PromptStyle(PLAIN_PROMPT, "{observation}\n\n> ", ("\n> ", "\nObservation:")),
        "chatml": PromptStyle(
            "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{observation}<|im_end|>\n<|im_start|>assistant\n",
            "<|im_start|>user\n{observation}<|im_end|>\n<|im_start|>assistant\n",
            ("<|im_end|>", "<|im_start|>"),
        ),
        "llama-2": PromptStyle(
            "[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{observation} [/INST]", "[INST] {observation} [/INST]", ("[INST]",)
        ),
        "zephyr": PromptStyle(
            "<|system|>\n{system}</s>\n<|user|>\n{observation}</s>\n<|assistant|>\n",
            "<|user|>\n{observation}</s>\n<|assistant|>\n",
            ("</s>", "<|user|>"),
        ),
        "chatglm2": PromptStyle(
            "[Round 1]\n\n问：{system}\n\n{observation}\n\n答：",
            "[Round 1]\n\n问：{observation}\n\n答：",
            ("[Round 2]",),
        ),
        "baichuan2": PromptStyle(
            "{system}<reserved_106>{observation}<reserved_107>",
            "<reserved_106>{observation}<reserved_107>",
            ("<reserved_106>",),
        ),
    }
)

# Stands where the beginning of an observation was cut off.
CUT = "[... the beginning does not fit and was left out ...]\n"

# What a Checker says about an action it would not carry out.
EXPECTED_WORSE = (
    "This action is expected to end at {action:.2f}, while {value:.2f} can be reached from here. Reconsider."
)


def cut_at(text: str, stop: tuple[str, ...]) -> str:
    """An answer up to the first of the texts that end it."""
    ends = [end for mark in stop if (end := text.find(mark)) >= 0]
    return text[: min(ends)] if ends else text


def with_thought(thought: str, action: str) -> str:
    """An answer of the text protocol: the thought first where there is one."""
    return THOUGHT_AND_ACTION.format(thought=thought, action=action) if thought else action


# What a Checker's feedback writer is asked. The answer is the feedback alone.
WRITE_FEEDBACK = (
    "{observation}\n\nThe assistant wants to do this next: {action}\n\nSay in one sentence what to do better."
)

# Rules: what is wrong with an action, in words.
RULE_FORMAT = "The answer cannot be read: {reason}"
RULE_REPEATED = "This was done already, and it led to: {outcome}"
RULE_NOT_THERE = "This is not possible here. Possible now: {choices}"
RULE_BUY_TOO_EARLY = "Choose the options the request names, and compare the price, before buying."
RULE_LONG_SEARCH = "Search for a few key words of the request, not for all of it."
RULE_BLIND_ANSWER = "Look first: nothing has been looked up yet that the answer could rest on."
RULE_WAITS_FOREVER = "{program} waits for a person at a keyboard; use a command that ends by itself."
RULE_DELETES_ALL = "This deletes everything; name what is meant."
RULE_ALL_ROWS = "Without WHERE this changes every row of the table."
RULE_UNKNOWN_RELATION = "{relation!r} is not among the relations shown; take one of those."
RULE_UNKNOWN_ELEMENT = "There is no element [{element}] on the page."
