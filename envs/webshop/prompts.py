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
You may think first, on a line that starts with 'Thought:'; then give the action on a line that starts with 'Action:'."""

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
