"""What is packaged is what is on disk, and the import stays light."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("cmat_gym", "envs", "policies", "trainers")


def test_the_package_list_equals_the_folders_on_disk() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    on_disk = set()
    for top in FOLDERS:
        for init in (ROOT / top).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT).parts
            if not any((ROOT.joinpath(*parts[:depth])).is_symlink() for depth in range(1, len(parts) + 1)):
                on_disk.add(".".join(parts if top == "cmat_gym" else ("cmat_gym", *parts)))
    assert sorted(setuptools["packages"]) == sorted(on_disk)
    assert setuptools["package-dir"] == {
        "cmat_gym": "cmat_gym",
        **{f"cmat_gym.{top}": top for top in FOLDERS[1:]},
    }


def test_every_folder_with_modules_is_a_package() -> None:
    for top in FOLDERS:
        for module in (ROOT / top).rglob("*.py"):
            assert (module.parent / "__init__.py").exists(), f"{module} is in no package"


@pytest.mark.parametrize("top", FOLDERS[1:])
def test_symlinks_let_editors_see_the_import_names(top: str) -> None:
    link = ROOT / "cmat_gym" / top
    if not link.is_symlink():
        pytest.skip("this checkout has no symlinks")
    assert link.resolve() == ROOT / top


def test_the_import_loads_neither_worlds_nor_deep_learning() -> None:
    program = "import cmat_gym, sys; print(sorted(name for name in sys.modules if name.partition('.')[0] in {heavy}))"
    heavy = {
        "torch",
        "transformers",
        "trl",
        "peft",
        "datasets",
        "accelerate",
        "stable_baselines3",
        "matplotlib",
        "rich",
    }
    done = subprocess.run(
        [sys.executable, "-c", program.replace("{heavy}", repr(heavy))],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    program = "import cmat_gym, sys; print([name for name in sys.modules if name.startswith('cmat_gym.envs.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
