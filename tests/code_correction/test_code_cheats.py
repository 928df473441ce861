"""Code that would rather pass than work: none of it scores, nothing of it lasts."""

from __future__ import annotations

import os
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cmat_gym.core.sandbox.interpreter import Program, open_interpreters
from cmat_gym.envs.code_correction.backend import LIMITS, judge
from cmat_gym.envs.code_correction.functions import Source, library_folder, read_functions
from cmat_gym.envs.code_correction.generator import exercise
from cmat_gym.envs.code_correction.scorer import Submission, passed, score_code

FOUND = exercise("statistics.median")
PAYLOAD = {
    "module": "statistics",
    "qualname": "median",
    "broken": FOUND.reference.replace("data[n // 2]", "data[n // 2 - 1]"),
    "reference": FOUND.reference,
    "tests": [[test.source, *test.outcome] for test in FOUND.tests],
}
SOURCES = tuple(test.source for test in FOUND.tests)


def verdict(code: str) -> Submission:
    report = judge(FOUND.function, textwrap.dedent(code), SOURCES)
    return Submission(code, "", report.error, tuple((kind, text) for kind, text in report.outcomes))


CHEATS = {
    "exits at once": "import os\ndef median(data): os._exit(0)\nos._exit(0)",
    "leaves": "import sys\ndef median(data): sys.exit(0)",
    "prints a verdict": """
        import os, json
        def median(data): return None
        for fd in range(64):
            try:
                os.write(fd, json.dumps({"nonce": "", "error": "", "outcomes": [["value", "1"]] * 40}).encode())
            except OSError:
                pass
        os._exit(0)""",
    "finds the nonce and reports itself": """
        import os, json, sys
        frame = sys._getframe()
        while frame is not None:
            request = frame.f_locals.get("request")
            if isinstance(request, dict) and "nonce" in request:
                outcomes = [["value", "1"] for source in request["sources"]]
                os.write(3, json.dumps({"nonce": request["nonce"], "error": "", "outcomes": outcomes}).encode())
                os._exit(0)
            frame = frame.f_back
        def median(data): return None""",
    "looks for what is expected": """
        import gc, sys
        def median(data):
            frame, seen = sys._getframe(), []
            while frame is not None:
                seen += [repr(value) for value in frame.f_locals.values()]
                frame = frame.f_back
            if any("tests" in text and "expected" in text for text in seen):
                raise SystemError
            known = [o for o in gc.get_objects() if isinstance(o, dict) and ("expected" in o or "outcome" in o)]
            return known[0]["expected"] if known else None""",
    "is equal to everything": """
        class Any:
            def __eq__(self, other): return True
            def __hash__(self): return 0
            def __repr__(self): return "1.5"
        def median(data): return Any()""",
    "writes its own repr": "import builtins\nbuiltins.repr = lambda value: '2'\ndef median(data): return None",
    "patches what reports": """
        import json, os
        json.dumps = lambda report: '{}'
        os.write = lambda fd, data: len(data)
        def median(data): return 1""",
    "patches the caller": """
        import sys
        runner = next(m for n, m in sys.modules.items() if n.endswith("runner"))
        runner.outcome_of = lambda *arguments: ["value", "2"]
        def median(data): return 1""",
    "imports the original": """
        import sys
        sys.modules.pop("statistics", None)
        def median(data):
            import statistics
            return statistics.median(data)""",
    "imports it by its path": """
        import importlib.machinery, sys
        def median(data):
            finder = importlib.machinery.PathFinder.find_spec("statistics", sys.path)
            return finder.loader.load_module("statistics").median(data)""",
    "removes the stub and imports": """
        import sys
        sys.meta_path[:] = sys.meta_path[1:]
        sys.modules.pop("statistics", None)
        def median(data):
            import statistics
            return statistics.median(data)""",
    "reads the file": """
        import os
        def median(data):
            for folder, _, files in os.walk("/"):
                for name in files:
                    if name.startswith("statistics"):
                        space = {"__name__": "x"}
                        exec(open(os.path.join(folder, name)).read() or "raise ValueError", space)
                        return space["median"](data)""",
    "unpickles compiled code": """
        import marshal, os
        def median(data):
            folder = os.path.join(os.path.dirname(os.__file__ or ""), "__pycache__")
            name = next(n for n in os.listdir(folder) if n.startswith("statistics"))
            space = {"__name__": "x"}
            exec(marshal.loads(open(os.path.join(folder, name), "rb").read()[16:]), space)
            return space["median"](data)""",
    "reads it as text": """
        import inspect, linecache
        def median(data):
            lines = linecache.getlines("<statistics>") or inspect.getsource(inspect.getmodule(median))
            raise ValueError(lines)""",
    "runs a program": "import subprocess\ndef median(data): return subprocess.run(['python3', '-c', 'print(1)'])",
    "loops": "def median(data):\n    while True: pass",
    "sleeps": "import time\ndef median(data): time.sleep(60)",
    "recurses": "def median(data): return median(data)",
    "forks a bomb": """
        import os
        def median(data):
            while True:
                try:
                    os.fork()
                except OSError:
                    pass""",
    "floods": "import sys\ndef median(data):\n    while True:\n        sys.stdout.write('x' * 100_000)",
    "floods the pipe": "import os\ndef median(data):\n    while True:\n        os.write(3, b'x' * 100_000)",
    "eats memory": "def median(data):\n    kept = []\n    while True:\n        kept.append(bytearray(50_000_000))",
    "crashes": "import ctypes\ndef median(data): ctypes.string_at(0)",
    "ignores signals and stays": """
        import os, signal, time
        def median(data):
            if os.fork() == 0:
                os.setsid()
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                while True: time.sleep(1)
            return 1""",
    "kills everybody": "import os\ndef median(data):\n    os.kill(-1, 9)\n    os.kill(1, 9)",
    "stops its parent": "import os\ndef median(data):\n    os.kill(os.getppid(), 19)\n    return 0",
}  # fmt: skip


