"""Every family of builtin tasks: solvable, not solved by nothing or by nearly the right thing, and split by request."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from importlib.resources import files

import pytest

from cmat_gym.core.errors import UsageError
from cmat_gym.core.task import Manifest
from cmat_gym.envs.os.backend import FileInfo, FinalState, Limits, Machines, Process, Ran
from cmat_gym.envs.os.drafts import Dice, Problem
from cmat_gym.envs.os.generator import FAMILIES, SIZES, BuiltinOSTasks, request_split
from cmat_gym.envs.os.namespace import NamespaceSandbox
from cmat_gym.envs.os.scorer import answers_match, failures
from cmat_gym.envs.os.session import Grading, Session

SEEDS = (0, 1, 2)
LIMITS = Limits(command_seconds=5.0)

# family -> commands that come close: they do part of the work, too much of it, or the wrong half.
NEAR_MISSES: dict[str, tuple[str, ...]] = {
    "create_file": ("{0}x", "{0}; touch $(dirname $(echo '{0}' | sed 's/.*> //'))/extra"),
    "append_line": ("{0}; {0}",),
    "make_folders": ("{0}/more", "{0}; rmdir $(echo '{0}' | sed 's/mkdir -p //')"),
    "copy_file": ("{0}; rm $(echo '{0}' | cut -d ' ' -f 2)",),
    "move_files": ("{mv_as_cp}",),
    "delete_files": ("{0}; rm -rf {root}/*", "find {root} -maxdepth 1 -type f -delete"),
    "delete_old": ("rm -f {root}/*",),
    "make_link": ("{0}; rm {root}/* 2>/dev/null; true", "{hard}"),
    "broken_links": ("find {root} -type l -delete",),
    "unpack_archive": ("{0}; rm {root}/*.tar*",),
    "set_config": ("{0}; sed -i 1d $(echo '{0}' | sed 's/.* //')",),
    "replace_text": ("{once}",),
    "sort_unique": ("{plain_sort}",),
    "set_mode": ("chmod -R 777 {root}",),
    "make_executable": ("chmod a+x {root}/*",),
    "change_owner": ("{not_recursive}",),
    "add_to_group": ("{without_append}",),
    "stop_service": ("kill $(cat /run/*/*.pid)",),
    "cron_add": ("{0}; {0}", "{swapped}"),
    "repair_script": ("{1}; {1}; sed -i 's/echo/true/' {script}",),
    "set_variable": ("{unexported}",),
    "extend_path": ("{replaced}",),
}


def near_misses(name: str, problem: Problem) -> list[str]:
    plan = [*problem.plan, *problem.plan]
    root = problem.roots[0] if problem.roots else ""
    first = plan[0]
    words = {
        "root": root,
        "mv_as_cp": first.replace("mv ", "cp "),
        "hard": first.replace("ln -s", "ln"),
        "once": first.replace("/g'", "/'"),
        "plain_sort": first.replace("sort -u", "sort"),
        "not_recursive": first.replace(" -R", ""),
        "without_append": first.replace(" -a", ""),
        "swapped": " ".join(
            [*first.split()[:1], "'" + first.split()[2], first.split()[1].strip("'"), *first.split()[3:]]
        )
        if name == "cron_add"
        else "",
        "script": first.split()[-1],
        "unexported": first.replace("export ", ""),
        "replaced": first.replace("$PATH:", ""),
    }
    return [template.format(*plan, **words) for template in NEAR_MISSES.get(name, ())]


def play(machines: Machines, problem: Problem, name: str, *commands: str) -> list[str]:
    """What is wrong in the end; for a question, that the right answer was not printed."""
    session = Session(machines, LIMITS, problem.payload(name), name)
    try:
        output = ""
        for command in commands:
            output = session.run(command).text
        if problem.answer is not None:
            return [] if problem.answer in output else [f"{problem.answer!r} is not in {output!r}"]
        details = session.grade(None, Grading()).details
        return [str(details["failures"])] if details["failures"] else []
    finally:
        session.close()


@pytest.mark.parametrize("name", FAMILIES)
def test_families(cage: NamespaceSandbox, name: str) -> None:
    machines = cage._keeper
    for seed in SEEDS:
        problem = FAMILIES[name](Dice(77, seed))
        assert play(machines, problem, name, *problem.plan) == [], problem.plan
        assert len(problem.thoughts) == len(problem.plan)
        assert all(len(thought.split()) <= 12 for thought in problem.thoughts)
        assert len(problem.instruction.split()) < 60
        assert json.loads(json.dumps(problem.payload(name))) == problem.payload(name)
        if problem.answer is None:
            assert play(machines, problem, name) != [], "nothing was to be done"
            for command in near_misses(name, problem):
                assert play(machines, problem, name, command) != [], command
        else:
            for wrong in ("", "0x", f"{problem.answer}x", f"{problem.answer} {problem.answer}", "None", "-1"):
                assert not answers_match(wrong, problem.answer)
            assert answers_match(f" {problem.answer}\n", problem.answer)


def test_every_change_with_a_tree_has_a_near_miss_or_shares_one() -> None:
    changes = {name for name, family in FAMILIES.items() if family(Dice(0)).answer is None}
    assert len(FAMILIES) >= 25
    assert set(NEAR_MISSES) <= changes
    assert len(NEAR_MISSES) >= 20
    assert 20 <= len(changes) <= len(FAMILIES) - 20


# Splits ---------------------------------------------------------------------------------------------------------------


def test_no_request_is_in_two_splits() -> None:
    tasks = BuiltinOSTasks()
    requests = {split: {task.instruction for task in tasks.split(split)[:500]} for split in SIZES}
    assert not requests["dev"] & requests["test"]
    assert not requests["train"] & (requests["dev"] | requests["test"])
    for split, found in requests.items():
        assert {request_split(request) for request in found} == {split}


def test_every_family_has_requests_for_every_split() -> None:
    """A family whose few requests all fall to one split would search for ever in another."""
    for name, family in FAMILIES.items():
        found = defaultdict(set)
        for seed in range(200):
            request = family(Dice(3, seed)).instruction
            found[request_split(request)].add(request)
        assert all(len(found[split]) >= 2 for split in SIZES), (name, {k: len(v) for k, v in found.items()})


def test_panels_take_all_families_and_train_starts_easy() -> None:
    tasks = BuiltinOSTasks()
    for split in ("dev", "test"):
        counts = Counter(task.payload["family"] for task in tasks.split(split))
        assert set(counts) == set(FAMILIES)
        assert max(counts.values()) - min(counts.values()) <= 1
    easy = [task.payload["family"] for task in tasks.split("train")[:200]]
    assert 60 <= sum(name in list(FAMILIES)[:13] for name in easy) <= 140


def test_the_committed_manifest() -> None:
    text = (files("cmat_gym.envs.os") / "data" / "manifest.json").read_text(encoding="utf-8")
    committed = {split: Manifest(**entry) for split, entry in json.loads(text).items()}
    tasks = BuiltinOSTasks()
    assert {split: tasks.split(split).manifest(500) for split in SIZES} == committed


def test_another_seed_is_another_source() -> None:
    one, other = BuiltinOSTasks(), BuiltinOSTasks(1)
    assert one.name != other.name
    assert one.make("train", 0).content_hash() != other.make("train", 0).content_hash()
    with pytest.raises(UsageError, match="-1"):
        BuiltinOSTasks(-1)


# The scorer, by hand --------------------------------------------------------------------------------------------------

GOAL = {
    "roots": ["/srv/a"],
    "tree": {
        "/srv/a": {"type": "folder"},
        "/srv/a/f": {"type": "file", "content": "x\n", "mode": 0o600, "uid": 0, "gid": 0},
    },
    "users": {"ann": {"home": "/home/ann", "shell": "/bin/sh"}},
    "groups": {"crew": ["ann", "bob"]},
    "processes": {"web": True, "mail": False},
    "probes": [["true", "ok"]],
}
PASSWD = FileInfo("file", 0o644, 0, 0, 99, 0, "root:x:0:0:root:/root:/bin/bash\nann:x:1:1::/home/ann:/bin/sh\n")
GROUP = FileInfo("file", 0o644, 0, 0, 99, 0, "crew:x:5:bob,ann\n")
GOOD = {
    "/srv/a": FileInfo("folder", 0o755, 0, 0, 0, 0),
    "/srv/a/f": FileInfo("file", 0o600, 0, 0, 2, 0, "x\n"),
    "/etc/passwd": PASSWD,
    "/etc/group": GROUP,
}
WEB = Process(9, 1, 0, ("web", "1"), "T")


def test_scorer() -> None:
    def wrong(
        files: dict[str, FileInfo | None] | None = None,
        processes: tuple[Process, ...] = (WEB,),
        output: str = "ok\n",
        code: int = 0,
    ) -> list[str]:
        merged = {path: info for path, info in {**GOOD, **(files or {})}.items() if info is not None}
        return failures(GOAL, FinalState(merged, processes, True, (Ran(output, code),)))

    assert wrong() == []
    assert wrong({"/srv/a/g": GOOD["/srv/a/f"]}) == ["/srv/a/g is there"]
    assert wrong({"/srv/a/f": None}) == ["/srv/a/f is missing"]
    assert wrong({"/srv/ab": GOOD["/srv/a/f"]}) == [], "only what is below the root counts"
    for change in ({"mode": 0o644}, {"uid": 1}, {"content": "y\n"}, {"content": "x\n", "size": 3}, {"type": "link"}):
        changed = FileInfo(**{**GOOD["/srv/a/f"].__dict__, **change})
        assert wrong({"/srv/a/f": changed}) == ["/srv/a/f is different"], change
    assert wrong({"/etc/passwd": None}) == ["/etc/passwd or /etc/group is gone"]
    twice = FileInfo(**{**PASSWD.__dict__, "content": PASSWD.content * 2})
    assert wrong({"/etc/passwd": twice}) == ["user ann is not as wanted"]
    assert wrong({"/etc/group": FileInfo(**{**GROUP.__dict__, "content": "crew:x:5:bob\n"})}) == [
        "group crew is not as wanted"
    ]
    assert wrong(processes=()) == ["process 'web' is not there"]
    assert wrong(processes=(WEB._replace(state="Z"),)) == ["process 'web' is not there"]
    assert wrong(processes=(WEB, WEB._replace(command=("mail",)))) == ["process 'mail' is there"]
    assert wrong(output="no") == wrong(code=1) == ["check 0 printed something else"]
    assert failures(GOAL, FinalState(GOOD, (WEB,), False, (Ran("ok", 0),))) == ["more files than can be looked at"]
