"""The same sites in a real browser: a system Chromium, driven by Playwright, on a server of our own.

Observations are made by the same code as the embedded backend's, from what the browser makes of the document: its
tree, its idea of what is visible, and what its controls hold. The way back is a list of addresses here as there, so
that a snapshot can be taken up by another window.
"""

from __future__ import annotations

import atexit
import io
import os
import queue
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from cmat_gym.core.errors import BackendError, InvalidAction, require
from cmat_gym.envs.mind2web import prompts
from cmat_gym.envs.mind2web.backend import MAX_BACK, Mind2WebBackend, Move, Visit, check
from cmat_gym.envs.mind2web.dom import Element, Page, default_value, parse_page
from cmat_gym.envs.mind2web.server import SiteServer
from cmat_gym.envs.mind2web.sites.base import Site

__all__ = ["ChromiumBackend"]

EXECUTABLE = "CMAT_GYM_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
TIMEOUT = 60_000  # milliseconds; generous, for busy machines
LOADED = "domcontentloaded"  # our pages bring nothing else along
WINDOW = {"width": 960, "height": 720}

# A copy of the document that says what only the browser knows: which elements are out of sight (`data-hidden`), in
# place of the attributes that an author uses for it, and the number of each element; beside it, the controls' content.
_READ = """() => {
  const copy = document.documentElement.cloneNode(true);
  const live = [document.documentElement, ...document.documentElement.querySelectorAll('*')];
  const copies = [copy, ...copy.querySelectorAll('*')];
  const values = {};
  live.forEach((element, n) => {
    const twin = copies[n];
    twin.setAttribute('data-n', n);
    twin.removeAttribute('hidden');
    twin.removeAttribute('style');
    if (!element.checkVisibility({visibilityProperty: true})) twin.setAttribute('data-hidden', '');
    if (['checkbox', 'radio'].includes(element.type)) values[n] = element.checked ? 'on' : '';
    else if (['INPUT', 'TEXTAREA', 'SELECT'].includes(element.tagName)) values[n] = element.value;
  });
  return {html: copy.outerHTML, values};
}"""
_ELEMENT = "n => [document.documentElement, ...document.documentElement.querySelectorAll('*')][n]"

T = TypeVar("T")


class _Driver:
    """One browser per process, in a thread of its own: Playwright's objects belong to the thread that made them."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[[Any], Any], Future[Any]] | None] = queue.SimpleQueue()
        self.pid = os.getpid()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def call(self, work: Callable[[Any], T]) -> T:
        """Do something with the browser in its thread.

        Raises:
            BackendError: The browser did not start, or did not do it.
        """
        done: Future[T] = Future()
        self._work.put((work, done))
        return done.result()

    def stop(self) -> None:
        """Close the browser."""
        if self.pid == os.getpid() and self._thread.is_alive():
            self._work.put(None)
            self._thread.join(timeout=10)

    def _run(self) -> None:
        api = require("playwright.sync_api", "browser")
        try:
            with api.sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=_executable(), args=_flags())
                self._serve(lambda work: work(browser), api.Error)
                browser.close()
        except Exception as error:  # it did not start: everybody who asks is told why
            reason = error
            self._serve(lambda _: _raise(BackendError(f"Chromium did not start: {reason}")), BackendError)

    def _serve(self, do: Callable[[Callable[[Any], Any]], Any], failure: type[Exception]) -> None:
        while (item := self._work.get()) is not None:
            work, done = item
            try:
                done.set_result(do(work))
            except failure as error:
                done.set_exception(error if isinstance(error, BackendError) else BackendError(f"Chromium: {error}"))
            except Exception as error:
                done.set_exception(error)


def _raise(error: Exception) -> None:
    raise error


def _executable() -> str:
    given = os.environ.get(EXECUTABLE)
    found = given or next((path for name in NAMES if (path := shutil.which(name))), None)
    if not found:
        raise BackendError(
            f"No Chromium is installed. On Debian: apt-get install chromium; or name one with {EXECUTABLE}=/path"
        )
    return found


def _flags() -> list[str]:
    """Root cannot have Chromium's sandbox. The browser only ever visits our own pages on the loopback interface."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return ["--disable-dev-shm-usage", "--disable-gpu", *(["--no-sandbox"] if root else [])]


_driver: _Driver | None = None
_driver_lock = threading.Lock()


def _shared_driver() -> _Driver:
    global _driver
    with _driver_lock:
        if _driver is None or _driver.pid != os.getpid():
            _driver = _Driver()
        return _driver


