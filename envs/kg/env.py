"""`cmat/KG-v0`: the environment. What it shows and takes is in the class docstring."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from cmat_gym.core.env import Outcome, TextEnv
from cmat_gym.core.errors import BackendError, InvalidAction, choose
from cmat_gym.core.protocol import Call, Tool, format_tool_call
from cmat_gym.core.task import Score, Task
from cmat_gym.envs.kg import prompts
from cmat_gym.envs.kg.backend import KGBackend
from cmat_gym.envs.kg.dialect import PARAMETERS, Reply, reply_to_calls, reply_to_text
from cmat_gym.envs.kg.expert import KGExpert
from cmat_gym.envs.kg.programs import Program, parse_program
from cmat_gym.envs.kg.scorer import score_kg
from cmat_gym.envs.kg.tasks import open_world
from cmat_gym.envs.kg.tools import FINAL, SIGNATURES, Choices, Move, Session, Toolbox, ToolError, mention

__all__ = ["KGEnv"]

DIALECTS = ("cmat", "agentbench")
KEPT_STATES = 256  # of one episode, whose admissible actions are remembered: searches go back to them
_ANSWER_PARAMETERS = ("variable",)
MESSAGE = "message"  # the call that stands for a whole message in AgentBench's dialect
_CALL = re.compile(r"(\w+)\((.*)\)\Z", re.DOTALL)
_FINAL = re.compile(r"(?:Thought:.*\n)?[ \t]*(?:Final|Find) Answer:(.*)\Z", re.DOTALL)
_NUMBER = re.compile(r"\s*#(\d{1,9})\s*\Z")


class KGEnv(TextEnv):
    """Answering questions with a knowledge graph.

    ## Description
    A question is answered by building a small logical program with seven tools. Tools list relations, or make a
    *variable*: a description of a set of things, of which only the type is shown. What the last variable stands for is
    computed when the agent answers with it. The builtin graph holds 62,000 real places, languages, currencies and
    chemical elements (docs/provenance/kg.md); other graphs can be loaded, and any SPARQL endpoint can take its place.

    ## Action Space
    Text. Protocol `text`: `get_relations(x)`, `get_neighbors(x, relation)`, `intersection(#i, #j)`,
    `get_attributes(#i)`, `argmax(#i, attribute)`, `argmin(#i, attribute)`, `count(#i)`, or `Final Answer: #i`, after an
    optional `Thought:` line. `x` is a variable, or an entity of the question by name or id. Protocol `tools`: the same
    as one JSON call; `final_answer(variable)` ends.

    ## Observation Space
    Text: the question and its entities, the variables made so far with their types, and the result of the last tool.
    Lists come out sorted by name.

    ## Rewards
    `outcome`: F1 of the answered set against the right one, when the agent answers. `progress` adds the change of
    γ^(turns the expert still needs).

    ## Starting State
    The question, and no variables. The task is drawn from the split with the environment's own generator, or chosen by
    `options={"task": …}`. A builtin task's level, 1 (one hop) to 5 (four hops, or two conditions of two hops), is in
    its payload; of ten tasks in a row the levels are 1 1 1 2 2 3 3 4 4 5.

    ## Episode End
    Termination: the agent answers.
    Truncation: the turn limit is reached (15 unless `max_turns` says otherwise); the score is then 0.

    ## Arguments
    | name | default | meaning |
    |---|---|---|
    | `source` | `"builtin"` | or a file or folder with AgentBench's questions |
    | `split` | `"train"` | `train`, `dev` or `test`; no question names an entity of another split |
    | `protocol` | `"text"` | or `"tools"` |
    | `memory` | `"dual"` | a `MemoryConfig`, or None for the bare page |
    | `reward` | `"outcome"` | or `"progress"`, with `discount` as its γ |
    | `max_turns` | None | turns per episode |
    | `graph` | None | another graph: a file of triples, or a folder such as FB15k-237 in OpenKE's layout |
    | `backend` | None | `"embedded"`, or `"sparql"` to ask a server |
    | `endpoint` | None | address of the server's SPARQL service |
    | `default_graph` | None | which of the server's graphs to ask (Freebase in Virtuoso: `"http://freebase.com"`) |
    | `timeout`, `retries` | 30, 2 | seconds per query, and how often a failed one is sent again |
    | `task_seed` | 0 | of the builtin questions |
    | `dialect` | `"cmat"` | or `"agentbench"`: read and say everything as AgentBench does |

    ## Example Episode
    ```
    Question: Which of the countries that border Chile has the largest population?
    Entities: [Chile]
    > get_relations(Chile)
    Result: [geo.country.airports, …, geo.country.neighbours, …]
    > get_neighbors(Chile, geo.country.neighbours)
    Result: variable #0, which are instances of geo.country
    > get_attributes(#0)
    Result: [geo.country.area, geo.country.population]
    > argmax(#0, geo.country.population)
    Result: variable #1, which are instances of geo.country
    > Final Answer: #1
    ```

    ## Source
    The domain "knowledge graph" of AgentBench (Liu et al., ICLR 2024), github.com/THUDM/AgentBench; its questions come
    from GrailQA, ComplexWebQuestions, GraphQuestions and WebQSP.

    ## Differences from the Source
    - The graph is in memory, so no server is needed; with `backend="sparql"` the same tools ask one.
    - Lists are sorted by name, where the original's order is that of a hash set.
    - What was listed is remembered per episode and program, not module-wide: no episode profits from another.
    - Of equally great members `argmax` takes the one with the smallest id; the original leaves it to its store.
    - A query that fails is an observation and counted, and does not end the process.
    - 32 variables and programs of 256 operations at most. Ids that begin with `g.` are taken.
    - The reward is F1 in both protocols, where the original's function calls pay for exact matches only.
    - `dialect="agentbench"` reads answers as loosely, words errors and refuses `g.` as the original does.
    """

    domain = "kg"
    tools: tuple[Tool, ...] = (
        Tool("get_relations", prompts.GET_RELATIONS, {"variable": prompts.START}),
        Tool("get_neighbors", prompts.GET_NEIGHBORS, {"variable": prompts.START, "relation": prompts.RELATION}),
        Tool("intersection", prompts.INTERSECTION, {"variable1": prompts.VARIABLE, "variable2": prompts.VARIABLE}),
        Tool("get_attributes", prompts.GET_ATTRIBUTES, {"variable": prompts.VARIABLE}),
        Tool("argmax", prompts.ARGMAX, {"variable": prompts.VARIABLE, "attribute": prompts.ATTRIBUTE}),
        Tool("argmin", prompts.ARGMIN, {"variable": prompts.VARIABLE, "attribute": prompts.ATTRIBUTE}),
        Tool("count", prompts.COUNT, {"variable": prompts.VARIABLE}),
        Tool(FINAL, prompts.FINAL_ANSWER, {"variable": prompts.VARIABLE}),
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
        graph: str | Path | None = None,
        endpoint: str | None = None,
        default_graph: str | None = None,
        timeout: float = 30.0,
        retries: int = 2,
        task_seed: int = 0,
        dialect: str = "cmat",
    ) -> None:
        self.dialect = choose("dialect", dialect, DIALECTS)
        world = open_world(source, graph, backend, endpoint, default_graph, timeout, retries, task_seed)
        super().__init__(
            world.tasks,
            split=split,
            protocol=protocol,
            reward=reward,
            max_turns=max_turns,
            discount=discount,
            render_mode=render_mode,
        )
        strict = dialect == "agentbench"
        self.graph: KGBackend = world.backend
        self.toolbox = Toolbox(world.backend, strict=strict, lists_itself=strict and protocol == "tools")
        self.session = Session()
        self._entities: Mapping[str, str] = {}
        self._gold: frozenset[str] = frozenset()
        self._result: tuple[str, str] = ("", "")  # the last tool's words, and the same for the memory
        self._listed: dict[Session, list[str]] = {}  # states of the episode -> what may be done there
        self._head = ""  # how every page of the episode begins
        self._lines: list[str] = []  # the page's lines about the variables, as far as they are written
        self._scored: Score | None = None
        self._expert_cache: KGExpert | None = None

    @property
    def system_prompt(self) -> str:
        """The tools, in the chosen protocol and dialect."""
        if self.dialect == "agentbench":
            return prompts.AGENTBENCH_TOOLS_PROMPT if self.protocol == "tools" else prompts.AGENTBENCH_TEXT_PROMPT
        return prompts.TOOLS_SYSTEM_PROMPT if self.protocol == "tools" else prompts.TEXT_SYSTEM_PROMPT

    @property
    def failures(self) -> int:
        """How often the graph did not answer since the environment was made: no fault of the agent's."""
        return self.toolbox.failures

    # The dynamics ---------------------------------------------------------------------------------------------------

    def _begin(self, task: Task) -> str:
        if task is not self._task:
            self._entities = task.payload["entities"]
            self._gold = frozenset(task.payload["answer"])
            self._expert_cache = None
            self._head = self._open(task.instruction)
            self._listed = {}
        self.session = Session()
        self._lines, self._result, self._scored = [], ("", ""), None
        return self._head

    def _read(self, action: str) -> Call:
        if self.dialect == "agentbench":
            return Call(MESSAGE, {"text": action})
        if "Answer:" in action and (final := _FINAL.match(action)):
            return self._final(final[1])
        return super()._read(action)

    def _parse(self, action: str) -> Call:
        if "Answer:" in action and (final := _FINAL.match(action)):
            return self._final(final[1])
        call = _CALL.match(action)
        if call is None:
            raise InvalidAction(prompts.WRONG_FORM)
        tool, inside = call[1], call[2]
        if tool not in SIGNATURES:
            raise InvalidAction(prompts.UNKNOWN_TOOL.format(name=tool[:40]))
        # Names may hold commas, relations and variables do not: the last comma is the one that parts two arguments.
        count = SIGNATURES[tool]
        arguments = [argument.strip() for argument in inside.rsplit(",", count - 1)]
        if len(arguments) != count or "" in arguments:
            raise InvalidAction(prompts.WRONG_COUNT.format(tool=tool, count=count, plural="s" if count > 1 else ""))
        return Call(tool, dict(zip(PARAMETERS[tool], arguments, strict=True)))

    @staticmethod
    def _final(text: str) -> Call:
        if not _NUMBER.match(text):
            raise InvalidAction(prompts.WRONG_ANSWER_FORM)
        return Call(FINAL, {"variable": text.strip()})

    def _apply(self, call: Call) -> Outcome:
        if call.name == MESSAGE:
            return self._apply_message(call.arguments["text"])
        if call.name == FINAL:
            return self._answer_with(call.arguments["variable"])
        arguments = tuple(call.arguments[name] for name in PARAMETERS[call.name])
        done = self.toolbox.run(self.session, call.name, arguments, self._entities)
        made = done.session.variables[len(self.session.variables) :]
        self.session = done.session
        self._result = done.result, prompts.LISTED_SUMMARY.format(count=len(done.names))
        if made:
            number = len(self.session.variables) - 1
            self._result = done.result, prompts.VARIABLE_SUMMARY.format(number=number, type=made[0].type)
        return Outcome(self._page())

    def _apply_message(self, message: str) -> Outcome:
        """A whole message in AgentBench's dialect."""
        read = reply_to_calls if self.protocol == "tools" else reply_to_text
        reply: Reply = read(self.toolbox, self.session, message, self._entities)
        if not reply.done and not reply.ends:
            raise InvalidAction(reply.text)
        if reply.session.answer is not None:
            return self._finish(reply.session)
        self.session = reply.session
        self._result = reply.text, reply.text.partition("\n")[0].removeprefix("Observation: ")
        return Outcome(reply.text, reply.ends)

    def _answer_with(self, text: str) -> Outcome:
        number = _NUMBER.match(text)
        if number is None:
            raise InvalidAction(prompts.WRONG_ANSWER_FORM)
        return self._finish(self.toolbox.answer(self.session, int(number[1])))

    def _finish(self, session: Session) -> Outcome:
        """Compute what the answered variable stands for: the only time that anything is computed to the end."""
        try:
            self._scored = self._grade(session)
        except BackendError as error:
            self.toolbox.failures += 1
            raise ToolError(prompts.BACKEND_FAILED.format(tool=FINAL)) from error
        self.session = session
        self._result = prompts.ANSWERED, prompts.ANSWERED
        return Outcome(prompts.ANSWERED, True)

    def _grade(self, session: Session) -> Score:
        assert session.answer is not None
        score = score_kg(self.graph.answer(session.variables[session.answer].program), self._gold)
        return Score(score.f1, score.exact, score._asdict())

    def _score(self) -> Score:
        if self.session.answer is None:
            return Score(0.0, False)
        if self._scored is None:  # after a restore
            self._scored = self._grade(self.session)
        return self._scored

    # What the agent is told -----------------------------------------------------------------------------------------

    def _open(self, question: str) -> str:
        if self.dialect == "agentbench":
            words = prompts.AGENTBENCH_TOOLS_QUESTION if self.protocol == "tools" else prompts.AGENTBENCH_QUESTION
            return words.format(question=question, entities=", ".join(self._entities))
        named = [(name, mention(name, entity)) for name, entity in self._entities.items()]
        entities = ", ".join(name if name == written else f"{name} ({written})" for name, written in named)
        return prompts.QUESTION.format(question=question, entities=entities)

    def _page(self) -> str:
        """The question, what was made so far, and the last result."""
        variables, lines = self.session.variables, self._lines
        for number in range(len(lines), len(variables)):
            made = self._describe(variables[number].program)
            lines.append(prompts.VARIABLE_LINE.format(number=number, made=made, type=variables[number].type))
        return "\n".join([self._head, *lines, prompts.RESULT.format(result=self._result[0])])

    def _describe(self, program: Program) -> str:
        """The call that makes a program, as the agent would write it."""
        tool = {"FORWARD": "get_neighbors", "AND": "intersection"}.get(program.op, program.op.lower())
        arguments = [self._argument(part) for part in program.parts]
        return f"{tool}({', '.join([*arguments, program.name] if program.name else arguments)})"

    def _argument(self, program: Program) -> str:
        """A variable's number, or an entity's name."""
        for number, variable in enumerate(self.session.variables):
            if variable.program == program:
                return f"#{number}"
        return next((name for name, entity in self._entities.items() if entity == program.name), program.name)

    def _refused(self, reason: str, observation: str) -> str:
        return reason if self.dialect == "agentbench" else super()._refused(reason, observation)

    def summary(self) -> str:
        """What the last tool did."""
        return self._result[1]

    def _choices(self) -> list[Choices] | None:
        """Every call that makes sense now; None where the graph does not answer."""
        try:
            return self.toolbox.choices(self.session, self._entities)
        except BackendError:
            return None

    def _admissible(self) -> list[Call] | None:
        choices = self._choices()
        return None if choices is None else [_call(move) for group in choices for move in group.moves()]

    def _list_actions(self) -> list[str] | None:
        """The admissible calls written out: in pieces that many states share, and kept while the episode lasts."""
        known = self._listed.get(self.session)
        if known is None:
            choices = self._choices()
            if choices is None:
                return None
            if len(self._listed) >= KEPT_STATES:
                self._listed.clear()
            known = [text for group in choices for text in _written(group, self.protocol, self.dialect)]
            self._listed[self.session] = known
        return known.copy()

    def _render(self, call: Call) -> str:
        return _write(call, "text", self.dialect)

    def format_call(self, call: Call) -> str:
        """Write a call as the agent would in the environment's protocol and dialect."""
        return _write(call, self.protocol, self.dialect)

    # State and expert -----------------------------------------------------------------------------------------------

    def _get_state(self) -> Any:
        return self.session.to_json()

    def _set_state(self, state: Any) -> None:
        self.session = Session.from_json(state, self.toolbox.ontology)
        self._lines = []

    @property
    def _expert_here(self) -> KGExpert:
        if self._expert_cache is None:
            program = parse_program(self.task.payload["program"])
            careful = self.dialect == "agentbench"
            self._expert_cache = KGExpert(program, self._gold, self.graph, self._entities, careful=careful)
        return self._expert_cache

    def _expert(self) -> Call:
        return _call(self._expert_here.next_move(self.session))

    def expert_thought(self) -> str:
        """Why the expert does what it does next."""
        return self._expert_here.thought(self.session)

    def _cost_to_go(self) -> float:
        return self._expert_here.cost_to_go(self.session)


def _call(move: Move) -> Call:
    return Call(move.tool, dict(zip(PARAMETERS.get(move.tool, _ANSWER_PARAMETERS), move.arguments, strict=True)))


@lru_cache(maxsize=1 << 12)
def _written(choices: Choices, protocol: str, dialect: str) -> tuple[str, ...]:
    return tuple(_write(_call(move), protocol, dialect) for move in choices.moves())


def _write(call: Call, protocol: str, dialect: str) -> str:
    """A call as the agent writes it. AgentBench's agents answer in words in both protocols."""
    agentbench = dialect == "agentbench"
    if protocol == "tools" and not (agentbench and call.name == FINAL):
        return format_tool_call(call)
    arguments = ", ".join(call.arguments.values())
    if call.name == FINAL:
        return f"Final Answer: {arguments}"
    return f"Action: {call.name}({arguments})" if agentbench else f"{call.name}({arguments})"
