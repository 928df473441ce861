"""The words that builtin tasks are made of. Few and plain, so that a small vocabulary covers them."""

from __future__ import annotations

FOLDERS = ("alpha", "beta", "gamma", "delta", "harbor", "forest", "river", "garden", "market", "museum", "office",
           "studio", "bakery", "library", "station", "island", "valley", "bridge", "castle", "mill", "farm", "lake",
           "tower", "orchard", "depot", "cellar", "meadow", "quarry", "stable", "vault")  # fmt: skip
NAMES = ("apple", "birch", "cedar", "daisy", "eagle", "falcon", "grape", "hazel", "iris", "jade", "koala", "lemon",
         "maple", "nutmeg", "olive", "pearl", "quartz", "robin", "sage", "tulip", "umber", "violet", "walnut", "yarrow",
         "zinc", "amber", "basil", "coral", "dune", "ember", "fern", "ginger", "heron", "indigo", "jasper", "kelp",
         "lilac", "mango", "nectar", "onyx")  # fmt: skip
USERS = ("anna", "bob", "carla", "david", "erik", "fiona", "gustav", "helen", "ivan", "julia", "karl", "laura", "mark",
         "nina", "oscar", "paula", "rosa", "simon", "tara", "victor")  # fmt: skip
GROUPS = ("editors", "drivers", "painters", "pilots", "writers", "bakers", "sailors", "miners", "tailors", "joiners",
          "actors", "brewers", "cooks", "dancers", "farmers", "glaziers", "hunters", "jurors", "knitters", "lawyers",
          "masons", "nurses", "porters", "riders", "singers", "tutors", "vets", "weavers", "coopers")  # fmt: skip
EXTENSIONS = ("txt", "log", "csv", "md", "conf", "tmp", "bak", "dat")
TOP_FOLDERS = ("/srv", "/opt", "/home", "/var/lib", "/data", "/mnt")
SHELLS = ("/usr/bin/zsh", "/usr/bin/fish", "/bin/ksh", "/bin/tcsh")
LEVELS = ("INFO", "WARNING", "ERROR", "DEBUG")
KEYS = ("port", "host", "timeout", "color", "level", "region", "mode", "owner", "limit", "theme")
SERVICES = ("web", "mail", "queue", "cache", "search", "proxy", "backup", "metrics", "print", "radio", "video", "clock",
            "login", "report", "upload", "index", "chat", "game", "map", "news")  # fmt: skip
