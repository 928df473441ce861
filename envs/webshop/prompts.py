"""Every string of the shop that an agent reads, apart from the pages themselves (pages.py)."""

from __future__ import annotations

from collections.abc import Sequence

_TASK = """\
You are shopping on a web site. Buy the one product that fits the instruction best: the right kind of product, with \
every attribute and option it asks for, below its price limit. A purchase ends the task and is scored from 0 to 1; \
you have a limited number of turns.
Search with a few keywords. On a page of results, open a product by its code. On a product's page, choose the options \
that were asked for, look at its description and features if you need to, then buy it."""

TEXT_SYSTEM_PROMPT = f"""{_TASK}
Answer with one action:
search[keywords]   look for products; works on every page
click[name]        press a button, open a product by its code, or choose an option value that is on the page
You may think first, on a line that starts with 'Thought:'; the action then follows on a line that starts with \
'Action:'."""

TOOLS_SYSTEM_PROMPT = f"""{_TASK}
Answer with one function call, as a JSON object {{"name": ..., "arguments": {{...}}}}."""

SEARCH_TOOL = "Look for products; works on every page."
SEARCH_KEYWORDS = "A few keywords."
CLICK_TOOL = "Press a button, open a product by its code, or choose an option value on the page."
CLICK_VALUE = "The name of the button, the product's code or the option value, as the page shows it."

WRONG_FORM = "write search[keywords] or click[name]."
EMPTY_SEARCH = "a search needs keywords."


def not_on_page(name: str, clickables: Sequence[str]) -> str:
    """Name what can be clicked instead."""
    shown = name if len(name) <= 60 else f"{name[:60]}…"
    return f"'{shown}' cannot be clicked here. You can click: {', '.join(clickables)}."


# What came of an action, in the short-term memory.
RESULTS_SUMMARY = "page {number} of the results"
ITEM_SUMMARY = "product {asin}"
OPTIONS_SUMMARY = "product {asin} with {options}"
SUB_PAGE_SUMMARY = "{page} of {asin}"
SEARCH_SUMMARY = "search page"
DONE_SUMMARY = "bought {asin}"


# What the expert thinks, twelve words at most: the chain of thought of supervised data.
THINK_SEARCH = "I search for {query} in the words of the request."
THINK_SEARCH_AGAIN = "Nothing fits here, so I search for {query} with better words."
THINK_OPEN = "{asin} at {price} looks right."
THINK_NEXT = "Nothing on this page fits, so I turn to the next."
THINK_PREVIOUS = "The better ones were on an earlier page."
THINK_OPTION = "The request says {name} {value}."
THINK_BUY = "Everything fits the request, so I buy it."
THINK_SEEN = "I have read enough here."
THINK_OTHER_KIND = "These are {query}, not {wanted}."
THINK_TOO_DEAR = "{price} is more than {cap:.0f} dollars."
THINK_NO_OPTION = "It is not offered in {name} {value}."
THINK_NO_ATTRIBUTE = "This one is not {attribute}."
THINK_NO_FIT = "This is not quite what was asked for."
