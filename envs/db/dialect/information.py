"""What the server tells of its tables: information_schema, SHOW and DESCRIBE."""

from __future__ import annotations

from typing import Any

from sqlglot import expressions as exp

from cmat_gym.envs.db.dialect.collation import same
from cmat_gym.envs.db.dialect.errors import MySQLError, not_supported
from cmat_gym.envs.db.dialect.patterns import like
from cmat_gym.envs.db.dialect.scopes import Catalog, Column, TableInfo
from cmat_gym.envs.db.dialect.types import Kind, quote_text

__all__ = ["describe", "information_source", "show"]

Row = tuple[Any, ...]
COLLATION = "utf8mb4_general_ci"


def describe(table: TableInfo) -> list[Row]:
    """The rows of DESCRIBE."""
    return [(column.name, column.declared, "YES", "", None, "") for column in table.columns]


def show(node: exp.Expr, catalog: Catalog, flavour: str) -> list[Row]:
    """The rows of a SHOW statement.

    Raises:
        MySQLError: It asks for a table there is not (1146), or for something the embedded engine does not have (1235).
    """
    pattern = node.args.get("like")
    text = pattern.name if isinstance(pattern, exp.Expr) else None

    def wanted(name: str) -> bool:
        return text is None or like(name, text)

    target = node.args.get("target")
    match str(node.this).upper():
        case "TABLES":
            full = ("BASE TABLE",) if node.args.get("full") else ()
            return [(name, *full) for name in sorted(catalog.tables) if wanted(name)]
        case "DATABASES" | "SCHEMAS":
            return [(name,) for name in sorted((catalog.database, "information_schema")) if wanted(name)]
        case "COLUMNS" | "FIELDS":
            table = catalog.find(_name(target))
            return [row for row in (_full(table) if node.args.get("full") else describe(table)) if wanted(row[0])]
        case "CREATE TABLE":
            return [(_name(target), create_statement(catalog.find(_name(target)), flavour))]
        case "INDEX" | "INDEXES" | "KEYS":
            catalog.find(_name(target))
            return []
        case "WARNINGS" | "ERRORS":
            return []
        case other:
            raise not_supported(f"SHOW {other}")


def _name(target: object) -> str:
    if not isinstance(target, exp.Expr):
        raise MySQLError(1046, "No database selected")
    return target.name


def _full(table: TableInfo) -> list[Row]:
    return [
        (
            c.name,
            c.declared,
            COLLATION if c.kind is Kind.TEXT else None,
            "YES",
            "",
            None,
            "",
            "select,insert,update",
            "",
        )
        for c in table.columns
    ]


def create_statement(table: TableInfo, flavour: str) -> str:
    """What SHOW CREATE TABLE prints."""
    lines = ",\n".join(
        f"  `{c.name}` {c.declared}" + ("" if c.kind is Kind.TEXT and c.declared == "text" else " DEFAULT NULL")
        + (" DEFAULT NULL" if flavour == "mariadb" and c.declared == "text" else "")
        for c in table.columns
    )  # fmt: skip
    return f"CREATE TABLE `{table.name}` (\n{lines}\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE={COLLATION}"


_TABLES = ("TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "TABLE_TYPE", "ENGINE", "TABLE_COLLATION")
_COLUMNS = (
    "TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "COLUMN_NAME", "ORDINAL_POSITION", "COLUMN_DEFAULT", "IS_NULLABLE",
    "DATA_TYPE", "COLUMN_TYPE", "COLUMN_KEY", "EXTRA",
)  # fmt: skip


def information_source(catalog: Catalog, name: str) -> tuple[str, tuple[Column, ...]]:
    """SQLite text and columns of a table of information_schema."""
    names: tuple[str, ...]
    rows: list[Row]
    if same(name, "TABLES"):
        names = _TABLES
        rows = [("def", catalog.database, table, "BASE TABLE", "InnoDB", COLLATION) for table in catalog.tables]
    elif same(name, "COLUMNS"):
        names = _COLUMNS
        rows = [
            ("def", catalog.database, table.name, column.name, place, None, "YES", column.declared.partition("(")[0],
             column.declared, "", "")
            for table in catalog.tables.values() for place, column in enumerate(table.columns, 1)
        ]  # fmt: skip
    elif same(name, "SCHEMATA"):
        names = ("CATALOG_NAME", "SCHEMA_NAME")
        rows = [("def", catalog.database)]
    else:
        raise MySQLError(1109, f"Unknown table '{name}' in information_schema")
    columns = tuple(
        Column(column, f"c{n}", Kind.INT if column == "ORDINAL_POSITION" else Kind.TEXT)
        for n, column in enumerate(names, 1)
    )
    selects = [
        "SELECT " + ", ".join(f"{_constant(value)} AS c{n}" for n, value in enumerate(row, 1)) for row in rows
    ] or ["SELECT " + ", ".join(f"NULL AS c{n}" for n in range(1, len(names) + 1)) + " WHERE 0"]  # fmt: skip
    return " UNION ALL ".join(selects), columns


def _constant(value: Any) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else f"{quote_text(value)} COLLATE mysql"