class ChromiumBackend(Mind2WebBackend):
    """A window of a real browser on a site that is served on the loopback interface."""

    def __init__(self) -> None:
        super().__init__()
        require("playwright.sync_api", "browser")
        self._server: SiteServer | None = None
        self._window: Any = None
        self._page: Page | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: where the visit is. The copy opens a window of its own."""
        return {"_site": self._site, "_visit": self._visit, "_server": None, "_window": None, "_page": None}

    def go_to(self, site: Site, visit: Visit) -> None:
        """Open a site in the middle of a visit, or at its beginning."""
        super().go_to(site, visit)
        self._open()

    def act(self, move: Move) -> None:
        """Do something on the page.

        Raises:
            InvalidAction: The page does not allow it; nothing has changed.
            BackendError: The browser failed.
        """
        before = self.visit
        if move.op == "BACK":
            if not before.back:
                raise InvalidAction(prompts.NOTHING_BEFORE)
            self._visit = Visit(before.db, before.back[-1], {}, before.back[:-1])
            self._open()
            return
        page = self.page()
        element, value = check(page, move)
        self._do(lambda window: self._use(window, element, value, page.form_of[element.ref] is not None))
        self._read(before)

    def page(self) -> Page:
        """The page as the browser has it."""
        if self._page is None:
            self._open()
        assert self._page is not None, "_open() reads the page"
        return self._page

    def screenshot(self) -> Any:
        """A picture of the window, height x width x 3 bytes."""
        image = require("PIL.Image", "browser")
        self.page()
        data = self._do(lambda window: window.screenshot())
        return np.asarray(image.open(io.BytesIO(data)).convert("RGB"))

    def close(self) -> None:
        """Close the window and the server."""
        window, server = self._window, self._server
        self._window = self._server = self._page = None
        if window is not None:
            _shared_driver().call(lambda _: window.context.close())
        if server is not None:
            server.close()

    # The browser ------------------------------------------------------------------------------------------------------

    def _do(self, work: Callable[[Any], T]) -> T:
        window = self._window
        return _shared_driver().call(lambda _: work(window))

    def _open(self) -> None:
        """Show the visit in the window: load its page, and put into the controls what they hold."""
        if self._server is None or self._window is None:
            self._server = SiteServer()
            self._window = _shared_driver().call(_new_window)
        visit, server = self.visit, self._server
        server.site, server.db = self.site, visit.db
        self._do(lambda window: window.goto(f"{server.origin}{visit.url}", wait_until=LOADED))
        self._read(visit)
        if visit.fields:
            page = self.page()
            for ref, value in visit.fields.items():
                element = page.elements[ref - 1]
                self._do(lambda window, element=element, value=value: _put(window, element, value))  # type: ignore[misc]
            self._read(visit)

    def _use(self, window: Any, element: Element, value: str, in_form: bool) -> None:
        handle = _handle(window, element)
        if element.role == "link" or (element.role == "button" and in_form):
            with window.expect_navigation(wait_until=LOADED):
                handle.click(no_wait_after=True)
        elif element.role in ("text", "area", "select"):
            _put(window, element, value)
        else:
            handle.click()

    def _read(self, before: Visit) -> None:
        """Take over what the browser and the server have now."""
        server = self._server
        assert server is not None, "_open() starts the server"
        found = self._do(lambda window: {**window.evaluate(_READ), "url": window.url})
        self._page = page = parse_page(f"<!DOCTYPE html>{found['html']}")
        parts = urlsplit(found["url"])
        url = f"{parts.path}?{parts.query}" if parts.query else parts.path
        values = {element.ref: found["values"].get(element.node.get("data-n")) for element in page.elements}
        fields = {
            ref: value
            for ref, value in values.items()
            if value is not None and value != default_value(page.elements[ref - 1].node)
        }
        back = before.back if url == before.url else (*before.back, before.url)[-MAX_BACK:]
        self._visit = Visit(server.db, url, fields, back)


def _new_window(browser: Any) -> Any:
    window = browser.new_context(viewport=WINDOW, locale="en-US").new_page()
    window.set_default_timeout(TIMEOUT)
    return window


def _handle(window: Any, element: Element) -> Any:
    return window.evaluate_handle(_ELEMENT, int(element.node.get("data-n"))).as_element()


def _put(window: Any, element: Element, value: str) -> None:
    """Bring a control to a content."""
    handle = _handle(window, element)
    if element.role in ("text", "area"):
        handle.fill(value)
    elif element.role == "select":
        handle.select_option(value=value)
    elif element.role == "checkbox" or value:  # a radio button goes out by itself when another one goes on
        handle.set_checked(bool(value))