@pytest.mark.parametrize("name", CHEATS)
def test_no_cheat_scores(name: str) -> None:
    begin = time.monotonic()
    submission = verdict(CHEATS[name])
    score = score_code(PAYLOAD, submission)
    assert (score.value, score.success) == (0.0, False), submission
    assert time.monotonic() - begin < 30
    right = verdict(FOUND.reference)
    assert score_code(PAYLOAD, right).success, "the next one is not touched"


def test_the_broken_function_passes_some_tests_and_fails() -> None:
    submission = verdict(PAYLOAD["broken"])
    assert 0 < passed(PAYLOAD, submission) < len(SOURCES)
    assert score_code(PAYLOAD, submission).value == 0.0


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("writing beside the library", "open({library!r} + '/x.py', 'w')"),
        ("writing at the top", "open('/x', 'w')"),
        ("writing to /tmp", "open('/tmp/x', 'w')"),
        ("a folder", "__import__('os').mkdir('/y')"),
        ("a link", "__import__('os').symlink('a', '/z')"),
        ("the host's users", "open('/etc/passwd').read()"),
        ("processes", "__import__('os').listdir('/proc')"),
        ("devices", "open('/dev/null')"),
        ("a root of its own", "__import__('os').chroot('/')"),
        ("another user", "__import__('os').setuid(1)"),
        ("a new owner", "__import__('os').chown({library!r}, 1, 1)"),
        ("a program", "__import__('os').execv('/bin/sh', ['sh'])"),
        ("the network", "__import__('socket').create_connection(('127.0.0.1', 80), 1)"),
        ("packages", "__import__('pip')"),
        ("tests of the library", "__import__('test.support')"),
    ],
)  # fmt: skip
def test_out_of_reach(what: str, code: str) -> None:
    code = code.format(library=str(library_folder()))
    interpreter = open_interpreters().start(LIMITS)
    [outcome] = interpreter.run(Program("colorsys", False, "", (f"bool({code}) or 'done'",))).outcomes
    interpreter.close()
    assert outcome.kind == "error", f"{what}: {outcome}"
    assert outcome.text.endswith("Error") or outcome.text == "gaierror"


def test_nothing_that_can_be_read_holds_the_function() -> None:
    """Search all that is visible for a line of the original: a copy anywhere would be a way around the stub."""
    search = (
        "import os\nfound = []\n"
        "for folder, _, names in os.walk('/'):\n"
        "    for name in names:\n"
        "        try:\n            data = open(os.path.join(folder, name), 'rb').read()\n"
        "        except OSError:\n            continue\n"
        "        if LINE in data: found.append(os.path.join(folder, name))\n"
    )
    chosen = ("statistics.harmonic_mean", "http.cookiejar.reach", "ipaddress.summarize_address_range", "html.escape")
    interpreter = open_interpreters().start(replace(LIMITS, command_seconds=60.0, cpu_seconds=60))
    for name in chosen:
        function = read_functions(library_folder())[name]
        line = max((line for line in function.reference.splitlines() if line.strip()), key=len).strip()
        setup = "\n".join(["exec(" + repr(search.replace("LINE", repr(line.encode()))) + ", globals())", "found"])
        program = Program(function.source.module, function.source.package, "", (setup,))
        report = interpreter.run(program)
        assert report.outcomes[0].text == "[]", (name, report)
        unhidden = Program("colorsys", False, "", (setup,))
        assert interpreter.run(unhidden).outcomes[0].text != "[]", "the search finds it where it is not covered"
    interpreter.close()


def test_text_that_never_ends_is_stopped_in_time() -> None:
    begin = time.monotonic()
    assert verdict("while True: pass\ndef median(data): pass").error == "timeout"
    assert time.monotonic() - begin < 20


def test_the_stub_is_the_module_with_the_agents_text() -> None:
    """Others that import the module get the agent's function, and the rest of the module is as it was."""
    text = FOUND.function.module_with("def median(data):\n    return 'mine'\n")
    source = Source("statistics", False, text)
    assert source.find("median") is not None
    assert source.find("mean") is not None
    interpreter = open_interpreters().start(LIMITS)
    program = Program("statistics", False, text, ("statistics.median([1])", "__import__('statistics').mean([1, 3])"))
    assert [outcome.text for outcome in interpreter.run(program).outcomes] == ["'mine'", "2"]
    interpreter.close()


def test_the_host_is_as_it_was(tmp_path: Path) -> None:
    victim = tmp_path / "file"
    victim.write_text("whole")
    before = set(os.listdir("/tmp"))
    verdict(f"import os, shutil\nshutil.rmtree({str(tmp_path)!r}, ignore_errors=True)\ndef median(data): pass")
    verdict("open('/tmp/cheat', 'w').write('x')\ndef median(data): pass")
    assert victim.read_text() == "whole"
    assert "cheat" not in set(os.listdir("/tmp")) - before
