"""Check built distributions: `python tests/check_dist.py DIST`. The wheel holds every module once and nothing else."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def expected_modules() -> set[str]:
    """Every module of the four code folders, by its place in the wheel."""
    found = {f"cmat_gym/{path.relative_to(ROOT / 'cmat_gym')}" for path in (ROOT / "cmat_gym").glob("*.py")}
    for folder in ("core", "cli", "evaluation"):
        found |= {str(path.relative_to(ROOT)) for path in (ROOT / "cmat_gym" / folder).rglob("*.py")}
    for folder in ("envs", "policies", "trainers"):
        found |= {f"cmat_gym/{path.relative_to(ROOT)}" for path in (ROOT / folder).rglob("*.py")}
    return found


def main(dist: Path) -> None:
    """Fail with the difference."""
    (wheel,) = dist.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {name for name in names if name.endswith(".py")}
    assert modules == expected_modules(), modules ^ expected_modules()
    assert all(name.startswith("cmat_gym/") for name in names), sorted(names)
    assert "cmat_gym/policies/data/tiny/model.safetensors" in names, "the tiny weights are not in the wheel"
    assert "cmat_gym/envs/kg/data/graph.txt.xz" in names, "the knowledge graph is not in the wheel"
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "envs/webshop/env.py"} <= files, "the sdist is incomplete"
    print(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB; {sdist.name}: {len(files)} entries")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
