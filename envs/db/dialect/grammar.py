"""Random statements of MySQL, over three small tables full of what two servers might see differently."""

from __future__ import annotations

import random
from collections.abc import Callable

import sqlglot

from cmat_gym.envs.db.dialect.engine import Table

__all__ = ["TABLES", "Grammar", "sample_tables"]


# Tables --------------------------------------------------------------------------------------------------------------

NUMBERS = ("7", "12", "3.5", "-2", "1,250", "0", "40", "007", "12 pts", "1e3", "", "9.75", "100", "12", "3")
NAMES = (
    "Heron",
    "heron",
    "Wren",
    "Montréal",
    "Montreal",
    "ÅRHUS",
    "arhus",
    "Straße",
    "Owl ",
    "Owl",
    "O'Neil",
    "Zoë",
    "a_b",
    "50%",
    "",
)
CITIES = ("Lyon", "lyon", "Porto", "Köln", "koln", "San José", "Rome")
DATES = ("2020-01-15", "2019-12-31", "2021-06-01 10:30:00", "August 15, 2000", "1999", "2020-02-29", "")

TABLES: dict[str, dict[str, tuple[str, ...]]] = {
    "teams": {"Name": NAMES, "City": CITIES, "Wins": NUMBERS, "Prize Money": NUMBERS, "Founded": DATES},
    "players": {"Name": NAMES, "Team": NAMES, "Age": NUMBERS, "Score": NUMBERS, "Joined": DATES},
    "games": {"Home": NAMES, "Away": NAMES, "Goals": NUMBERS, "Played on": DATES},
}


