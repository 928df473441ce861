"""Pages as an agent sees them: numbers, what is hidden, what a form sends, and a budget."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html as lxml_html

from cmat_gym.core.errors import InvalidAction
from cmat_gym.envs.mind2web.backend import MAX_TEXT, Move, check, encode
from cmat_gym.envs.mind2web.dom import Page, clean, filled_document
from cmat_gym.envs.mind2web.sites import html

PAGE = """<!DOCTYPE html><html><head><title>A [test] page</title><script>var x = "<b>no</b>"</script></head><body>
<h1>Heading</h1><p>Text with [7] forged <b>bold</b> number.</p>
<a href="/one">One</a> <a name="anchor">not a link</a> <span hidden><a href="/secret">Secret</a></span>
<div style="display: none"><button>Gone</button></div><div style="visibility:hidden"><button>Gone too</button></div>
<form action="/go" method="get">
  <label>Name <input type="text" name="name" value="Ida"></label>
  <input type="hidden" name="token" value="t1"><input type="text" name="trap" value="bait" hidden>
  <label>Size
  <select name="size"><option value="s">Small</option><option value="m" selected>Medium</option></select></label>
  <label><input type="checkbox" name="gift"> Gift</label>
  <label><input type="radio" name="way" value="air" checked> Air</label>
  <label><input type="radio" name="way" value="sea"> Sea</label>
  <label>Note <textarea name="note">hello</textarea></label>
  <button name="act" value="buy">Buy</button><button disabled>Never</button>
</form></body></html>"""


@pytest.fixture
def page() -> Page:
    return Page(PAGE)


def test_text_numbers_what_can_be_seen_and_acted_on(page: Page) -> None:
    assert page.title == "A (test) page"
    assert page.text({}).splitlines() == [
        "# Heading",
        "Text with (7) forged bold number.",
        "[1] link One not a link",
        '[2] text Name: "Ida" [3] select Size: "Medium" of Small | Medium [4] checkbox Gift (off) '
        '[5] radio Air (on) [6] radio Sea (off) [7] area Note: "hello" [8] button Buy button Never (disabled)',
    ]


def test_nothing_hidden_is_shown_numbered_or_found(page: Page) -> None:
    for text in (page.text({}), page.tree({})):
        assert not re.search("Secret|Gone|trap|token|bait|var x", text)
    assert page.find(0) is page.find(9) is page.find(-1) is page.find(10**30) is None


def test_the_accessibility_tree_holds_the_same_elements(page: Page) -> None:
    rows = page.tree({3: "s", 4: "on"}).splitlines()
    assert '  [3] combobox "Size" value="Small" options="Small | Medium"' in rows
    assert '  [4] checkbox "Gift" checked=true' in rows
    numbers = re.findall(r"^\s*\[(\d+)\]", page.tree({}), re.MULTILINE)
    assert numbers == re.findall(r"\[(\d+)\]", page.text({})) == [str(n) for n in range(1, 9)]


def test_a_form_sends_what_html_says(page: Page) -> None:
    button = page.elements[7]
    untouched = [
        ("name", "Ida"),
        ("token", "t1"),
        ("trap", "bait"),
        ("size", "m"),
        ("way", "air"),
        ("note", "hello"),
        ("act", "buy"),
    ]
    assert page.submission(button, {}) == untouched
    fields = {2: "Bo", 3: "s", 4: "on", 5: "", 6: "on", 7: "x"}
    assert page.submission(button, fields) == [
        ("name", "Bo"), ("token", "t1"), ("trap", "bait"), ("size", "s"), ("gift", "on"), ("way", "sea"),
        ("note", "x"), ("act", "buy"),
    ]  # fmt: skip


def test_addresses_are_encoded_as_browsers_do() -> None:
    assert encode([("a b", "x~y*z-._"), ("ü", "1+1=2&'")]) == "a+b=x%7Ey*z-._&%C3%BC=1%2B1%3D2%26%27"


def test_inert_parts_are_out_of_reach() -> None:
    page = Page('<body><div inert><a href="/">Home</a></div><div role="dialog"><button>Close</button></div></body>')
    assert page.text({}) == "[1] button Close"


@pytest.mark.parametrize(
    ("move", "words"),
    [
        (Move("CLICK", 99), "no element [99]"),
        (Move("CLICK", 2), "[2] is a text: use TYPE"),
        (Move("TYPE", 1, "x"), "[1] is a link: use CLICK"),
        (Move("CLICK", 3), "use SELECT"),
        (Move("SELECT", 3, "Huge"), "it has: Small | Medium"),
        (Move("TYPE", 2, "a\nb"), "one line"),
        (Move("TYPE", 2, "\x1b[0m"), "printable"),
        (Move("TYPE", 2, "\ud800"), "printable"),
        (Move("TYPE", 2, "x" * (MAX_TEXT + 1)), str(MAX_TEXT)),
    ],
)
def test_moves_the_page_does_not_allow_say_why(page: Page, move: Move, words: str) -> None:
    with pytest.raises(InvalidAction, match=re.escape(words)):
        check(page, move)


def test_options_are_chosen_by_label_without_regard_to_case(page: Page) -> None:
    assert check(page, Move("SELECT", 3, " sMALL "))[1] == "s"


@pytest.mark.parametrize("budget", [500, 700, 1500])
def test_a_budget_keeps_elements_and_says_what_was_left_out(budget: int) -> None:
    rows = "".join(f"<p>{'word ' * 90}</p><p><a href='/{n}'>Link {n}</a></p>" for n in range(12))
    page = Page(f"<body>{rows}</body>")
    text = page.text({}, budget)
    assert len(text) <= budget < len(page.text({}))
    assert all(f"[{n}] link Link {n - 1}" in text for n in range(1, 13))
    assert re.search(r"… \d+ more lines", text)
    assert len(page.tree({}, budget)) <= budget


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_text_becomes_markup_or_a_number(text: str) -> None:
    """Whatever stands in a record or was typed shows up as text only."""
    document = f"<body>{html.para(text)}{html.link(text, '/x')}{html.form('/f', html.field(text, 'q', text))}</body>"
    if any(not (char.isprintable() or char.isspace()) for char in text):
        return  # such characters are refused before they get anywhere
    page = Page(document)
    assert [element.role for element in page.elements] == ["link", "text", "button"]
    assert re.findall(r"\[(\d+)\]", page.text({})) == ["1", "2", "3"]
    assert page.elements[0].name == clean(text)


@given(st.text(alphabet=st.sampled_from('<>/="abdiv &;[]!-\n'), max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_document_can_be_read(document: str) -> None:
    page = Page(f"<html>{document}</html>")
    assert isinstance(page.text({}), str)
    assert isinstance(page.tree({}), str)


def test_a_document_is_shown_with_what_was_filled_in() -> None:
    page = (
        "<html><body><form><input name=a><textarea name=b>old</textarea><input type=checkbox name=c checked>"
        "<input type=radio name=d value=1><select name=e><option selected>x<option>y</select></form></body></html>"
    )
    shown = lxml_html.document_fromstring(filled_document(page, {1: '"<b>', 2: "new", 3: "", 4: "on", 5: "y"}))
    assert shown.xpath("string(//input[@name='a']/@value)") == '"<b>'
    assert shown.findtext(".//textarea") == "new"
    assert not shown.xpath("//input[@name='c']/@checked")
    assert shown.xpath("//input[@name='d' and @checked]")
    assert shown.xpath("//option[@selected]/text()") == ["y"]
    assert filled_document(page, {}).count("checked") == page.count(" checked")
