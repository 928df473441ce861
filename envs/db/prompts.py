"""Every string of the database world that an agent reads, apart from questions (data/) and the server's own texts."""

from __future__ import annotations

import json
from collections.abc import Sequence

_TASK = """\
You operate a MySQL database to answer a question about its tables, or to change them as you are told. You cannot see \
the tables except by SQL. Every column is of type TEXT: write col + 0 to sort or compare by number. Send one statement \
at a time; its result, or its error, comes back, cut after 800 characters. When you know the answer, or have made the \
change, give your final answer: a list of strings, each one value. After a change any list will do. You have a limited \
number of turns."""

TEXT_SYSTEM_PROMPT = f"""{_TASK}
To run a statement, write
Action: Operation
```sql
SELECT ...
```
To finish, write
Action: Answer
Final Answer: ["first value", "second value"]
You may think first, on a line that starts with 'Thought:'."""

TOOLS_SYSTEM_PROMPT = f"""{_TASK}
Answer with one function call, as a JSON object {{"name": ..., "arguments": {{...}}}}."""

SQL_TOOL = "Run one SQL statement on the MySQL server and read its result."
SQL_QUERY = "The statement."
ANSWER_TOOL = "Finish with the final answer."
ANSWER_VALUES = "The values of the answer, as a list of strings."

OPERATION = "Operation\n```sql\n{sql}\n```"
ANSWER = "Answer\nFinal Answer: {answers}"
DONE = "The answer is committed."
TRUNCATED = "[TRUNCATED]"

WRONG_FORM = (
    "write 'Action: Operation' and a ```sql block on the lines below it, or 'Action: Answer' and a line "
    "'Final Answer: [...]' below it."
)
EMPTY_SQL = "the statement is empty."
NOT_STRINGS = "every value of the answer must be a string."


def table_sentence(name: str, columns: Sequence[str]) -> str:
    """What is told of a table, in the words of the official tasks."""
    return f"The name of this table is {name}, and the headers of this table are {','.join(columns)}."


def official_instruction(description: str, additional: str, evidence: str) -> str:
    """The question of an official record with what belongs to it."""
    parts = [f"Evidence about the question: {evidence}"] if evidence else []
    return "\n".join([*parts, description, additional]).strip()


def answer_list(values: Sequence[str]) -> str:
    """An answer as it stands after `Final Answer:`."""
    return json.dumps(list(values), ensure_ascii=False)


# What came of an action, in the short-term memory.
ERROR_SUMMARY = "error {code}"
EMPTY_SUMMARY = "done, no rows"
DONE_SUMMARY = "answered"

# What the expert thinks, twelve words at most.
THINK_QUERY = "I ask the {table} table."
THINK_INSERT = "I insert the new row."
THINK_UPDATE = "I update the rows that are meant."
THINK_DELETE = "I delete the rows that are meant."
THINK_REPAIR = "The table is not as it should be, so I restore it."
THINK_ANSWER = "The result holds the answer."
THINK_CHANGED = "The change is made, so I finish."

# Why a change did not count, for the person who reads `info`.
NO_DIFFERENCE = "the tables are as they should be, but the episode ended without an answer"
MISSING_TABLE = "table {table} is gone"
DIFFERENCE = (
    "table {table}: {missing} expected rows are missing, such as {missing_row}; "
    "{extra} rows are not expected, such as {extra_row}"
)
