"""`cmat/Mind2Web-v0`: the environment. What it shows and takes is in the class docstring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cmat_gym.core.env import Outcome, TextEnv
from cmat_gym.core.errors import UsageError, choose
from cmat_gym.core.protocol import Call, Tool
from cmat_gym.core.task import Score, Task
from cmat_gym.envs.mind2web.backend import Mind2WebBackend
from cmat_gym.envs.mind2web.calls import CallPlay
from cmat_gym.envs.mind2web.live import LivePlay
from cmat_gym.envs.mind2web.official import RecordTasks
from cmat_gym.envs.mind2web.play import Play
from cmat_gym.envs.mind2web.static import RecordPlay
from cmat_gym.envs.mind2web.tasks import Web, open_web

__all__ = ["Mind2WebEnv"]

BACKENDS = ("embedded", "chromium")
OBSERVATION_MODES = ("text", "axtree")
SMALLEST_BUDGET = 500


class Mind2WebEnv(TextEnv):
    """Tasks in a web browser, on sites that answer (`live`) or on recorded pages (`static`).

    ## Description
    Live: a task on one of thirteen kinds of generated sites (shop, flights, hotels, library, restaurants, jobs, issue
    tracker, forum, map, bank, mail, calendar, admin console), with forms, filters, result pages, date pickers, tabs,
    popups, validation errors and text that wants to lead the agent astray. The agent acts on the page until it declares
    the task done; the site's final state decides. Static: for every page of a recorded task, name the next action;
    `source=` the user's own Mind2Web files, AutoWebBench's, or, builtin, walks recorded on the generated sites.

    ## Action Space
    Text, after an optional `Thought:` line. Live: `CLICK [n]`, `TYPE [n] text`, `SELECT [n] option`, `BACK`, `FINISH`
    or `FINISH answer`; as tools `act(element, op, value)`, `back()`, `finish(answer)`. Static, `elements`: the same
    three operations, or `NONE`. `single` and `tournament`: `Answer: B.`, `Action: …`, `Value: …` lines. AutoWebBench:
    one of its ten calls, such as `click('A')`.

    ## Observation Space
    Text. Live: the task, the page's title, and its visible part within a budget: elements to act on are numbered in
    document order (`[3] button Search`), hidden ones and those behind a popup are not shown. `axtree` writes the same
    as an indented accessibility tree. Static: the benchmark's pruned page, previous actions, and choices.

    ## Rewards
    `outcome`: the score at the end. Live: (facts that are as they should be + 1 for finishing then - facts that were
    changed without being asked) / (facts + 1), not below 0; a question counts 1 for the right answer. Static: share of
    steps with the right element and action. `progress` adds the change of γ^(turns the expert still needs).

    ## Starting State
    Live: the site's home page, sometimes behind a popup. Static: the first recorded page.

    ## Episode End
    Termination: the agent finishes (live); all steps are answered, or free-running a step is wrong (static).
    Truncation: the turn limit is reached (live: 25; static: as many turns as there are questions).

    ## Arguments
    | name | default | meaning |
    |---|---|---|
    | `source` | `"builtin"` | or a folder or file of Mind2Web or AutoWebBench |
    | `pages` | None | `"live"` or `"static"`; builtin tasks are live, files are static |
    | `split` | `"train"` | builtin: `train`, `dev`, `test`; files: what is there |
    | `protocol` | `"text"` | or `"tools"` |
    | `memory` | `"dual"` | a `MemoryConfig`, or None for the bare page |
    | `reward` | `"outcome"` | or `"progress"`, with `discount` as its γ |
    | `max_turns` | None | turns per episode |
    | `backend` | `"embedded"` | or `"chromium"`: the same sites in a real browser (extra `browser`) |
    | `render_mode` | None | `"ansi"`, or with Chromium `"rgb_array"` for a screenshot |
    | `observation_mode` | `"text"` | or `"axtree"` |
    | `budget` | 2500 | characters of a live page, 500 or more; None for all |
    | `interface` | `"elements"` | static: or `"single"`, `"tournament"` |
    | `teacher_forced` | True | static: previous actions are the recorded ones; False: the agent's own |
    | `unit` | `"task"` | Mind2Web's files: or `"step"`, one episode per step |
    | `scores` | None | Mind2Web's candidate scores as JSON |
    | `site_seed` | 0 | which builtin tasks |

    ## Example Episode
    ```
    Task: Save the job 'Nurse at Oakline'.
    Page: Home - WorkHub (/)
    … [5] text Job or company: "" …
    > TYPE [5] Nurse at Oakline
    > CLICK [7]
    … [8] link Nurse at Oakline | Porto | remote …
    > CLICK [8]
    > CLICK [8]
    > FINISH
    ```

    ## Source
    Deng et al.: Mind2Web (NeurIPS 2023), github.com/OSU-NLP-Group/Mind2Web; the domain "web browsing" of AgentBench
    (Liu et al., ICLR 2024), which asks in tournaments; AutoWebBench of Lai et al.: AutoWebGLM (KDD 2024).

    ## Differences from the Source
    - Live mode, partial credit and the embedded browser are ours; its sites run no scripts.
    - The order of a tournament depends on the task alone, not on how many were played before.
    - Means are over steps (micro); the authors average over tasks (macro).
    - Steps without a positive candidate among the first ten count as wrong and stay in the denominator.
    - Candidate scores are read from JSON only: loading the published pickle would run code. Without scores, ranks are
      our own, and results are not comparable with published ones.
    - Free-running ends at the first wrong step: the page after it was never recorded.
    """

    domain = "mind2web"
    tools: tuple[Tool, ...] = LivePlay.tools

    def __init__(
        self,
        *,
        source: str | Path = "builtin",
        pages: str | None = None,
        split: str = "train",
        protocol: str = "text",
        reward: str = "outcome",
        max_turns: int | None = None,
        discount: float = 0.95,
        backend: str | None = None,
        render_mode: str | None = None,
        observation_mode: str = "text",
        budget: int | None = 2500,
        interface: str = "elements",
        teacher_forced: bool = True,
        unit: str = "task",
        scores: str | Path | None = None,
        site_seed: int = 0,
    ) -> None:
        backend = choose("backend", backend or "embedded", BACKENDS)
        choose("observation mode", observation_mode, OBSERVATION_MODES)
        if budget is not None and budget < SMALLEST_BUDGET:
            raise UsageError(f"budget must be at least {SMALLEST_BUDGET} characters or None, got {budget}")
        web = open_web(source, pages, interface, unit, scores, site_seed)
        if web.play != "live" and backend != "embedded":
            raise UsageError("backend='chromium' is for live sites; recorded pages need no browser")
        if render_mode == "rgb_array" and backend != "chromium":
            raise UsageError("render_mode='rgb_array' is a screenshot: make the environment with backend='chromium'")
        self._play = _make_play(web, backend, observation_mode, budget, interface, teacher_forced)
        self.tools = self._play.tools
        if backend == "chromium":  # only a browser can paint
            self.metadata = {**self.metadata, "render_modes": ["ansi", "rgb_array"]}
        super().__init__(
            web.tasks,
            split=split,
            protocol=protocol,
            reward=reward,
            max_turns=max_turns,
            discount=discount,
            render_mode=render_mode,
        )

    @property
    def system_prompt(self) -> str:
        """The rules of the mode, in the chosen protocol."""
        return self._play.tools_prompt if self.protocol == "tools" else self._play.text_prompt

    def render(self) -> Any:
        """The current observation in mode `ansi`; a screenshot (height x width x 3 bytes) in mode `rgb_array`."""
        return self._play.screenshot() if self.render_mode == "rgb_array" else super().render()

    def page_html(self) -> str | None:
        """The live site's document with what has been filled in; None for recorded pages, which are parts only."""
        return self._play.page_html()

    def close(self) -> None:
        """Close the browser window, where there is one."""
        self._play.close()
        super().close()

    # Everything else depends on the mode ----------------------------------------------------------------------------

    def _begin(self, task: Task) -> str:
        return self._play.begin(task)

    def _read(self, action: str) -> Call:
        if self.protocol == "text" and self._play.reads_whole_text:
            return self._play.parse(action)
        return super()._read(action)

    def _parse(self, action: str) -> Call:
        return self._play.parse(action)

    def _render(self, call: Call) -> str:
        return self._play.write(call)

    def _apply(self, call: Call) -> Outcome:
        return self._play.apply(call)

    def _score(self) -> Score:
        return self._play.score()

    def _get_state(self) -> Any:
        return self._play.get_state()

    def _set_state(self, state: Any) -> None:
        self._play.set_state(state)

    def _admissible(self) -> list[Call] | None:
        return self._play.admissible()

    def _expert(self) -> Call:
        return self._play.expert()

    def expert_thought(self) -> str:
        """Why the expert does what it does next."""
        return self._play.thought()

    def _cost_to_go(self) -> float:
        return self._play.cost_to_go()

    def summary(self) -> str:
        """What the last action led to."""
        return self._play.summary()


def _make_play(
    web: Web, backend: str, observation_mode: str, budget: int | None, interface: str, teacher_forced: bool
) -> Play:
    if web.play == "live":
        return LivePlay(_open_backend(backend), observation_mode, budget)
    if isinstance(web.tasks, RecordTasks):
        return RecordPlay(web.tasks.record, interface, teacher_forced)
    return CallPlay()


def _open_backend(name: str) -> Mind2WebBackend:
    if name == "embedded":
        return Mind2WebBackend()
    from cmat_gym.envs.mind2web.chromium import ChromiumBackend

    return ChromiumBackend()
