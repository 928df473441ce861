"""Families of builtin tasks about permissions, accounts, processes, schedules, repositories and scripts."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

from cmat_gym.core.sandbox.cage.skeleton import EPOCH
from cmat_gym.envs.os.drafts import Dice, Draft, Problem
from cmat_gym.envs.os.families_files import new_root, scatter, sentences
from cmat_gym.envs.os.words import EXTENSIONS, FOLDERS, GROUPS, NAMES, SERVICES, SHELLS, TOP_FOLDERS, USERS

__all__ = ["FAMILIES"]

FIRST_ID = 2001
LOGIN = "env -i HOME=/root PATH=/usr/bin:/bin bash -lc"
SILENT = (f"{LOGIN} :", "")  # a profile that prints by itself could print what a check wants to see
MODES = (0o600, 0o640, 0o644, 0o660, 0o700, 0o750, 0o755, 0o770)


def _accounts(
    names: list[str], shells: dict[str, str] | None = None, homes: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    """Orders that append users, each with a group of the same name and number; `homes` are where their homes stand."""
    shells, homes = shells or {}, homes or {}
    users = "".join(
        f"{name}:x:{number}:{number}::{homes.get(name, '/home')}/{name}:{shells.get(name, '/bin/bash')}\n"
        for number, name in enumerate(names, FIRST_ID)
    )
    groups = "".join(f"{name}:x:{FIRST_ID + number}:\n" for number, name in enumerate(names))
    secrets = "".join(f"{name}:!:20454:0:99999:7:::\n" for name in names)
    return [
        {"path": "/etc/passwd", "type": "append", "content": users},
        {"path": "/etc/group", "type": "append", "content": groups},
        {"path": "/etc/shadow", "type": "append", "content": secrets},
        {"path": "/etc/gshadow", "type": "append", "content": "".join(f"{name}:!::\n" for name in names)},
    ]


def _group_lines(groups: dict[str, list[str]], first: int = 3001) -> list[dict[str, Any]]:
    lines = "".join(
        f"{name}:x:{first + number}:{','.join(members)}\n" for number, (name, members) in enumerate(groups.items())
    )
    shadow = "".join(f"{name}:!::{','.join(members)}\n" for name, members in groups.items())
    return [
        {"path": "/etc/group", "type": "append", "content": lines},
        {"path": "/etc/gshadow", "type": "append", "content": shadow},
    ]


# Permissions and ownership -------------------------------------------------------------------------------------------


def set_mode(dice: Dice) -> Problem:
    """Set the permissions of a file."""
    draft, root = Draft(dice), new_root(dice)
    path = dice.pick(scatter(draft, root, dice.integer(2, 5)))
    mode = dice.pick([mode for mode in MODES if mode != 0o644])
    before = draft.entries()
    draft.change(path, mode=mode)
    return Problem(
        f"Set the permissions of {path} to {mode:o}.",
        (f"chmod {mode:o} {path}",),
        ("chmod sets permissions.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def make_executable(dice: Dice) -> Problem:
    """Make all scripts of a folder executable."""
    draft, root = Draft(dice), new_root(dice)
    for number, name in enumerate(dice.sample(NAMES, dice.integer(3, 6))):
        draft.file(f"{root}/{name}.{'sh' if number < 2 else dice.pick(EXTENSIONS)}", f"echo {name}\n")
    before = draft.entries()
    for path in draft.nodes:
        if path.endswith(".sh"):
            draft.change(path, mode=0o755)
    return Problem(
        f"Make all .sh files in {root} executable for everybody. Do not change the other files.",
        (f"chmod a+x {root}/*.sh",),
        ("I add the permission to execute.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def find_writable(dice: Dice) -> Problem:
    """Which file everybody may write."""
    draft, root = Draft(dice), new_root(dice)
    paths = scatter(draft, root, dice.integer(4, 9))
    for path in paths:
        draft.change(path, mode=dice.pick(MODES))
    path = dice.pick(paths)
    draft.change(path, mode=0o666)
    return Problem(
        f"Which file below {root} can be written by everybody? Answer with its full path.",
        (f"find {root} -type f -perm -o=w",),
        ("I look for files with write permission for others.",),
        draft.entries(),
        answer=path,
    )


def change_owner(dice: Dice) -> Problem:
    """Give a tree to a user."""
    draft, root = Draft(dice), new_root(dice)
    names = dice.sample(USERS, 3)
    scatter(draft, root, dice.integer(2, 5))
    folders = {path.rpartition("/")[0] for path in draft.nodes} | {root}
    for folder in folders:
        draft.folder(folder)
    before = [*_accounts(names), *draft.entries()]
    number = FIRST_ID + 1
    for path in draft.nodes:
        draft.change(path, uid=number, gid=number)
    return Problem(
        f"Make {names[1]} the owner, and the group {names[1]} the group, of {root} and everything below it.",
        (f"chown -R {names[1]}:{names[1]} {root}",),
        ("I change the owner of the whole tree.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def files_of_user(dice: Dice) -> Problem:
    """How many files belong to a user."""
    draft, root = Draft(dice), new_root(dice)
    names = dice.sample(USERS, 3)
    paths = scatter(draft, root, dice.integer(5, 10))
    owners = [dice.integer(0, 2) for _ in paths]
    for path, owner in zip(paths, owners, strict=True):
        draft.change(path, uid=FIRST_ID + owner, gid=FIRST_ID + owner)
    chosen = dice.pick(owners)
    return Problem(
        f"How many files below {root} belong to the user {names[chosen]}?",
        (f"find {root} -type f -user {names[chosen]} | wc -l",),
        (f"I count the files of {names[chosen]}.",),
        [*_accounts(names), *draft.entries()],
        answer=str(owners.count(chosen)),
    )


# Users and groups ----------------------------------------------------------------------------------------------------


def users_with_shell(dice: Dice) -> Problem:
    """How many users with a home in some place have a login shell."""
    shells, tops = dice.sample(SHELLS, 2), dice.sample(TOP_FOLDERS, 2)
    names = dice.sample(USERS, dice.integer(5, 12))
    chosen = {name: (dice.pick(shells), dice.pick(tops)) for name in names}
    entries = _accounts(
        names, {name: shell for name, (shell, _) in chosen.items()}, {name: top for name, (_, top) in chosen.items()}
    )
    return Problem(
        f"How many users with a home folder in {tops[0]} have the login shell {shells[0]}?",
        (f"grep -c ':{tops[0]}/[a-z]*:{shells[0]}$' /etc/passwd",),
        ("Home and shell are the last fields of /etc/passwd.",),
        entries,
        answer=str(list(chosen.values()).count((shells[0], tops[0]))),
    )


def group_members(dice: Dice) -> Problem:
    """Who is, or how many are, in a group."""
    names = dice.sample(USERS, 8)
    groups = {name: dice.sample(names, dice.integer(1, 7)) for name in dice.sample(GROUPS, 3)}
    group = dice.pick(list(groups))
    command = f"grep '^{group}:' /etc/group"
    if dice.chance(0.5):
        question, answer = f"How many users are members of the group {group}?", str(len(groups[group]))
        command += " | cut -d : -f 4 | tr , '\\n' | wc -l"
    else:
        question = (
            f"Which users are members of the group {group}? Answer with their names in the order of /etc/group, "
            "separated by commas."
        )
        answer = ",".join(groups[group])
    return Problem(
        question,
        (command,),
        ("The members stand in /etc/group.",),
        [*_accounts(names), *_group_lines(groups)],
        answer=answer,
    )


def user_number(dice: Dice) -> Problem:
    """The number of a user or of the group of a user."""
    names = dice.sample(USERS, dice.integer(4, 10))
    name, kind = dice.pick(names), dice.pick(("user", "group"))
    return Problem(
        f"What is the {kind} id (a number) of the user {name}?",
        (f"id -{kind[0]} {name}",),
        (f"I ask for the id of {name}.",),
        _accounts(names),
        answer=str(FIRST_ID + names.index(name)),
    )


def add_user(dice: Dice) -> Problem:
    """Create a user with a home and a shell."""
    name, *others = dice.sample(USERS, 4)
    shell = dice.pick(("/bin/bash", "/bin/sh"))
    home = dice.pick((f"/home/{name}", f"/srv/{name}", f"/opt/{name}"))
    return Problem(
        f"Create the user {name} with the home folder {home} (it must exist afterwards) and the login shell {shell}.",
        (f"useradd -m -d {home} -s {shell} {name}",),
        ("useradd creates users.",),
        _accounts(others),
        users={name: {"home": home, "shell": shell}, **{other: {"shell": "/bin/bash"} for other in others}},
        probes=((f"test -d {home} && stat -c %U {home}", name),),
    )


def add_to_group(dice: Dice) -> Problem:
    """Add a user to a group."""
    names = dice.sample(USERS, 5)
    groups = {name: dice.sample(names[1:], dice.integer(0, 3)) for name in dice.sample(GROUPS, 2)}
    group, other = groups
    groups[other].append(names[0])  # what a careless usermod takes away
    return Problem(
        f"Add the user {names[0]} to the group {group}. Nobody may leave a group.",
        (f"usermod -a -G {group} {names[0]}",),
        ("usermod adds a user to a further group.",),
        [*_accounts(names), *_group_lines(groups)],
        groups={**groups, group: [*groups[group], names[0]]},
    )


def change_shell(dice: Dice) -> Problem:
    """Change the login shell of a user."""
    names = dice.sample(USERS, 4)
    name, shell = names[0], dice.pick(("/bin/sh", "/bin/dash", "/usr/sbin/nologin"))
    keep = {other: {"shell": "/bin/bash"} for other in names[1:]}
    return Problem(
        f"Change the login shell of the user {name} to {shell}.",
        (f"usermod -s {shell} {name}",),
        ("usermod changes the shell.",),
        _accounts(names),
        users={name: {"home": f"/home/{name}", "shell": shell}, **keep},
    )


# Processes ------------------------------------------------------------------------------------------------------------


def _service_start(names: list[str], folder: str) -> str:
    lines = [f"(exec -a {name}-service sleep 100000) & echo $! > {folder}/{name}.pid" for name in names]
    return f"mkdir -p {folder}\n" + "\n".join(lines)


def stop_service(dice: Dice) -> Problem:
    """Stop one of several processes."""
    names, folder = dice.sample(SERVICES, dice.integer(2, 3)), f"/run/{dice.pick(FOLDERS)}"
    return Problem(
        f"The process {names[0]}-service runs in the background; its number is in {folder}/{names[0]}.pid. "
        "Stop it, and leave the other services running.",
        (f"kill $(cat {folder}/{names[0]}.pid)",),
        ("I stop the process with this number.",),
        [],
        processes={f"{name}-service": name != names[0] for name in names},
        start=_service_start(names, folder),
    )


def dead_service(dice: Dice) -> Problem:
    """Which of several processes does not run."""
    names = dice.sample(SERVICES, dice.integer(3, 4))
    dead, alive = names[0], names[1:]
    draft = Draft(dice)
    draft.file(f"/run/{dead}.pid", f"{dice.integer(30000, 32000)}\n")
    script = "for f in /run/*.pid; do kill -0 $(cat $f) 2> /dev/null || echo $f; done"
    return Problem(
        f"Each of the files {', '.join(f'/run/{name}.pid' for name in sorted(names))} holds the number of a process. "
        "One of the processes does not run any more. Answer with the path of its file.",
        (script,),
        ("I ask for each number whether it lives.",),
        draft.entries(),
        answer=f"/run/{dead}.pid",
        start=_service_start(alive, "/run"),
    )


# Schedules, environment, scripts, repositories -----------------------------------------------------------------------


def cron_time(dice: Dice) -> Problem:
    """When a job runs."""
    names = dice.sample(SERVICES, dice.integer(3, 5))
    hours = dice.sample(range(24), len(names))
    lines = [f"{dice.integer(0, 59)} {hour} * * * root /opt/{name}.sh" for name, hour in zip(names, hours, strict=True)]
    draft, chosen = Draft(dice), dice.integer(0, len(names) - 1)
    path = f"/etc/cron.d/{dice.pick(NAMES)}"
    draft.file(path, "\n".join(lines) + "\n")
    return Problem(
        f"{path} holds cron jobs. At which hour (0 to 23) does /opt/{names[chosen]}.sh run?",
        (f"grep {names[chosen]} {path}",),
        ("The second field is the hour.",),
        draft.entries(),
        answer=str(hours[chosen]),
    )


def cron_add(dice: Dice) -> Problem:
    """Schedule a job."""
    draft, (name, other) = Draft(dice), dice.sample(SERVICES, 2)
    path = f"/etc/cron.d/{dice.pick(NAMES)}"
    hour, minute = dice.integer(0, 23), dice.integer(0, 59)
    text = f"{dice.integer(0, 59)} {dice.integer(0, 23)} * * * root /opt/{other}.sh\n"
    draft.file(path, text)
    before = draft.entries()
    line = f"{minute} {hour} * * * root /opt/{name}.sh"
    draft.change(path, content=f"{text}{line}\n", strict=False, spaces=False)
    return Problem(
        f"Add a last line to {path} that lets root run /opt/{name}.sh every day at {hour:02}:{minute:02}. "
        "The fields are: minute hour day month weekday user command.",
        (f"echo '{line}' >> {path}",),
        ("I write minute, hour, three stars, user and command.",),
        before,
        roots=(path,),
        tree=draft.tree(path),
    )


def set_variable(dice: Dice) -> Problem:
    """Set an environment variable for login shells."""
    name, value = dice.pick(NAMES).upper(), f"/opt/{dice.pick(FOLDERS)}"
    return Problem(
        f"Make every new login shell of root have the environment variable {name} with the value {value}. "
        "Use the file /root/.profile.",
        (f"echo 'export {name}={value}' >> /root/.profile",),
        ("I export the variable in the profile.",),
        [],
        probes=((f"{LOGIN} 'printenv {name}'", value), SILENT),
    )


def extend_path(dice: Dice) -> Problem:
    """Put a folder of programs on the path of login shells."""
    draft, root = Draft(dice), f"/opt/{dice.pick(FOLDERS)}/bin"
    tool, word = dice.pick(USERS), dice.pick(NAMES)
    draft.file(f"{root}/{tool}", f"#!/bin/sh\necho {word}\n", mode=0o755)
    before = draft.entries()
    return Problem(
        f"The program {tool} is in {root}. Make every new login shell of root find it by its name, "
        "by extending PATH in /root/.profile.",
        (f"echo 'export PATH=$PATH:{root}' >> /root/.profile",),
        ("I add the folder to PATH in the profile.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
        probes=(
            (f"{LOGIN} 'command -v {tool}; ls / > /dev/null && echo fine'", f"{root}/{tool}\nfine"),
            SILENT,
        ),
    )


SCRIPTS = (
    # what it should print, the right line, the broken line, how to repair it
    ("the sum of its two arguments", "echo $(($1 + $2))", "echo $(($1 - $2))", "s/-/+/", lambda a, b: a + b),
    ("the product of its two arguments", "echo $(($1 * $2))", "echo $(($1 + $2))", "s/+/*/", lambda a, b: a * b),
    ("the larger of its two arguments", "if [ $1 -gt $2 ]; then echo $1; else echo $2; fi",
     "if [ $1 -lt $2 ]; then echo $1; else echo $2; fi", "s/-lt/-gt/", max),
    ("the first argument minus the second", "echo $(($1 - $2))", "echo $(($2 - $1))", "s/$2 - $1/$1 - $2/",
     lambda a, b: a - b),
    ("the two arguments joined by a dash", "echo $1-$2", "echo $1 - $2", "s/ - /-/", lambda a, b: f"{a}-{b}"),
)  # fmt: skip


def repair_script(dice: Dice) -> Problem:
    """Repair a script; it is tried on other arguments."""
    draft, root = Draft(dice), new_root(dice)
    path = f"{root}/{dice.pick(NAMES)}.sh"
    purpose, _, broken, repair, function = dice.pick(SCRIPTS)
    draft.file(path, f"#!/bin/bash\n{broken}\n", mode=0o755)
    pairs = [dice.sample(range(2, 90), 2) for _ in range(4)]
    return Problem(
        f"The script {path} should print {purpose}, but it does not. Repair it.",
        (f"cat {path}", f"sed -i '{repair}' {path}"),
        ("I read the script first.", "Now I repair the line."),
        draft.entries(),
        probes=tuple((f"bash {path} {first} {second}", str(function(first, second))) for first, second in pairs),
    )


def _object(draft: Draft, root: str, kind: str, content: bytes) -> str:
    """Store a loose object of a repository; returns its name."""
    data = f"{kind} {len(content)}".encode() + b"\0" + content
    name = hashlib.sha1(data).hexdigest()
    draft.file(f"{root}/.git/objects/{name[:2]}/{name[2:]}", hex=zlib.compress(data, 6).hex(), mode=0o444)
    return name


def _repository(dice: Dice, root: str) -> tuple[Draft, dict[str, Any]]:
    """A repository with some commits on a branch, and what is true of it."""
    draft, parent, log = Draft(dice), "", ""
    branch, remote = dice.pick(FOLDERS), f"https://{dice.pick(FOLDERS)}.example/{dice.pick(NAMES)}.git"
    author = dice.pick(USERS)
    messages = [" ".join(dice.sample(NAMES, 2)) for _ in range(dice.integer(2, 5))]
    text = sentences(dice, 1)
    for number, message in enumerate(messages):
        text = sentences(dice, 1)
        blob = _object(draft, root, "blob", text.encode())
        tree = _object(draft, root, "tree", b"100644 notes.txt\0" + bytes.fromhex(blob))
        who = f"{author} <{author}@example.com> {EPOCH - 90_000 + number * 3600} +0000"
        head = f"tree {tree}\n" + (f"parent {parent}\n" if parent else "")
        commit = _object(draft, root, "commit", f"{head}author {who}\ncommitter {who}\n\n{message}\n".encode())
        log += f"{parent or '0' * 40} {commit} {who}\tcommit: {message}\n"
        parent = commit
    draft.file(f"{root}/.git/HEAD", f"ref: refs/heads/{branch}\n")
    draft.file(f"{root}/.git/refs/heads/{branch}", f"{parent}\n")
    draft.file(f"{root}/.git/logs/HEAD", log)
    config = f'[core]\n\trepositoryformatversion = 0\n\tbare = false\n[remote "origin"]\n\turl = {remote}\n'
    draft.file(f"{root}/.git/config", config)
    draft.file(f"{root}/notes.txt", text)
    return draft, {"branch": branch, "remote": remote, "commits": len(messages), "message": messages[-1]}


def git_branch(dice: Dice) -> Problem:
    """Which branch is checked out."""
    root = new_root(dice)
    draft, facts = _repository(dice, root)
    return Problem(
        f"{root} is a git repository. Which branch is checked out?",
        (f"cat {root}/.git/HEAD",),
        ("The file HEAD names the branch.",),
        draft.entries(),
        answer=facts["branch"],
    )


def git_remote(dice: Dice) -> Problem:
    """The address of the remote."""
    root = new_root(dice)
    draft, facts = _repository(dice, root)
    return Problem(
        f"{root} is a git repository. What is the url of its remote origin?",
        (f"grep url {root}/.git/config",),
        ("The url stands in the configuration.",),
        draft.entries(),
        answer=facts["remote"],
    )


def git_log(dice: Dice) -> Problem:
    """How many commits there are."""
    root = new_root(dice)
    draft, facts = _repository(dice, root)
    return Problem(
        f"{root} is a git repository with one branch. How many commits does it have?",
        (f"wc -l < {root}/.git/logs/HEAD",),
        ("Every commit has a line in the log of HEAD.",),
        draft.entries(),
        answer=str(facts["commits"]),
    )


FAMILIES = {
    1: (set_mode, user_number, cron_time, git_branch),
    2: (make_executable, users_with_shell, group_members, add_user, add_to_group, change_shell, cron_add, git_remote),
    3: (find_writable, change_owner, files_of_user, stop_service, dead_service, set_variable, extend_path,
        repair_script, git_log),
}  # fmt: skip
"""Level of difficulty -> families."""
