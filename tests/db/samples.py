"""Two small tables, and the id of the world on MariaDB."""

from __future__ import annotations

from cmat_gym.envs.db.dialect.engine import Table

ON_MARIADB = "cmat-test/DBOnMariaDB-v0"

BOATS = Table(
    "boats",
    ("Name", "Port", "Length", "Prize Money"),
    (
        ("Heron", "Lyon", "12", "1,250"),
        ("wren", "lyon", "7.5", "900"),
        ("Owl", "Köln", "40", None),
        ("Éclair", "koln", "9", "12 pts"),
        ("O'Neil", None, "9", ""),
    ),
)
CREW = Table("crew", ("Name", "Boat", "Age"), (("ada", "HERON", "30"), ("bo", "heron", "41"), ("cy", "Wren", "29")))
