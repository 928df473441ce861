"""Families of builtin tasks about files and folders."""

from __future__ import annotations

import gzip
import io
import tarfile

from cmat_gym.core.sandbox.cage.skeleton import EPOCH
from cmat_gym.envs.os.drafts import Dice, Draft, Problem
from cmat_gym.envs.os.words import EXTENSIONS, FOLDERS, LEVELS, NAMES, TOP_FOLDERS, USERS

__all__ = ["FAMILIES"]

DAY = 86_400


def new_root(dice: Dice) -> str:
    """A folder for the task."""
    return f"{dice.pick(TOP_FOLDERS)}/{dice.pick(FOLDERS)}"


def sentences(dice: Dice, lines: int) -> str:
    """Some lines of two to four words."""
    return "".join(" ".join(dice.sample(NAMES, dice.integer(2, 4))) + "\n" for _ in range(lines))


def scatter(draft: Draft, root: str, count: int, extensions: tuple[str, ...] = EXTENSIONS) -> list[str]:
    """Files with different names in the root and in up to three folders below it; returns their paths."""
    dice = draft.dice
    places = [root, *(f"{root}/{name}" for name in dice.sample(FOLDERS, dice.integer(1, 3)))]
    paths = []
    for name in dice.sample(NAMES, count):
        path = f"{dice.pick(places)}/{name}.{dice.pick(extensions)}"
        draft.file(path, sentences(dice, dice.integer(1, 3)))
        paths.append(path)
    return paths


# Questions ------------------------------------------------------------------------------------------------------------


def count_files(dice: Dice) -> Problem:
    """How many files lie in a folder."""
    draft, root = Draft(dice), new_root(dice)
    names = dice.sample(NAMES, dice.integer(3, 15))
    for name in names:
        draft.file(f"{root}/{name}.{dice.pick(EXTENSIONS)}")
    return Problem(
        f"How many files are in {root}?",
        (f"ls {root} | wc -l",),
        (f"I count the files in {root}.",),
        draft.entries(),
        answer=str(len(names)),
    )


def count_extension(dice: Dice) -> Problem:
    """How many files with an extension lie in a tree."""
    draft, root = Draft(dice), new_root(dice)
    extension, *others = dice.sample(EXTENSIONS, 3)
    wanted = scatter(draft, root, dice.integer(2, 9), (extension,))
    for name in dice.sample(FOLDERS, dice.integer(2, 6)):
        draft.file(f"{root}/{name}.{dice.pick(others)}")
    return Problem(
        f"How many .{extension} files are below {root}, subfolders included?",
        (f"find {root} -type f -name '*.{extension}' | wc -l",),
        (f"I look for all .{extension} files below {root}.",),
        draft.entries(),
        answer=str(len(wanted)),
    )


def largest_file(dice: Dice) -> Problem:
    """Which file is the largest."""
    draft, root = Draft(dice), new_root(dice)
    names = [f"{name}.{dice.pick(EXTENSIONS)}" for name in dice.sample(NAMES, dice.integer(4, 10))]
    sizes = dice.sample(range(1, 200), len(names))
    for name, size in zip(names, sizes, strict=True):
        draft.file(f"{root}/{name}", "x" * 20, repeat=size)
    return Problem(
        f"Which file in {root} is the largest? Answer with its name.",
        (f"ls -S {root} | head -n 1",),
        ("I sort the files by size.",),
        draft.entries(),
        answer=names[sizes.index(max(sizes))],
    )


def newest_file(dice: Dice) -> Problem:
    """Which file was changed last, or first."""
    draft, root = Draft(dice), new_root(dice)
    names = [f"{name}.{dice.pick(EXTENSIONS)}" for name in dice.sample(NAMES, dice.integer(4, 10))]
    ages = dice.sample(range(1, 900), len(names))
    for name, age in zip(names, ages, strict=True):
        draft.file(f"{root}/{name}", sentences(dice, 1), mtime=EPOCH - age * DAY)
    newest = dice.chance(0.5)
    return Problem(
        f"Which file in {root} was changed {'last' if newest else 'longest ago'}? Answer with its name.",
        (f"ls -t{'' if newest else 'r'} {root} | head -n 1",),
        ("I sort the files by time.",),
        draft.entries(),
        answer=names[ages.index(min(ages) if newest else max(ages))],
    )