def sample_tables(chance: random.Random, rows: int = 8) -> list[Table]:
    """Rows drawn anew for each table."""
    return [
        Table(
            name,
            tuple(columns),
            tuple(
                tuple(None if chance.random() < 0.08 else chance.choice(values) for values in columns.values())
                for _ in range(chance.randint(rows // 2, rows))
            ),
        )
        for name, columns in TABLES.items()
    ]


# Statements ----------------------------------------------------------------------------------------------------------


def _quoted(name: str) -> str:
    return f"`{name}`" if " " in name else name


class Grammar:
    """Writes random statements; equal generators give equal statements.

    Args:
        chance: Where the choices come from.
        mistakes: Chance that a statement has a mistake in it on purpose.
    """

    def __init__(self, chance: random.Random, mistakes: float = 0.08) -> None:
        self.chance = chance
        self.mistakes = mistakes
        self.tables: list[tuple[str, str]] = []  # alias, table
        self.depth = 0

    def statement(self) -> str:
        """One statement."""
        self.depth = 0
        kind = self.chance.random()
        if kind < 0.72:
            sql = self.select()
        elif kind < 0.80:
            sql = self.insert()
        elif kind < 0.90:
            sql = self.update()
        elif kind < 0.95:
            sql = self.delete()
        else:
            sql = self.other()
        if self.chance.random() < self.mistakes:
            return self.spoil(sql)
        if self.chance.random() < 0.4:  # in sqlglot's spelling: other spaces, brackets, and names of functions
            return sqlglot.transpile(sql, read="mysql", write="mysql")[0]
        return sql

    def _pick(self, *choices: Callable[[], str]) -> str:
        return self.chance.choice(choices)()

    # Names and values

    def _column(self, *wanted: str) -> str:
        """A column of the tables in reach; with its table where there are several."""
        alias, table = self.chance.choice(self.tables)
        names = [name for name in TABLES[table] if not wanted or name in wanted] or list(TABLES[table])
        name = _quoted(self.chance.choice(names))
        return f"{alias}.{name}" if len(self.tables) > 1 or self.chance.random() < 0.2 else name

    def _text_column(self) -> str:
        return self._column("Name", "City", "Team", "Home", "Away")

    def _number_column(self) -> str:
        return self._column("Wins", "Prize Money", "Age", "Score", "Goals")

    def _string(self) -> str:
        text = self.chance.choice((*NAMES, *CITIES, "HERON", "o", "%r%", "12"))
        return "'" + text.replace("'", "''") + "'"

    def _number(self) -> str:
        return self.chance.choice(("0", "1", "3", "7", "12", "2.5", "100", "-2", "0.5", "1e2", "1250"))

    # Expressions

    def number(self) -> str:
        """A number."""
        self.depth += 1
        if self.depth > 6:
            return self._number_column()
        pick, n = self.chance, self._number_column
        return self._pick(
            n, n, n, self._number, self._number,
            lambda: f"{n()} {pick.choice('+-*/')} {self._number()}",
            lambda: f"({self.number()} {pick.choice('+-*')} {self.number()})",
            lambda: f"CAST(REPLACE({n()}, ',', '') AS {pick.choice(_CASTS)})", lambda: f"CAST(ABS({n()}) AS UNSIGNED)",
            lambda: f"ROUND({n()}, {pick.choice((0, 1, 2))})", lambda: f"ABS({n()})", lambda: f"FLOOR({n()})",
            lambda: f"LENGTH({self._text_column()})", lambda: f"CHAR_LENGTH({self._text_column()})",
            lambda: f"YEAR({self._column('Founded', 'Joined', 'Played on')})", lambda: f"{n()} % 5",
            lambda: f"{n()} DIV 2",
            lambda: f"IFNULL({n()}, 0)", lambda: f"CASE WHEN {self.condition()} THEN {self._number()} ELSE {n()} END",
            lambda: f"LOCATE('o', {self._text_column()})",
        )  # fmt: skip

    def text(self) -> str:
        """A text."""
        t = self._text_column
        return self._pick(
            t, t, t, t, self._string,
            lambda: f"UPPER({t()})", lambda: f"CONCAT({t()}, '-', {self._pick(t, self._number_column, self._number)})",
            lambda: f"LEFT({t()}, 2)", lambda: f"SUBSTRING({t()}, 2, 3)", lambda: f"TRIM({t()})",
            lambda: f"COALESCE({t()}, 'none')", lambda: f"REPLACE({t()}, 'o', '0')", lambda: f"LOWER({t()})",
            lambda: f"SUBSTRING_INDEX({t()}, 'e', 1)", lambda: f"IF({self.condition()}, {t()}, 'x')",
            lambda: f"CONCAT_WS('/', {t()}, {t()})", lambda: f"MD5({t()})", lambda: f"LPAD({t()}, 4, '*')",
            lambda: f"NULLIF({t()}, {self._string()})", lambda: f"CAST({self.number()} AS CHAR)",
        )  # fmt: skip

    def value(self) -> str:
        """Any value."""
        return self._pick(self.number, self.text, self.text, lambda: self._column(), lambda: self._column())

    def condition(self) -> str:
        """A condition."""
        self.depth += 1
        if self.depth > 6:
            return f"{self._number_column()} > 3"
        compare = self.chance.choice(("=", "=", "<>", "<", ">", "<=", ">=", "!="))
        return self._pick(
            lambda: f"{self._number_column()} {compare} {self._number()}",
            lambda: f"{self._text_column()} = {self._string()}",
            lambda: f"{self._text_column()} = {self._string()}", lambda: f"{self.number()} {compare} {self.number()}",
            lambda: f"{self.text()} {compare} {self.text()}", lambda: f"{self._column()} {compare} {self._column()}",
            lambda: f"{self._text_column()} {self.chance.choice(('LIKE', 'NOT LIKE'))} {self._like()}",
            lambda: f"{self._text_column()} REGEXP {self.chance.choice(_PATTERNS)}",
            lambda: f"{self._text_column()} IN ({self._string()}, {self._string()}, {self._string()})",
            lambda: f"{self._number_column()} NOT IN ({self._number()}, {self._number()})",
            lambda: f"{self._number_column()} BETWEEN {self._number()} AND {self._number()}",
            lambda: f"{self._column()} IS {self.chance.choice(('', 'NOT '))}NULL",
            lambda: f"({self.condition()} {self.chance.choice(('AND', 'OR'))} {self.condition()})",
            lambda: f"NOT ({self.condition()})", self._subquery_condition,
            lambda: f"{self._column()} <=> {self._column()}",
        )  # fmt: skip

    def _like(self) -> str:
        return self.chance.choice(("'%o%'", "'h%'", "'%L'", "'_ren'", "'%é%'", "'1%'", "'a\\_b'", "'%  '", "''"))

    def _subquery_condition(self) -> str:
        if self.depth > 3:
            return "1"
        outer, (alias, table) = self._column(), self._alias()
        column = _quoted(self.chance.choice(list(TABLES[table])))
        kept, self.tables = self.tables, [(alias, table)]
        where = self.condition() if self.chance.random() < 0.6 else "1"
        self.tables = kept
        inner = f"FROM {table} {alias} WHERE {where}"
        return self._pick(
            lambda: f"{outer} IN (SELECT {alias}.{column} {inner})",
            lambda: f"{outer} NOT IN (SELECT {alias}.{column} {inner})",
            lambda: f"EXISTS (SELECT 1 {inner} AND {alias}.{column} = {outer})",
            lambda: f"{outer} = (SELECT MAX({alias}.{column}) {inner})",
            lambda: f"{outer} + 0 >= (SELECT AVG({alias}.{column}) {inner})",
            lambda: f"{outer} > ALL (SELECT {alias}.{column} {inner})",
            lambda: f"{outer} = ANY (SELECT {alias}.{column} {inner})",
        )  # fmt: skip

    def aggregate(self) -> str:
        """An aggregate."""
        n, distinct = self._number_column, self.chance.choice(("", "", "DISTINCT "))
        return self._pick(
            lambda: "COUNT(*)", lambda: f"COUNT({distinct}{self._column()})", lambda: f"SUM({n()})",
            lambda: f"AVG({n()})",
            lambda: f"MIN({self._column()})", lambda: f"MAX({self._column()})", lambda: f"MAX({n()} + 0)",
            lambda: f"MIN(CAST({n()} AS SIGNED))", lambda: f"SUM(CAST({n()} AS SIGNED))",
            lambda: f"AVG(CAST({n()} AS SIGNED))",
            lambda: f"SUM({self.condition()})", lambda: f"ROUND(AVG({n()}), 2)", lambda: f"SUM({n()}) / COUNT(*)",
            lambda: f"SUM({distinct}{n()})", lambda: f"SUM(CAST({n()} AS DECIMAL(10,2)))",
            lambda: f"GROUP_CONCAT({(column := n())} ORDER BY {column} SEPARATOR '|')",
            lambda: f"COUNT(DISTINCT {n()}, {n()})",
        )  # fmt: skip

    # Queries

    def _alias(self) -> tuple[str, str]:
        return f"x{self.chance.randint(1, 99)}", self.chance.choice(list(TABLES))

    def _from(self) -> str:
        count = self.chance.choice((1, 1, 1, 2, 2, 3))
        names = self.chance.sample(list(TABLES), count)
        self.tables = [(f"{'abc'[i]}", name) for i, name in enumerate(names)] if count > 1 else [(names[0], names[0])]
        if count == 1:
            return names[0]
        everything, text = self.tables, f"{names[0]} a"
        for number in range(1, count):
            self.tables = everything[: number + 1]
            kind = self.chance.choice(("JOIN", "JOIN", "LEFT JOIN", "INNER JOIN", "RIGHT JOIN"))
            alias, name = everything[number]
            left = self.chance.choice(everything[:number])
            on = self._pick(
                lambda left=left, alias=alias, name=name: (
                    f"{left[0]}.{self._text_of(left[1])} = {alias}.{self._text_of(name)}"
                ),  # type: ignore[misc]
                lambda left=left, alias=alias, name=name: (
                    f"{left[0]}.{self._number_of(left[1])} > {alias}.{self._number_of(name)}"
                ),  # type: ignore[misc]
            )
            text += f" {kind} {name} {alias} ON {on}"
        return text

    def _text_of(self, table: str) -> str:
        return self.chance.choice([name for name in TABLES[table] if name in ("Name", "City", "Team", "Home", "Away")])

    def _number_of(self, table: str) -> str:
        return _quoted(
            self.chance.choice([n for n in TABLES[table] if n in ("Wins", "Prize Money", "Age", "Score", "Goals")])
        )

    def select(self) -> str:
        """A query."""
        kind = self.chance.random()
        if kind < 0.08:
            return self._union()
        if kind < 0.14:
            return self._derived()
        source = self._from()
        where = f" WHERE {self.condition()}" if self.chance.random() < 0.65 else ""
        if self.chance.random() < 0.4:
            return self._grouped(source, where)
        items = [self.value() for _ in range(self.chance.randint(1, 3))]
        if self.chance.random() < 0.1:
            items = ["*"]
        distinct = "DISTINCT " if self.chance.random() < 0.12 else ""
        return f"SELECT {distinct}{', '.join(items)} FROM {source}{where}{self._tail(len(items), items == ['*'])}"

    def _tail(self, count: int, star: bool = False) -> str:
        """ORDER BY, and LIMIT only where the order is complete."""
        if star or self.chance.random() < 0.5:
            return ""
        order = ", ".join(f"{n}{self.chance.choice(('', ' DESC'))}" for n in range(1, count + 1))
        limit = self.chance.choice(("", " LIMIT 3", " LIMIT 1, 2", " LIMIT 2 OFFSET 1"))
        return f" ORDER BY {order}{limit}"

    def _grouped(self, source: str, where: str) -> str:
        if self.chance.random() < 0.4:
            items = [self.aggregate() for _ in range(self.chance.randint(1, 2))]
            return f"SELECT {', '.join(items)} FROM {source}{where}"
        key = self._pick(self._column, self._text_column, self.text)
        total = self.aggregate()
        having = (
            f" HAVING {self.chance.choice((total, 'COUNT(*)'))} > {self._number()}"
            if self.chance.random() < 0.4
            else ""
        )
        return f"SELECT {key}, {total} FROM {source}{where} GROUP BY {key}{having}{self._tail(2)}"

    def _union(self) -> str:
        parts = []
        for _ in range(2):
            source = self._from()
            parts.append(f"SELECT {self._text_column()}, {self.number()} FROM {source} WHERE {self.condition()}")
        return f"{parts[0]} UNION{self.chance.choice(('', ' ALL'))} {parts[1]}"

    def _derived(self) -> str:
        source = self._from()
        key, total = self._text_column(), self.aggregate()
        inner = f"SELECT {key} AS k, {total} AS v FROM {source} GROUP BY {key}"
        outer = self.chance.choice(("k, v", "COUNT(*)", "MAX(v)", "k"))
        condition = self.chance.choice(("v > 1", "k LIKE '%o%'", "k = 'heron'", "v IS NOT NULL"))
        if self.chance.random() < 0.5:
            return f"SELECT {outer} FROM ({inner}) AS d WHERE {condition}"
        return f"WITH d AS ({inner}) SELECT {outer} FROM d WHERE {condition}"

    # Changes

    def _one_table(self) -> tuple[str, list[str]]:
        name = self.chance.choice(list(TABLES))
        self.tables = [(name, name)]
        return name, list(TABLES[name])

    def _constant(self) -> str:
        return self._pick(
            self._string, self._number, lambda: "NULL", lambda: "5/2", lambda: "CONCAT('a', 1)", lambda: "2.50"
        )

    def insert(self) -> str:
        """INSERT, of values or of a query."""
        table, columns = self._one_table()
        chosen = self.chance.sample(columns, self.chance.randint(1, len(columns)))
        listed = ", ".join(map(_quoted, chosen))
        if self.chance.random() < 0.2:
            other, _ = self._one_table()
            values = ", ".join(self.value() for _ in chosen)
            return f"INSERT INTO {table} ({listed}) SELECT {values} FROM {other} WHERE {self.condition()}"
        rows = ", ".join(f"({', '.join(self._constant() for _ in chosen)})" for _ in range(self.chance.randint(1, 2)))
        return f"INSERT INTO {table} ({listed}) VALUES {rows}"

    def update(self) -> str:
        """UPDATE."""
        table, columns = self._one_table()
        chosen = self.chance.sample(columns, self.chance.choice((1, 1, 2)))
        changes = ", ".join(
            f"{_quoted(name)} = {self._pick(self._constant, self._constant, self.value)}" for name in chosen
        )
        return f"UPDATE {table} SET {changes} WHERE {self.condition()}"

    def delete(self) -> str:
        """DELETE."""
        table, _ = self._one_table()
        return f"DELETE FROM {table} WHERE {self.condition()}"

    def other(self) -> str:
        """SHOW and DESCRIBE."""
        table, _ = self._one_table()
        return self.chance.choice((
            "SHOW TABLES", f"DESCRIBE {table}", f"SHOW COLUMNS FROM {table}", "SELECT DATABASE()",
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1",
            f"SELECT column_name, data_type FROM information_schema.columns WHERE table_name = '{table}' ORDER BY 1",
        ))  # fmt: skip

    def spoil(self, sql: str) -> str:
        """A statement with a mistake an agent might make."""
        table = self.chance.choice(list(TABLES))
        return self.chance.choice((
            sql.replace(f"FROM {table}", f"FROM {table.upper()}"), sql.replace("Name", "Nme"),
            sql.replace("FROM", "FORM", 1),
            sql.replace(table, f"'{table}'"), sql.replace("Wins", "Winz"), sql + " )", sql.replace("(", "", 1),
            f"SELECT Name FROM {table} WHERE COUNT(*) > 1", f"SELECT *, FROM {table}",
            f"SELECT Prize Money, City FROM {table}",
            f"SELECT a.Name FROM {table} b", f"INSERT INTO {table} VALUES ('x')",
            f"SELECT Name FROM {table} a JOIN players b ON 1",
            f"SELECT {table}.* FROM players q", f"SELECT NOSUCH(Name) FROM {table}",
            f"SELECT Name FROM {table} WHERE Name = 'x",
            f"SELECT SUM(COUNT(*)) FROM {table}", f"SELECT (SELECT Home, Away FROM games) FROM {table}",
            f"SELECT MAX(Goals) AS m FROM games WHERE m > 1 AND '{table}' = 'x'", f"SELECT 1 FROM {table}; SELECT 2",
        ))  # fmt: skip


_CASTS = ("SIGNED", "UNSIGNED", "DECIMAL(10,2)", "DECIMAL(6,1)")
_PATTERNS = ("'^h'", "'o$'", "'[0-9]+'", "'e.*r'", "'^.{3,5}$'", "'(ren|yon)'", "'[[:digit:]]'", "'n\\\\.'")
