"""`cmat/WebShop-v0`: the environment. What it shows and takes is in the class docstring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cmat_gym.core.env import Outcome, TextEnv
from cmat_gym.core.errors import InvalidAction, choose
from cmat_gym.core.protocol import Call, Tool
from cmat_gym.core.task import Score, Task
from cmat_gym.envs.webshop import prompts
from cmat_gym.envs.webshop.backend import Session, WebShopBackend, parse_action
from cmat_gym.envs.webshop.expert import WebShopExpert
from cmat_gym.envs.webshop.nouns import make_tagger
from cmat_gym.envs.webshop.pages import SUB_PAGES, Mode, document
from cmat_gym.envs.webshop.records import Goal
from cmat_gym.envs.webshop.scorer import score_webshop
from cmat_gym.envs.webshop.tasks import goal_from_payload, open_shop

__all__ = ["WebShopEnv"]

OBSERVATION_MODES = ("text", "text_rich")


class WebShopEnv(TextEnv):
    """Shopping on a simulated site.

    ## Description
    A customer's instruction names a kind of product, attributes it must have, options (colour, size, …) and a price
    limit. The agent searches, opens products, chooses options and buys one product. The builtin shop has 1,000 products
    of our own making (up to 1,000,000 on request); `source=` a folder with WebShop's own files opens the real shop.

    ## Action Space
    Text. Protocol `text`: `search[keywords]` on any page, or `click[name]` with a button, a product code or an option
    value of the current page, after an optional `Thought:` line. Protocol `tools`: one JSON call of `search(keywords)`
    or `click(value)`. Names are matched without regard to case.

    ## Observation Space
    Text: the page. Mode `text` joins the pieces of a page with ` [SEP] `; `text_rich` writes one piece per line, marks
    buttons, and shows which options are chosen and which products were visited.

    ## Rewards
    `outcome`: the shop's score of the purchase, 0 to 1, when it is made: type factor x (attributes + options + price
    that fit) / (number of wishes + 1). `progress` adds the change of γ^(turns the expert still needs).

    ## Starting State
    The search page with the instruction. The task is drawn from the split with the environment's own generator, or
    chosen by `options={"task": …}`.

    ## Episode End
    Termination: the agent clicks `buy now`.
    Truncation: the turn limit is reached (15 unless `max_turns` says otherwise); the score is then 0.

    ## Arguments
    | name | default | meaning |
    |---|---|---|
    | `source` | `"builtin"` | or a folder with the real shop's files |
    | `split` | `"train"` | `train`, `dev` or `test`; no product is in two of them |
    | `protocol` | `"text"` | or `"tools"` |
    | `memory` | `"dual"` | a `MemoryConfig`, or None for the bare page |
    | `reward` | `"outcome"` | or `"progress"`, with `discount` as its γ |
    | `max_turns` | None | turns per episode |
    | `observation_mode` | `"text"` | or `"text_rich"` |
    | `catalogue_seed`, `catalogue_size` | 0, 1000 | which builtin shop |
    | `feedback` | True | say what was wrong with a refused action; False shows the page only, as the original does |
    | `tagger` | `"builtin"` | or `"spacy"`: what counts as a noun of a title |

    ## Example Episode
    ```
    WebShop [SEP] Instruction: [SEP] find me a waterproof hiking boots … [SEP] Search
    > search[waterproof hiking boots]
    Instruction: [SEP] … [SEP] Page 1 (Total results: 50) [SEP] Next > [SEP] B041725 [SEP] … [SEP] $54.99 …
    > click[b041725]
    > click[brown]
    > click[buy now]
    ```

    ## Source
    Yao, Chen, Yang, Narasimhan: WebShop (NeurIPS 2022), github.com/princeton-nlp/WebShop; the domain "web shopping" of
    AgentBench (Liu et al., ICLR 2024).

    ## Differences from the Source
    - Pages are built from records, without HTML, server or JVM; the text is the same (tests/webshop).
    - A refused action says why (`feedback=False` gives the original's silence).
    - Searches that leak structure (`<r>`, `<a>`, `<c>`, `<q>`) are ordinary text.
    - Goals are split by product, so that no product of an evaluation was trained on.
    - Nouns are found by our own rules unless `tagger="spacy"`.
    """

    domain = "webshop"
    tools = (
        Tool("search", prompts.SEARCH_TOOL, {"keywords": prompts.SEARCH_KEYWORDS}),
        Tool("click", prompts.CLICK_TOOL, {"value": prompts.CLICK_VALUE}),
    )

    def __init__(
        self,
        *,
        source: str | Path = "builtin",
        split: str = "train",
        protocol: str = "text",
        reward: str = "outcome",
        max_turns: int | None = None,
        discount: float = 0.95,
        backend: str | None = None,
        render_mode: str | None = None,
        observation_mode: str = "text",
        catalogue_seed: int = 0,
        catalogue_size: int = 1000,
        feedback: bool = True,
        tagger: str = "builtin",
    ) -> None:
        choose("backend", backend or "embedded", ["embedded"])
        shop = open_shop(source, catalogue_seed, catalogue_size)
        super().__init__(
            shop.tasks,
            split=split,
            protocol=protocol,
            reward=reward,
            max_turns=max_turns,
            discount=discount,
            render_mode=render_mode,
        )
        self.shop: WebShopBackend = shop.backend
        choose("observation mode", observation_mode, OBSERVATION_MODES)
        self.observation_mode: Mode = "text_rich" if observation_mode == "text_rich" else "text"
        self.feedback = feedback
        self.tagger = make_tagger(tagger)
        self.session = Session()
        self._goal: Goal | None = None
        self._expert_cache: WebShopExpert | None = None

    @property
    def system_prompt(self) -> str:
        """The rules of the shop, in the chosen protocol."""
        return prompts.TOOLS_SYSTEM_PROMPT if self.protocol == "tools" else prompts.TEXT_SYSTEM_PROMPT

    @property
    def goal(self) -> Goal:
        """What the customer wants; never shown to the agent."""
        assert self._goal is not None, "reset() sets the goal"
        return self._goal

    # The dynamics ---------------------------------------------------------------------------------------------------

    def _begin(self, task: Task) -> str:
        self._goal = goal_from_payload(task.payload["goal"])
        self._expert_cache = None
        self.session = Session()
        return self._page()

    def _parse(self, action: str) -> Call:
        parts = parse_action(action)
        if parts is None or parts[0] not in ("search", "click"):
            raise InvalidAction(prompts.WRONG_FORM)
        name, argument = parts
        return Call(name, {"keywords" if name == "search" else "value": argument})

    def _apply(self, call: Call) -> Outcome:
        (argument,) = call.arguments.values()
        session, valid = self.shop.step(self.session, call.name, argument)
        if not valid:
            clickables = self.shop.clickables(self.session)
            raise InvalidAction(
                prompts.EMPTY_SEARCH if call.name == "search" else prompts.not_on_page(argument, clickables)
            )
        self.session = session
        return Outcome(self._page(), terminated=session.purchased)

    def _score(self) -> Score:
        if not self.session.purchased:
            return Score(0.0, False)
        score = score_webshop(self.goal, *self.shop.purchase(self.session), tagger=self.tagger)
        return Score(score.value, score.success, score._asdict())

    def _page(self, mode: Mode | None = None) -> str:
        reward = self._score().value if self.session.purchased else 0.0
        return self.shop.render(self.session, self.goal.instruction, mode or self.observation_mode, reward)

    # What the agent is told -----------------------------------------------------------------------------------------

    def _refused(self, reason: str, observation: str) -> str:
        return super()._refused(reason, observation) if self.feedback else observation

    def _render(self, call: Call) -> str:
        (argument,) = call.arguments.values()
        return f"{call.name}[{argument}]"

    def _admissible(self) -> list[Call]:
        """Every click, and one search to start from: the instruction itself (any other text may be searched too)."""
        names = self.shop.clickables(self.session)
        if names == ("search",):
            return [Call("search", {"keywords": self.goal.instruction.lower()})]
        return [Call("click", {"value": name}) for name in names]

    def page_html(self) -> str:
        """The page with its buttons, drawn from the shop's rich text."""
        return document(self._page("text_rich"))

    def summary(self) -> str:
        """Where the agent is."""
        session = self.session
        asin = session.asin.lower()
        if session.page == "results":
            return prompts.RESULTS_SUMMARY.format(number=session.number)
        if session.page in SUB_PAGES:
            return prompts.SUB_PAGE_SUMMARY.format(page=session.page, asin=asin)
        if session.page == "item" and session.options:
            return prompts.OPTIONS_SUMMARY.format(asin=asin, options=", ".join(value for _, value in session.options))
        if session.page == "item":
            return prompts.ITEM_SUMMARY.format(asin=asin)
        return prompts.DONE_SUMMARY.format(asin=asin) if session.purchased else prompts.SEARCH_SUMMARY

    # State and expert -----------------------------------------------------------------------------------------------

    def _get_state(self) -> Any:
        return self.session.to_json()

    def _set_state(self, state: Any) -> None:
        self.session = Session.from_json(state)

    @property
    def _expert_here(self) -> WebShopExpert:
        if self._expert_cache is None:
            self._expert_cache = WebShopExpert(self.goal, self.shop, self.tagger)
        return self._expert_cache

    def _expert(self) -> Call:
        kind, argument = self._expert_here.next_action(self.session)
        return Call(kind, {"keywords" if kind == "search" else "value": argument})

    def expert_thought(self) -> str:
        """Why the expert does what it does next."""
        return self._expert_here.thought(self.session)

    def _cost_to_go(self) -> float:
        return self._expert_here.cost_to_go(self.session)