def find_file(dice: Dice) -> Problem:
    """Where a file is."""
    draft, root = Draft(dice), new_root(dice)
    path = dice.pick(scatter(draft, root, dice.integer(4, 9)))
    name = path.rpartition("/")[2]
    return Problem(
        f"Where below {root} is the file {name}? Answer with its full path.",
        (f"find {root} -name {name}",),
        (f"I look for {name}.",),
        draft.entries(),
        answer=path,
    )


def hidden_files(dice: Dice) -> Problem:
    """How many hidden files there are."""
    draft, root = Draft(dice), new_root(dice)
    names = dice.sample(NAMES, dice.integer(5, 12))
    hidden = dice.integer(1, 4)
    for number, name in enumerate(names):
        draft.file(f"{root}/{'.' if number < hidden else ''}{name}.{dice.pick(EXTENSIONS)}")
    return Problem(
        f"How many hidden files (their names start with a dot) are in {root}?",
        (f"find {root} -type f -name '.*' | wc -l",),
        ("Hidden files have names with a dot in front.",),
        draft.entries(),
        answer=str(hidden),
    )


def link_target(dice: Dice) -> Problem:
    """Where a symbolic link leads in the end."""
    draft, root = Draft(dice), new_root(dice)
    paths = scatter(draft, root, dice.integer(3, 6))
    first, second = dice.sample(FOLDERS, 2)
    target = dice.pick(paths)
    draft.link(f"{root}/{first}.link", f"{root}/{second}.link")
    draft.link(f"{root}/{second}.link", target)
    return Problem(
        f"{root}/{first}.link is a symbolic link to another link. Which file do they lead to? Give its full path.",
        (f"readlink -f {root}/{first}.link",),
        ("I follow the links to their end.",),
        draft.entries(),
        answer=target,
    )


def disk_usage(dice: Dice) -> Problem:
    """Which folder holds most."""
    draft, root = Draft(dice), new_root(dice)
    folders = dice.sample(FOLDERS, dice.integer(3, 5))
    sizes = dice.sample(range(2, 15), len(folders))
    for folder, size in zip(folders, sizes, strict=True):
        for number, name in enumerate(dice.sample(NAMES, 2)):
            draft.file(f"{root}/{folder}/{name}.dat", "0" * 63 + "\n", repeat=64 * size if number else 64)
    return Problem(
        f"Which folder in {root} uses the most disk space? Answer with the name of the folder.",
        (f"cd {root} && du -s * | sort -n | tail -n 1 | cut -f 2",),
        ("I add up the space of each folder.",),
        draft.entries(),
        answer=folders[sizes.index(max(sizes))],
    )


