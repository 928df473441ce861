"""Every string of the knowledge graph that an agent reads, apart from the questions (wording.py, data/phrases.json)."""

from __future__ import annotations

_TASK = """\
Answer a question with a knowledge graph. You cannot see the graph; you build the answer with tools, step by step. \
What a tool finds is a variable: #0, #1, … in order of making. A variable stands for a set of things of one type, or \
for a number. Start from the entities of the question. You have a limited number of turns."""

_TOOLS = """\
get_relations(x)           list the relations that lead on from x, an entity or a variable
get_neighbors(x, relation) make a variable: all that a relation leads to from x; list the relations of x first
intersection(#i, #j)       make a variable: what is in both; they must be of the same type
get_attributes(#i)         list what the members of a variable can be compared by
argmax(#i, attribute)      make a variable: the one member with the greatest value; list the attributes first
argmin(#i, attribute)      the same for the least value
count(#i)                  make a variable: the number of members"""

TEXT_SYSTEM_PROMPT = f"""{_TASK}
Answer with one action:
{_TOOLS}
Final Answer: #i           end with the variable that answers the question
You may think first, on a line that starts with 'Thought:'; the action then follows on a line that starts with \
'Action:'."""

TOOLS_SYSTEM_PROMPT = f"""{_TASK}
Answer with one function call, as a JSON object {{"name": ..., "arguments": {{...}}}}; end with final_answer."""

_EXAMPLE = """\
Question: which of the towns that Ada has lived in has the most people?
Entities: [Ada]
Thought: I see what leads on from Ada.
Action: get_relations(Ada)
Observation: [people.person.children, people.person.places_lived]
Thought: places_lived leads to the towns.
Action: get_neighbors(Ada, people.person.places_lived)
Observation: variable #0, which are instances of location.town
Thought: The towns must be compared by their people.
Action: get_attributes(#0)
Observation: [location.town.area, location.town.population]
Thought: I want the greatest population.
Action: argmax(#0, location.town.population)
Observation: variable #1, which are instances of location.town
Thought: #1 is the town.
Final Answer: #1"""

AGENTBENCH_TEXT_PROMPT = f"""{_TASK}
The tools:
{_TOOLS}
Write a thought and one action in each turn: 'Thought: ...' and below it 'Action: tool(arguments)'. When a variable \
holds the answer, write 'Final Answer: #i' instead of an action. An example:

{_EXAMPLE}"""

AGENTBENCH_TOOLS_PROMPT = f"""{_TASK}
Call the tools that are published to you; several calls in one message are carried out in order. When a variable holds \
the answer, answer without a call: 'Final Answer: #i'."""

# The published tools.
GET_RELATIONS = "List the relations that lead on from an entity or a variable."
GET_NEIGHBORS = "Make a variable: all that a relation leads to. List the relations first."
INTERSECTION = "Make a variable: what is in both of two variables of the same type."
GET_ATTRIBUTES = "List what the members of a variable can be compared by."
ARGMAX = "Make a variable: the member with the greatest value of an attribute. List the attributes first."
ARGMIN = "Make a variable: the member with the least value of an attribute. List the attributes first."
COUNT = "Make a variable: the number of members of a variable."
FINAL_ANSWER = "End with the variable that answers the question."
START = "A variable such as #0, or an entity of the question."
VARIABLE = "A variable, such as #0."
RELATION = "A relation that get_relations listed for it."
ATTRIBUTE = "An attribute that get_attributes listed for it."

# What is shown.
QUESTION = "Question: {question}\nEntities: [{entities}]"
VARIABLE_LINE = "#{number} = {made}, {type}"
RESULT = "Result: {result}"
ANSWERED = "The answer is taken."

# The tools' own words, as AgentBench has them.
LISTING = "[{names}]"
NEW_VARIABLE = "variable #{number}, which are instances of {type}"
NEW_NUMBER = "variable #{number}, which is a number"
OBSERVATION = "Observation: {result}"
NOT_A_START = "{tool}: variable must be a variable or an entity"
NOT_A_VARIABLE = "{tool}: variable must be a variable"
NOT_A_RELATION = "get_neighbors: relation must be a relation of the variable"
NOT_AN_ATTRIBUTE = "{tool}: attribute must be an attribute of the variable"
UNLIKE_TYPES = "intersection: two variables must have the same type"
WRONG_VARIABLE = "Invalid variable id! Need to recheck the action."

# Our own words about what AgentBench has none for.
UNKNOWN_TYPE = "unknown"
TOO_MANY_VARIABLES = "there are {limit} variables, and no more can be made."
TOO_LONG_PROGRAM = "{tool}: the variable would take more than {limit} operations"
BACKEND_FAILED = "{tool}: the graph did not answer. Try again."
WRONG_FORM = "write tool(arguments) or Final Answer: #i."
WRONG_ANSWER_FORM = "write Final Answer: #i with the number of a variable."
UNKNOWN_TOOL = "there is no tool {name!r}."
WRONG_COUNT = "{tool} takes {count} argument{plural}."

# AgentBench's answers to what cannot be carried out: text protocol, then function calls.
NO_ACTION = "No executable function found! Need to recheck the action."
NOT_EXECUTED = "Function is not executed!"
CANNOT_EXECUTE = "{tool}({arguments}) cannot be executed. You may make a mistake and need to fix it."
CANNOT_INTERSECT = (
    "intersection({arguments}) cannot be executed. The two variables are not of the same type. "
    "You may further explore them by call get_relations"
)
SYNTAX_ERROR = (
    "I may make a syntax error when calling {tool} (e.g., unmatched parenthesis). I need to fix it and reuse the tool"
)
NO_CALLS = "No valid function calls found! Need to recheck the function calls."
CALL_ERROR = "Error processing tool call: {message}"
WRONG_SIGNATURE = "Arguments do not match the function signature. Error processing arguments for {tool}"
NO_FUNCTION = "Provide an invalid function name. Function {tool} does not exist"
AGENTBENCH_QUESTION = "A new question: {question}\nEntities: [{entities}]"
AGENTBENCH_TOOLS_QUESTION = "{question}\nEntities: [{entities}]"

# What came of an action, in the short-term memory.
LISTED_SUMMARY = "{count} listed"
VARIABLE_SUMMARY = "#{number}: {type}"

# What the expert thinks, twelve words at most: the chain of thought of supervised data.
THINK_RELATIONS = "I look at what leads on from {start}."
THINK_NEIGHBORS = "From {start} I follow {relation}."
THINK_INTERSECTION = "Both must hold, so I take what {first} and {second} share."
THINK_ATTRIBUTES = "I look at what {start} can be compared by."
THINK_ARGMAX = "The greatest {attribute} is asked for."
THINK_ARGMIN = "The least {attribute} is asked for."
THINK_COUNT = "It is asked how many there are, so I count."
THINK_ANSWER = "{start} is what was asked for."
THINK_LOST = "I give what I have."
