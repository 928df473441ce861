"""MySQL's errors: number, SQLSTATE and text, as the official connector prints them."""

from __future__ import annotations

__all__ = ["STATES", "MySQLError", "duplicate_column", "not_supported", "syntax_error", "unknown_column"]

STATES = {
    1007: "HY000", 1044: "42000", 1045: "28000", 1046: "3D000", 1048: "23000", 1049: "42000", 1050: "42S01",
    1051: "42S02", 1052: "23000", 1054: "42S22", 1056: "42000", 1060: "42S21", 1064: "42000", 1065: "42000",
    1066: "42000", 1090: "42000", 1091: "42000", 1093: "HY000", 1096: "HY000", 1103: "42000", 1109: "42S02",
    1110: "42000", 1111: "HY000", 1114: "HY000", 1136: "21S01", 1139: "42000", 1142: "42000", 1146: "42S02",
    1149: "42000", 1166: "42000", 1221: "HY000", 1222: "21000", 1227: "42000", 1235: "42000", 1241: "21000",
    1242: "21000", 1248: "42000", 1305: "42000", 1317: "70100", 1327: "42000", 1353: "HY000", 1364: "HY000",
    1582: "42000", 1583: "42000", 1630: "42000", 1690: "22003", 1969: "70100", 3024: "HY000", 3593: "HY000",
    3636: "HY000", 3699: "HY000", 4015: "HY000",
}  # fmt: skip
"""Error number -> SQLSTATE, for drivers that report only the number; anything else is HY000."""

_NEAR = 80  # characters of the statement that a syntax error quotes


class MySQLError(Exception):
    """A statement the server refuses, or breaks off. `str()` is what the official connector's exception prints."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        """`1054 (42S22): Unknown column …`."""
        return f"{self.code} ({STATES.get(self.code, 'HY000')}): {self.message}"


def syntax_error(sql: str, position: int) -> MySQLError:
    """A statement that cannot be read from `position` on."""
    line = sql.count("\n", 0, position) + 1
    return MySQLError(
        1064,
        "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version for the "
        f"right syntax to use near '{sql[position : position + _NEAR]}' at line {line}",
    )


def unknown_column(name: str, clause: str) -> MySQLError:
    """No table in reach has this column."""
    return MySQLError(1054, f"Unknown column '{name}' in '{clause}'")


def duplicate_column(name: str) -> MySQLError:
    """Two columns of one table would have the same name."""
    return MySQLError(1060, f"Duplicate column name '{name}'")


def not_supported(what: str) -> MySQLError:
    """MySQL's own words for a feature it lacks; used for features the embedded engine lacks."""
    return MySQLError(1235, f"This version of MySQL doesn't yet support '{what}'")