def _tar(files: dict[str, str], compress: bool = False) -> str:
    """An archive, always with the same bytes for the same files, as hex."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(content), EPOCH, 0o644
            archive.addfile(info, io.BytesIO(content.encode()))
    data = buffer.getvalue()[: -(len(buffer.getvalue()) % 10240) or None]
    return (gzip.compress(data, mtime=0) if compress else data).hex()


def archive_list(dice: Dice) -> Problem:
    """How many files of a kind an archive holds."""
    draft, root = Draft(dice), new_root(dice)
    name, folder = dice.pick(NAMES), dice.pick(FOLDERS)
    extension, *others = dice.sample(EXTENSIONS, 3)
    wanted = dice.integer(2, 7)
    files = {
        f"{folder}/{file}.{extension if number < wanted else dice.pick(others)}": sentences(dice, 1)
        for number, file in enumerate(dice.sample(NAMES, wanted + dice.integer(1, 4)))
    }
    draft.file(f"{root}/{name}.tar.gz", hex=_tar(files, compress=True))
    return Problem(
        f"How many .{extension} files are in the archive {root}/{name}.tar.gz?",
        (f"tar tzf {root}/{name}.tar.gz | grep -c '\\.{extension}$'",),
        ("I list the archive without unpacking it.",),
        draft.entries(),
        answer=str(wanted),
    )


# Changes --------------------------------------------------------------------------------------------------------------


def create_file(dice: Dice) -> Problem:
    """Write a line into a new file."""
    draft, root = Draft(dice), new_root(dice)
    draft.folder(root)
    path = f"{root}/{dice.pick(NAMES)}.{dice.pick(EXTENSIONS)}"
    line = " ".join(dice.sample(NAMES, dice.integer(2, 4)))
    before = draft.entries()
    draft.file(path, f"{line}\n", strict=False, spaces=False)
    return Problem(
        f"Create the file {path} with one line: {line}",
        (f"echo '{line}' > {path}",),
        ("I write the line into the file.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def append_line(dice: Dice) -> Problem:
    """Add a line to a file."""
    draft, root = Draft(dice), new_root(dice)
    path = f"{root}/{dice.pick(NAMES)}.{dice.pick(EXTENSIONS)}"
    text, line = sentences(dice, dice.integer(1, 4)), " ".join(dice.sample(USERS, 2))
    draft.file(path, text)
    before = draft.entries()
    draft.change(path, content=f"{text}{line}\n", strict=False)
    return Problem(
        f"Add the line '{line}' at the end of {path}.",
        (f"echo '{line}' >> {path}",),
        ("I append the line.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def make_folders(dice: Dice) -> Problem:
    """Make folders in folders."""
    draft, root = Draft(dice), new_root(dice)
    draft.folder(root)
    names = dice.sample(FOLDERS, dice.integer(2, 3))
    path = "/".join([root, *names])
    before = draft.entries()
    draft.folder(path, strict=False)
    return Problem(
        f"Create the folder {path}, with the folders above it.",
        (f"mkdir -p {path}",),
        ("I make the whole path at once.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def copy_file(dice: Dice) -> Problem:
    """Copy a file to another folder under a new name."""
    draft, root = Draft(dice), new_root(dice)
    source = dice.pick(scatter(draft, root, dice.integer(2, 5)))
    target = f"{root}/{dice.pick(USERS)}/{dice.pick(USERS)}.copy"
    draft.folder(target.rpartition("/")[0])
    before = draft.entries()
    draft.file(target, draft.nodes[source].content, strict=False)
    return Problem(
        f"Copy {source} to {target}.",
        (f"cp {source} {target}",),
        ("I copy the file.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def move_files(dice: Dice) -> Problem:
    """Move all files of a kind into a folder."""
    draft, root = Draft(dice), new_root(dice)
    extension, other = dice.sample(EXTENSIONS, 2)
    target = f"{root}/{dice.pick(USERS)}"
    names = dice.sample(NAMES, dice.integer(4, 8))
    moved = dice.integer(2, 3)
    for number, name in enumerate(names):
        draft.file(f"{root}/{name}.{extension if number < moved else other}", sentences(dice, 1))
    draft.folder(target)
    before = draft.entries()
    for name in names[:moved]:
        draft.nodes[f"{target}/{name}.{extension}"] = draft.nodes.pop(f"{root}/{name}.{extension}")
    return Problem(
        f"Move all .{extension} files of {root} into {target}; leave the others where they are.",
        (f"mv {root}/*.{extension} {target}",),
        (f"I move the .{extension} files.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def delete_files(dice: Dice) -> Problem:
    """Delete all files of a kind in a tree, and no other."""
    draft, root = Draft(dice), new_root(dice)
    extension, *others = dice.sample(EXTENSIONS, 3)
    paths = scatter(draft, root, dice.integer(5, 10), (extension, *others))
    paths += scatter(draft, f"{root}/{dice.pick(USERS)}", 2, (extension,))
    for path in paths:
        keep = path.rpartition("/")[0]
        draft.folder(keep)
    before = draft.entries()
    for path in [path for path in draft.nodes if path.endswith(f".{extension}")]:
        del draft.nodes[path]
    return Problem(
        f"Delete all .{extension} files below {root}, subfolders included. Keep all other files and all folders.",
        (f"find {root} -type f -name '*.{extension}' -delete",),
        (f"I delete the .{extension} files in the whole tree.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def delete_old(dice: Dice) -> Problem:
    """Delete what was changed before a date."""
    draft, root = Draft(dice), new_root(dice)
    year = dice.integer(2023, 2025)
    border = EPOCH - (2026 - year) * 365 * DAY - (DAY if year <= 2024 else 0)
    for name in dice.sample(NAMES, dice.integer(5, 9)):
        side = dice.pick((-1, 1))
        age = dice.integer(3, 300) * DAY
        draft.file(f"{root}/{name}.{dice.pick(EXTENSIONS)}", sentences(dice, 1), mtime=border + side * age)
    draft.folder(root)
    before = draft.entries()
    for path in [path for path, node in draft.nodes.items() if node.type == "file" and node.mtime < border]:
        del draft.nodes[path]
    return Problem(
        f"Delete all files in {root} that were last changed before {year}-01-01; keep the newer ones.",
        (f"find {root} -type f ! -newermt '{year}-01-01' -delete",),
        (f"I delete what is older than {year}.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def make_link(dice: Dice) -> Problem:
    """Make a symbolic link."""
    draft, root = Draft(dice), new_root(dice)
    target = dice.pick(scatter(draft, root, dice.integer(2, 5)))
    path = f"{root}/{dice.pick(USERS)}"
    before = draft.entries()
    draft.link(path, target)
    return Problem(
        f"Create the symbolic link {path} that points to {target}.",
        (f"ln -s {target} {path}",),
        ("I make the link.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def broken_links(dice: Dice) -> Problem:
    """Remove links that lead nowhere."""
    draft, root = Draft(dice), new_root(dice)
    paths = scatter(draft, root, dice.integer(3, 5))
    before_links = dice.sample(USERS, dice.integer(4, 6))
    broken = dice.integer(1, 3)
    for number, name in enumerate(before_links):
        good = dice.pick(paths)
        draft.link(f"{root}/{name}", good if number >= broken else f"{good}.gone")
    before = draft.entries()
    for name in before_links[:broken]:
        del draft.nodes[f"{root}/{name}"]
    return Problem(
        f"Some symbolic links in {root} point to files that do not exist. Delete these links, and nothing else.",
        (f"find {root} -xtype l -delete",),
        ("I delete the links that are broken.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def unpack_archive(dice: Dice) -> Problem:
    """Unpack an archive into a folder."""
    draft, root = Draft(dice), new_root(dice)
    name, target = dice.pick(NAMES), f"{root}/{dice.pick(USERS)}"
    folder = dice.pick(FOLDERS)
    files = {
        f"{folder}/{file}.{dice.pick(EXTENSIONS)}": sentences(dice, 2)
        for file in dice.sample(NAMES, dice.integer(2, 5))
    }
    compress = dice.chance(0.5)
    archive = f"{root}/{name}.tar{'.gz' if compress else ''}"
    draft.file(archive, hex=_tar(files, compress))
    draft.folder(target)
    before = draft.entries()
    for path, content in files.items():
        draft.file(f"{target}/{path}", content, strict=False)
    return Problem(
        f"Unpack the archive {archive} into the folder {target}. Keep the archive.",
        (f"tar xf {archive} -C {target}",),
        ("I unpack it there.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


def make_archive(dice: Dice) -> Problem:
    """Pack a folder into a compressed archive."""
    draft, root = Draft(dice), new_root(dice)
    folder, archive = dice.pick(FOLDERS), f"/tmp/{dice.pick(NAMES)}.tar.gz"
    files = {f"{root}/{folder}/{name}.{dice.pick(EXTENSIONS)}": sentences(dice, 2)
             for name in dice.sample(NAMES, dice.integer(2, 5))}  # fmt: skip
    for path, content in files.items():
        draft.file(path, content)
    before = draft.entries()
    script = f"tar tzf {archive} | grep -v '/$' | sort; echo --; tar xzOf {archive} | sort"
    listing = "\n".join(sorted(path.removeprefix(f"{root}/") for path in files))
    lines = "\n".join(sorted("".join(files.values()).splitlines()))
    return Problem(
        f"Pack the folder {folder} in {root} into the archive {archive} (tar with gzip). "
        f"The paths in the archive start with {folder}/.",
        (f"tar czf {archive} -C {root} {folder}",),
        ("I pack the folder from its parent folder.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
        probes=((f"export LC_ALL=C; {script}", f"{listing}\n--\n{lines}"),),
    )


def decompress_file(dice: Dice) -> Problem:
    """Decompress a file in place."""
    draft, root = Draft(dice), new_root(dice)
    path = f"{root}/{dice.pick(NAMES)}.{dice.pick(EXTENSIONS)}"
    text = "".join(f"{dice.pick(LEVELS)} {sentences(dice, 1)}" for _ in range(dice.integer(2, 6)))
    draft.file(f"{path}.gz", hex=gzip.compress(text.encode(), mtime=0).hex())
    before = draft.entries()
    del draft.nodes[f"{path}.gz"]
    draft.file(path, text, strict=False)
    return Problem(
        f"Decompress {path}.gz, so that only the plain file {path} remains.",
        (f"gunzip {path}.gz",),
        ("gunzip replaces the file.",),
        before,
        roots=(root,),
        tree=draft.tree(root),
    )


FAMILIES = {
    1: (count_files, find_file, create_file, make_folders, hidden_files),
    2: (count_extension, largest_file, newest_file, append_line, copy_file, make_link, move_files, disk_usage),
    3: (
        link_target,
        archive_list,
        delete_files,
        delete_old,
        broken_links,
        unpack_archive,
        make_archive,
        decompress_file,
    ),
}
"""Level of difficulty -> families."""
