"""Writes what is known of versions of Python: `python -m cmat_gym.envs.code_correction.freeze [LIBRARY …]`.

For every library folder (such as /usr/lib/python3.12) the hashes of the functions' texts go to `data/sources.json`; a
text that is known may be in the evaluation splits. For the Python that runs this, the fingerprints of the splits go to
`data/manifest.json`. Run it when the table of functions has changed, and look at the difference before committing.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

from cmat_gym.envs.code_correction.functions import library_folder, read_functions
from cmat_gym.envs.code_correction.generator import BuiltinCodeTasks

DATA = Path(__file__).parent / "data"
READ = {"train": 60}  # tasks of a split that are fingerprinted; all of a panel


def main(libraries: list[str]) -> int:
    """Write the hashes of some libraries, or else the manifest of the one in use."""
    if libraries:
        versions = _read("sources.json")
        for folder in libraries:
            known = versions.setdefault(Path(folder).name, {})
            for name, function in read_functions(Path(folder)).items():
                known[name] = sorted({*known.get(name, []), function.sha256})
        _write("sources.json", versions)
        return 0
    manifests = _read("manifest.json")
    tasks = BuiltinCodeTasks()
    splits = {split: tasks.split(split).manifest(READ.get(split))._asdict() for split in tasks.sizes()}
    manifests[tasks.fingerprint] = {"python": platform.python_version(), **splits}
    _write("manifest.json", manifests)
    print(f"{library_folder()}: {tasks.name}, mutants {dict(tasks.tried)}")
    return 0


def _read(name: str) -> dict[str, Any]:
    path = DATA / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _write(name: str, data: dict[str, Any]) -> None:
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in data.items()]
    (DATA / name).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
