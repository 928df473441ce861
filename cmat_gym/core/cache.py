"""Where things that are made once are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """The user's cache folder for this package: `$CMAT_GYM_CACHE`, else `~/.cache/cmat-gym` (XDG_CACHE_HOME counts)."""
    given = os.environ.get("CMAT_GYM_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cmat-gym"
    folder = Path(given) if given else base
    folder.mkdir(parents=True, exist_ok=True)
    return folder
