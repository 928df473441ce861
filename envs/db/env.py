"""`cmat/DB-v0`: the environment. What it shows and takes is in the class docstring."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from cmat_gym.core.env import Outcome, TextEnv
from cmat_gym.core.errors import InvalidAction, choose
from cmat_gym.core.protocol import Call, Tool
from cmat_gym.core.task import Score, Task
from cmat_gym.envs.db import prompts
from cmat_gym.envs.db.backend import Backend, open_backend
from cmat_gym.envs.db.dialect.engine import Row, Table
from cmat_gym.envs.db.dialect.errors import MySQLError
from cmat_gym.envs.db.expert import DBExpert, payload_tables, quote_name
from cmat_gym.envs.db.records import CHANGING
from cmat_gym.envs.db.scorer import RULES, content_digest, read_answer, same_answer, table_hash
from cmat_gym.envs.db.tasks import open_tasks

__all__ = ["DBEnv"]

SHOWN = 800  # characters of a result
_OPERATION = re.compile(r"operation\s*```sql\s+(.*?)\s*```", re.DOTALL | re.IGNORECASE)
_ANSWER = re.compile(r"answer\s+final answer:[ \t]*([^\n]*)", re.IGNORECASE)


class DBEnv(TextEnv):
    """Questions about tables, answered with SQL.

    ## Description
    The agent answers a question about a table, or changes the table as it is told, by sending SQL to a MySQL server one
    statement at a time; then it commits a final answer. Builtin tasks are about 12 fields, with one table or two; every
    question has one right answer. `source=` a DBBench file or folder plays the official tasks. By default the server is
    embedded: MySQL's dialect, types, collation and errors on SQLite, compared statement by statement with MariaDB
    (docs/results/db.md). `backend=` plays on a real server.

    ## Action Space
    Text. Protocol `text`, after an optional `Thought:` line: `Operation` and an SQL block between ```` ```sql ```` and
    ```` ``` ````, or `Answer` and a line `Final Answer: ["value", …]`. Protocol `tools`: one JSON call of
    `execute_sql(query)` or `commit_final_answer(answers)`.

    ## Observation Space
    Text. First the question, with the names of the tables and their columns (not their rows). Then the result of each
    statement as Python writes a list of tuples, cut after 800 characters, or the server's error. All columns are TEXT:
    sums and averages come as floats, counts as integers.

    ## Rewards
    `outcome`: 1 for a right answer, or for tables that are as they should be when the answer is committed, else 0.
    `progress` adds the change of γ^(turns the expert still needs): showing the answer, or making the change, counts.

    ## Starting State
    A new database with the task's tables. The task is drawn from the split with the environment's own generator, or
    chosen by `options={"task": …}`.

    ## Episode End
    Termination: a final answer is committed.
    Truncation: the turn limit is reached (15 unless `max_turns` says otherwise); the score is then 0, but for changes
    under the rules `v0.2`.

    ## Arguments
    | name | default | meaning |
    |---|---|---|
    | `source` | `"builtin"` | or a DBBench file, or a folder with `dev.jsonl` or `standard.jsonl` |
    | `split` | `"train"` | `train`, `dev` or `test`; no thing's name and no request is in two of them |
    | `protocol` | `"text"` | or `"tools"` |
    | `memory` | `"dual"` | a `MemoryConfig`, or None for the bare result |
    | `reward` | `"outcome"` | or `"progress"`, with `discount` as its γ |
    | `max_turns` | None | turns per episode |
    | `backend` | `"embedded"` | or `"mariadb"` (a private server), or a DSN `mysql://user:password@host:3306` |
    | `rules` | `"strict"` | or `"function_calling"`, `"v0.2"`: how the two official editions compare answers |
    | `timeout` | 10 | seconds one statement may take |

    ## Example Episode
    ```
    Which boat of type ketch is the longest?
    The name of this table is boats, and the headers of this table are name,type,port,length,built,prize money.
    > Operation
      ```sql
      SELECT name FROM boats WHERE type = 'ketch' ORDER BY length + 0 DESC LIMIT 1
      ```
    [('amber heron',)]
    > Answer
      Final Answer: ["amber heron"]
    ```

    ## Source
    The domain "database" (DBBench) of AgentBench: Liu et al., ICLR 2024, github.com/THUDM/AgentBench.

    ## Differences from the Source
    - Answers are compared as data; the original ran the agent's answer as Python.
    - A reply without an SQL block or an answer costs a turn and says what was wrong; the original ends the episode.
    - `Operation` and `Answer` may be written in any case; line breaks within SQL stay.
    - Changes count when the answer is committed, as in the function-calling edition; `rules="v0.2"` counts them always.
    - The clock stands at 2024-01-01 12:00:00 and RAND() draws the same numbers again, so that episodes repeat.
    - Every statement is committed by itself (as there), so transactions and session variables have no effect.
    - Texts are compared under utf8mb4_general_ci: MySQL 8's default differs in trailing spaces and in ß = ss.
    """

    domain = "db"
    tools = (
        Tool("execute_sql", prompts.SQL_TOOL, {"query": prompts.SQL_QUERY}),
        Tool("commit_final_answer", prompts.ANSWER_TOOL, {"answers": prompts.ANSWER_VALUES}, {"answers": "array"}),
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
        rules: str = "strict",
        timeout: float = 10.0,
    ) -> None:
        super().__init__(
            open_tasks(source),
            split=split,
            protocol=protocol,
            reward=reward,
            max_turns=max_turns,
            discount=discount,
            render_mode=render_mode,
        )
        self.rules = choose("rules", rules, RULES)
        self.backend: Backend = open_backend(backend, timeout)
        self._payload: dict[str, Any] = {}
        self._expert_here: DBExpert | None = None
        self._untouched = -1  # what `backend.changes` was when the episode began
        self._answer: str | list[str] | None = None
        self._ready = False
        self._summary = ""
        self._verdict: tuple[int, bool] | None = None

    @property
    def system_prompt(self) -> str:
        """What the agent must know of the server, in the chosen protocol."""
        return prompts.TOOLS_SYSTEM_PROMPT if self.protocol == "tools" else prompts.TEXT_SYSTEM_PROMPT

    def close(self) -> None:
        """Let go of the database."""
        if not self._closed:
            self.backend.close()
        super().close()

    # The dynamics ---------------------------------------------------------------------------------------------------

    def _begin(self, task: Task) -> str:
        self._payload = dict(task.payload)
        self._expert_here = self._verdict = self._answer = None
        self._ready, self._summary = False, ""
        try:
            self.backend.load(self._payload["database"], payload_tables(self._payload))
        except MySQLError:  # an official record whose table no server makes: it is played without
            self.backend.load(self._payload["database"], ())
        self._untouched = self.backend.changes
        return task.instruction

    def _parse(self, action: str) -> Call:
        operation = _OPERATION.fullmatch(action)
        if operation is not None:
            return Call("execute_sql", {"query": operation[1]})
        answer = _ANSWER.fullmatch(action.strip())
        if answer is None:
            raise InvalidAction(prompts.WRONG_FORM)
        text = answer[1].strip()
        items = read_answer(text)
        plain = text[:1] in ("[", "(") and text != "" and all(isinstance(item, str) for item in items)
        return Call("commit_final_answer", {"answers": items if plain else text})

    def _apply(self, call: Call) -> Outcome:
        if call.name == "commit_final_answer":
            self._answer = self._checked(call.arguments["answers"])
            self._summary = prompts.DONE_SUMMARY
            return Outcome(prompts.DONE, terminated=True)
        query = str(call.arguments["query"])
        if not query.strip():
            raise InvalidAction(prompts.EMPTY_SQL)
        try:
            rows = self.backend.execute(query)
        except MySQLError as error:
            self._summary = prompts.ERROR_SUMMARY.format(code=error.code)
            self._notice(query, [])
            return Outcome(str(error))
        self._notice(query, rows)
        text = str(rows)
        self._summary = text if rows else prompts.EMPTY_SUMMARY
        return Outcome(text if len(text) <= SHOWN else text[:SHOWN] + prompts.TRUNCATED)

    def _checked(self, answers: Any) -> str | list[str]:
        if isinstance(answers, str):
            return answers
        if not all(isinstance(item, (str, int, float)) and not isinstance(item, bool) for item in answers):
            raise InvalidAction(prompts.NOT_STRINGS)
        return [item if isinstance(item, str) else str(item) for item in answers]

    def _notice(self, query: str, rows: list[Row]) -> None:
        """Whether the agent has seen the answer now: the expert need not ask again."""
        if self._payload["type"] in CHANGING:
            return
        shown = [str(value) for row in rows for value in row]
        self._ready = query == self._payload["sql"] or same_answer(shown, self._payload["answer"])

    # The score ------------------------------------------------------------------------------------------------------

    def _score(self) -> Score:
        kind = self._payload["type"]
        committed = self._answer is not None
        if kind in CHANGING:
            right = (committed or self.rules == "v0.2") and self._changed_rightly()
        else:
            right = self._answer is not None and same_answer(self._answer, self._payload["answer"], self.rules)
        return Score(float(right), right, {"type": kind, "committed": committed})

    def _changed_rightly(self) -> bool:
        changes = self.backend.changes
        if self._verdict is None or self._verdict[0] != changes:
            self._verdict = changes, self._compare_tables()
        return self._verdict[1]

    def _compare_tables(self) -> bool:
        """Builtin tasks: every table as it should be, row by row. Official ones: the official hash of the one table."""
        try:
            if self.rules == "strict" and "content" in self._payload:
                return content_digest(self._current_tables()) == str(self._payload["content"])
            return table_hash(self.backend.rows(self._payload["table"])) == str(self._payload["md5"])
        except MySQLError:  # the agent has dropped it
            return False

    def _current_tables(self) -> list[Table]:
        names = [name for name, _, _ in self._payload["tables"]]
        return [Table(name, self.backend.columns(name), tuple(self.backend.rows(name))) for name in names]

    def _info(self, score: Score, *, valid: bool) -> dict[str, Any]:
        info = super()._info(score, valid=valid)
        if self._finished and self._payload["type"] in CHANGING and not score.success and self._turn:
            info["difference"] = self.difference()
        return info

    def difference(self) -> str:
        """Why a change does not count: which rows are missing, and which should not be there."""
        found = self._oracle.current(self.backend)
        parts: list[str] = []
        for wanted in self._oracle.gold:
            table = found.get(wanted.name)
            if table is None:
                parts.append(prompts.MISSING_TABLE.format(table=wanted.name))
                continue
            missing, extra = _less(wanted.rows, table.rows), _less(table.rows, wanted.rows)
            if missing or extra:
                rows = {"missing_row": missing[0] if missing else "-", "extra_row": extra[0] if extra else "-"}
                parts.append(
                    prompts.DIFFERENCE.format(table=wanted.name, missing=len(missing), extra=len(extra), **rows)
                )
        return "; ".join(parts) or prompts.NO_DIFFERENCE

    # What the agent is told -----------------------------------------------------------------------------------------

    def _render(self, call: Call) -> str:
        if call.name == "execute_sql":
            return prompts.OPERATION.format(sql=call.arguments["query"])
        answers = call.arguments["answers"]
        return prompts.ANSWER.format(answers=answers if isinstance(answers, str) else prompts.answer_list(answers))

    def _admissible(self) -> list[Call]:
        """Looks at the tables, to start from (any other statement may be sent too)."""
        names = [quote_name(name) for name, _, _ in self._payload["tables"]]
        looks = ["SHOW TABLES", *(f"DESCRIBE {name}" for name in names), *(f"SELECT * FROM {name}" for name in names)]
        return [Call("execute_sql", {"query": look}) for look in looks]

    def summary(self) -> str:
        """What came back, or the number of the error."""
        return self._summary

    # State and expert -----------------------------------------------------------------------------------------------

    def _get_state(self) -> Any:
        """The tables only once they were touched: until then the task itself says what they are."""
        touched = self.backend.changes != self._untouched
        return [self._ready, self._answer, self._summary, self.backend.dump() if touched else None]

    def _set_state(self, state: Any) -> None:
        self._ready, self._answer, self._summary, dump = state
        if dump is not None:
            self.backend.restore(self._payload["database"], dump)

    @property
    def _oracle(self) -> DBExpert:
        if self._expert_here is None:
            self._expert_here = DBExpert(self._payload)
        return self._expert_here

    def _expert(self) -> Call:
        return self._oracle.plan(self.backend, self._ready)[0].call

    def expert_thought(self) -> str:
        """Why the expert does what it does next."""
        return self._oracle.plan(self.backend, self._ready)[0].thought

    def _cost_to_go(self) -> float:
        if self._answer is not None:
            return 0.0 if self._score().success else math.inf
        if self._payload.get("defects"):
            return math.inf
        return float(len(self._oracle.plan(self.backend, self._ready)))


def _less(rows: tuple[Row, ...], others: tuple[Row, ...]) -> list[Row]:
    """The rows that are in the first and not in the second, as often as they are more there."""
    left = list(others)
    missing: list[Row] = []
    for row in rows:
        if row in left:
            left.remove(row)
        else:
            missing.append(row)
    return missing
