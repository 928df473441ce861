"""Two small tables, and the id of the world on MariaDB."""

from __future__ import annotations

from typing import NamedTuple

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

USER, PASSWORD = "gym keeper", "p@ss:w/rd%?"  # letters that a DSN has to escape


class Reachable(NamedTuple):
    """A server with a port on loopback, and the DSN of an account on it that may create schemas and accounts."""

    dsn: str
    port: int
