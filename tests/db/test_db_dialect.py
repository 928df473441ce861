"""MySQL's answers, statement by statement, on the embedded engine and on MariaDB: one table of cases for both."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmat_gym.envs.db.backend import Backend
from cmat_gym.envs.db.dialect import collation, patterns
from cmat_gym.envs.db.dialect.engine import Engine, Table
from cmat_gym.envs.db.dialect.errors import MySQLError
from tests.db.samples import BOATS

RESULTS: list[tuple[str, list[tuple[Any, ...]]]] = [
    # a text beside a number counts as its numeric prefix; a comma ends it
    ("SELECT Name FROM boats WHERE Length > 9", [("Heron",), ("Owl",)]),
    ("SELECT Name FROM boats WHERE `Prize Money` = 1", [("Heron",)]),
    ("SELECT Name FROM boats WHERE `Prize Money` > 10", [("wren",), ("Éclair",)]),
    ("SELECT Name FROM boats WHERE Length > '9'", []),
    ("SELECT MAX(Length), MAX(Length + 0), MIN(Length) FROM boats", [("9", 40.0, "12")]),
    # sums and averages over TEXT are floats, counts are integers, NULL is None
    ("SELECT SUM(Length), AVG(`Prize Money`), COUNT(*), COUNT(Port) FROM boats", [(77.5, 228.25, 5, 4)]),
    ("SELECT SUM(Length) FROM boats WHERE Name = 'nobody'", [(None,)]),
    ("SELECT SUM(CAST(Length AS SIGNED)), AVG(CAST(Length AS SIGNED)) FROM boats", [(Decimal(77), Decimal("15.4000"))]),
    ("SELECT 5/2, 5 DIV 2, 1.5 * 2, 7 % 4, 1/3*3, 5/0",
     [(Decimal("2.5000"), 2, Decimal("3.0"), 3, Decimal("1.0000"), None)]),
    # case, accents and trailing spaces
    ("SELECT Name FROM boats WHERE Name = 'HERON '", [("Heron",)]),
    ("SELECT Name FROM boats WHERE Name = 'eclair'", [("Éclair",)]),
    ("SELECT Port, COUNT(*) FROM boats GROUP BY Port ORDER BY Port", [(None, 1), ("Köln", 2), ("Lyon", 2)]),
    ("SELECT DISTINCT Port FROM boats", [("Lyon",), ("Köln",), (None,)]),
    ("SELECT Name FROM boats WHERE Name LIKE '%E%'", [("Heron",), ("wren",), ("Éclair",), ("O'Neil",)]),
    ("SELECT Name FROM boats WHERE Name REGEXP '^[a-h]'", [("Heron",)]),
    ("SELECT b.Name, c.Name FROM boats b JOIN crew c ON b.Name = c.Boat ORDER BY 2",
     [("Heron", "ada"), ("Heron", "bo"), ("wren", "cy")]),
    # quotes, escapes, names
    ('SELECT "x", \'it\\\'s\', "a""b", \'a\\d\'', [("x", "it's", 'a"b', "ad")]),
    ("SELECT `Prize Money` FROM boats WHERE name = 'wren'", [("900",)]),
    ("SELECT 'a' || 'b', 1 || 0, 1 && 0, !1", [(0, 1, 0, 0)]),
    # order, limit, grouping
    ("SELECT Name FROM boats ORDER BY Length + 0 DESC, Name LIMIT 1, 2", [("Heron",), ("Éclair",)]),
    ("SELECT Name AS n FROM boats ORDER BY n DESC LIMIT 2 OFFSET 1", [("Owl",), ("O'Neil",)]),
    ("SELECT Name, COUNT(*) FROM boats", [("Heron", 5)]),
    ("SELECT Port p, MAX(Length + 0) m FROM boats GROUP BY p HAVING m > 10 ORDER BY m",
     [("Lyon", 12.0), ("Köln", 40.0)]),
    ("SELECT COUNT(*) FROM boats HAVING COUNT(*) > 9", []),
    ("SELECT Name FROM boats HAVING Name = 'owl'", [("Owl",)]),
    ("SELECT GROUP_CONCAT(Name ORDER BY Length + 0, Name DESC SEPARATOR '; ') FROM boats WHERE Length < 10",
     [("wren; O'Neil; Éclair",)]),
    ("SELECT COUNT(DISTINCT Port, Length) FROM boats", [(4,)]),
    # subqueries
    ("SELECT Name FROM boats WHERE Length = (SELECT MAX(Length + 0) FROM boats)", [("Owl",)]),
    ("SELECT Name FROM boats WHERE Name IN (SELECT Boat FROM crew)", [("Heron",), ("wren",)]),
    ("SELECT Name FROM boats b WHERE EXISTS (SELECT 1 FROM crew WHERE Boat = b.Name AND Age > 40)", [("Heron",)]),
    ("SELECT Name FROM boats WHERE Length >= ALL (SELECT Length + 0 FROM boats)", [("Owl",)]),
    ("SELECT v FROM (SELECT COUNT(*) AS v FROM crew GROUP BY Boat) AS d ORDER BY v", [(1,), (2,)]),
    ("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 4) SELECT SUM(n) FROM c",
     [(Decimal(10),)]),
    ("SELECT Port FROM boats UNION SELECT 'LYON'", [("Lyon",), ("Köln",), (None,)]),
    ("SELECT Name, RANK() OVER (ORDER BY Length + 0) FROM boats ORDER BY 2, 1 LIMIT 3",
     [("wren", 1), ("Éclair", 2), ("O'Neil", 2)]),
    # functions
    ("SELECT CONCAT(5/2, '-', 1.50), CONCAT_WS(',', 'a', NULL, 'b'), IF('a', 1, 2), IFNULL(NULL, 'x')",
     [("2.5000-1.50", "a,b", 2, "x")]),
    ("SELECT ROUND(2.5), ROUND('2.5'), ROUND('3.456', 1), FORMAT(1234567.891, 2)",
     [(Decimal(3), 2.0, 3.5, "1,234,567.89")]),
    ("SELECT SUBSTRING_INDEX('a.b.c', '.', -2), LOCATE('R', 'heron'), LPAD('7', 3, '0'), MD5('a')",
     [("b.c", 3, "007", "0cc175b9c0f1b6a831c399e269772661")]),
    ("SELECT CAST(REPLACE('1,250', ',', '') AS UNSIGNED) + 1, CAST('12.7abc' AS SIGNED), CAST('9.99' AS DECIMAL(5,1))",
     [(1251, 12, Decimal("10.0"))]),
    ("SELECT STR_TO_DATE('August 15, 2000', '%M %d, %Y'), YEAR('2020-02-03'), DATEDIFF('2020-03-01', '2020-02-01')",
     [(datetime.date(2000, 8, 15), 2020, 29)]),
    ("SELECT NOW(), CURDATE(), DATABASE()", [(datetime.datetime(2024, 1, 1, 12), datetime.date(2024, 1, 1), "db")]),
    # what the server tells of itself
    ("SHOW TABLES", [("boats",), ("crew",)]),
    ("DESCRIBE crew", [(name, "text", "YES", "", None, "") for name in ("Name", "Boat", "Age")]),
    ("SELECT column_name FROM information_schema.columns WHERE table_name = 'crew' ORDER BY ordinal_position",
     [("Name",), ("Boat",), ("Age",)]),
    ("SELECT LOAD_FILE('/etc/passwd')", [(None,)]),
    ("START TRANSACTION", []), ("SET @x = 1", []),
]  # fmt: skip

ERRORS: list[tuple[str, int]] = [
    ("SELEC 1", 1064), ("SELECT Name FROM boats WHERE", 1064), ("SELECT Name,, Port FROM boats", 1064),
    ("SELECT * FROM 'boats'", 1064), ('SELECT * FROM "boats"', 1064), ("SELECT Name FROM boats; SELECT 2", 1064),
    ("SELECT Name FROM boats WHERE Name = 'x", 1064), ("SELECT Name, * FROM boats", 1064), ("", 1065), (";", 1065),
    ("SELECT [Name] FROM boats", 1064), ("SELECT Name::text FROM boats", 1064),
    ("SELECT Prize Money, Port FROM boats", 1054),
    ("SELECT a.Name FROM boats a FULL OUTER JOIN crew b ON 1", 1064), ("SELECT Name FROM boats ORDER BY 9", 1054),
    ("SELECT nope FROM boats", 1054), ("SELECT b.nope FROM boats b", 1054), ("SELECT boats.Name FROM boats b", 1054),
    ("SELECT Name FROM boats WHERE m > 1", 1054), ("SELECT Name FROM boats HAVING Length > 1", 1054),
    ("SELECT Name FROM Boats", 1146), ("SELECT 1 FROM nothing", 1146), ("DELETE FROM nothing", 1146),
    ("SELECT Name FROM boats JOIN crew ON 1", 1052), ("SELECT 1 FROM boats JOIN boats ON 1", 1066),
    ("SELECT * ", 1096), ("SELECT x.* FROM boats", 1051), ("DROP TABLE nothing", 1051),
    ("SELECT 1 FROM boats WHERE COUNT(*) > 1", 1111), ("SELECT SUM(COUNT(*)) FROM boats", 1111),
    ("INSERT INTO crew VALUES ('x')", 1136), ("INSERT INTO crew (Name, Name) VALUES (1, 2)", 1110),
    ("INSERT INTO crew (nope) VALUES (1)", 1054), ("UPDATE crew SET nope = 1", 1054),
    ("SELECT (SELECT Name FROM boats)", 1242), ("SELECT (SELECT Name, Port FROM boats LIMIT 1)", 1241),
    ("SELECT 1 WHERE 1 IN (SELECT Name, Port FROM boats)", 1241), ("SELECT 1 UNION SELECT 1, 2", 1222),
    ("SELECT * FROM (SELECT 1)", 1248), ("SELECT Name FROM boats WHERE Name IN (SELECT Boat FROM crew LIMIT 1)", 1235),
    ("SELECT NOSUCH(1)", 1305), ("SELECT LEFT('a')", 1064), ("SELECT Name FROM boats WHERE Name REGEXP '['", 1139),
    ("SELECT * FROM mysql.user", 1142), ("USE mysql", 1044), ("CREATE DATABASE x", 1044),
    ("SELECT 1 INTO OUTFILE '/tmp/x'", 1227), ("SELECT CAST(1 AS UNSIGNED) - 2", 1690),
    ("CREATE TABLE crew (a TEXT)", 1050),
]  # fmt: skip
MARIADB_SAYS = {"SELECT * FROM (SELECT 1)": 1064}
"""Statements for which MariaDB has another number than MySQL 8, which the embedded engine follows."""


@pytest.mark.parametrize(("sql", "rows"), RESULTS, ids=[sql for sql, _ in RESULTS])
def test_results(backend: Backend, sql: str, rows: list[tuple[Any, ...]]) -> None:
    found = backend.execute(sql)
    assert found == rows
    assert repr(found) == repr(rows), "equal, but printed in another way"


@pytest.mark.parametrize(("sql", "code"), ERRORS, ids=[sql for sql, _ in ERRORS])
def test_error_numbers(backend: Backend, sql: str, code: int) -> None:
    code = code if isinstance(backend, Engine) else MARIADB_SAYS.get(sql, code)
    with pytest.raises(MySQLError) as caught:
        backend.execute(sql)
    assert caught.value.code == code, str(caught.value)
    assert str(caught.value).startswith(f"{code} (")
    assert backend.rows("boats") == list(BOATS.rows)


@pytest.mark.parametrize(
    ("sql", "row"),
    [
        ("UPDATE boats SET Length = Length + 1, Port = Length WHERE Name = 'heron'", ("Heron", "13", "13", "1,250")),
        ("UPDATE boats SET Length = 2.50 WHERE Name = 'HERON'", ("Heron", "Lyon", "2.50", "1,250")),
        (
            "UPDATE boats b JOIN crew c ON b.Name = c.Boat SET b.Port = c.Name WHERE c.Age > 40",
            ("Heron", "bo", "12", "1,250"),
        ),
        ("UPDATE boats SET Port = NULL ORDER BY Name DESC LIMIT 4", ("Éclair", "koln", "9", "12 pts")),
    ],
)
def test_updates(backend: Backend, sql: str, row: tuple[str | None, ...]) -> None:
    assert backend.execute(sql) == []
    assert row in backend.rows("boats")


def test_insert_and_delete(backend: Backend) -> None:
    backend.execute("INSERT INTO crew (Boat, Name) VALUES ('x', 5), (NULL, 1.50)")
    backend.execute("INSERT INTO crew SELECT Name, Port, Length + 1 FROM boats WHERE Length > 12")
    backend.execute("DELETE FROM crew WHERE Age < 31 ORDER BY Age LIMIT 1")
    backend.execute("DELETE c FROM crew c JOIN boats b ON c.Boat = b.Name WHERE c.Name = 'bo'")
    assert backend.rows("crew") == [
        ("ada", "HERON", "30"),
        ("5", "x", None),
        ("1.50", None, None),
        ("Owl", "Köln", "41"),
    ]


def test_tables_can_be_made_and_changed(backend: Backend) -> None:
    for sql in (
        "CREATE TABLE t (a INT, b VARCHAR(10), c DECIMAL(5,2))", "INSERT INTO t VALUES ('7', 7, '1.005')",
        "ALTER TABLE t ADD COLUMN d TEXT", "ALTER TABLE t DROP COLUMN b", "ALTER TABLE t RENAME COLUMN d TO e",
        "UPDATE t SET e = a + 1",
    ):  # fmt: skip
        backend.execute(sql)
    assert backend.execute("SELECT * FROM t") == [(7, Decimal("1.01"), "8")]
    assert backend.columns("t") == ("a", "c", "e")
    backend.execute("TRUNCATE TABLE t")
    backend.execute("ALTER TABLE t RENAME TO u")
    assert backend.execute("SELECT COUNT(*) FROM u") == [(0,)]
    backend.execute("DROP TABLE u")
    assert sorted(backend.table_names()) == ["boats", "crew"]


def test_where_the_two_flavours_part() -> None:
    """MySQL 8 reserves words that MariaDB does not, and reads a changed table in no subquery."""
    table = Table("t", ("Rank", "a"), (("1", "2"),))
    for flavour, codes in (("mysql", (1064, 1093)), ("mariadb", (0, 0))):
        engine = Engine(flavour)
        engine.load("db", [table])
        found = []
        for sql in ("SELECT Rank FROM t", "UPDATE t SET a = (SELECT MAX(a) FROM t)"):
            try:
                engine.execute(sql)
                found.append(0)
            except MySQLError as error:
                found.append(error.code)
        assert tuple(found) == codes
        assert engine.execute("SELECT `Rank`, t.Rank FROM t") == [("1", "1")]


def test_columns_of_the_wildest_names() -> None:
    names = ("a b", "select", "rowid", "c0", "%s {0} {}", "it's", 'q"q', "`tick", "Größe", "x.y", ";--", "😀")
    engine = Engine()
    engine.load("db", [Table("wild table; --", names, (tuple(str(n) for n in range(len(names))),))])
    for number, name in enumerate(names):
        quoted = name.replace("`", "``")
        assert engine.execute(f"SELECT `{quoted}` FROM `wild table; --` WHERE `{quoted}` = '{number}'") == [
            (str(number),)
        ]
    with pytest.raises(MySQLError, match="1166"):
        engine.load("db", [Table("t", ("a", ""), ())])
    with pytest.raises(MySQLError, match="1060"):
        engine.load("db", [Table("t", ("a", "A"), ())])


# Limits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT COUNT(*) FROM c",
        "SELECT COUNT(*) FROM boats a, boats b, boats c, boats d, boats e, boats f, boats g, boats h, boats i, boats j",
        "SELECT REPEAT('a', 90) REGEXP '^(a+)+$b'", "SELECT REPEAT('ab', 400) REGEXP '(.*)(.*)(.*)(.*)(.*)x'",
        "SELECT REPEAT('a', 40000) LIKE '%a_%a_%a_%b'", "SELECT " + "(" * 3000 + "1" + ")" * 3000,
        "SELECT " + "1+" * 20000 + "1", "SELECT '" + "x" * 70000 + "'",
    ],
)  # fmt: skip
def test_greedy_statements_end_with_an_error(engine: Engine, sql: str) -> None:
    with pytest.raises(MySQLError) as caught:
        engine.execute(sql)
    assert caught.value.code in (3636, 3024, 3699, 1064, 1436, 1153)
    assert engine.execute("SELECT COUNT(*) FROM boats") == [(5,)]


def test_huge_values_are_null_and_huge_results_are_cut(engine: Engine) -> None:
    assert engine.execute("SELECT REPEAT('a', 1000000000), LPAD('a', 1000000000, 'b'), SPACE(999999999)") == [
        (None,) * 3
    ]
    assert len(engine.execute("SELECT 1 FROM boats a, boats b, boats c, boats d, boats e, boats f")) == engine.max_rows


def _grow(engine: Engine) -> None:
    for _ in range(30):
        engine.execute("INSERT INTO crew SELECT * FROM crew")


def test_a_table_cannot_grow_without_end(engine: Engine) -> None:
    engine.execute("UPDATE crew SET Name = REPEAT('x', 20000)")
    with pytest.raises(MySQLError, match=r"^(1114|3024) ") as caught:
        _grow(engine)
    assert caught.value.code in (1114, 3024)
    engine.load("db", [BOATS])
    assert engine.execute("SELECT COUNT(*) FROM boats") == [(5,)]


WORDS = [
    "SELECT", "FROM", "WHERE", "boats", "crew", "Name", "Length", "(", ")", ",", "*", "=", "+", "-", "/", "'", "\"",
    "`", "1", "'a'", "GROUP", "BY", "ORDER", "LIMIT", "IN", "AND", "NOT", "UNION", "COUNT", "SUM", "UPDATE", "SET",
    "INSERT", "INTO", "VALUES", "DELETE", "JOIN", "ON", "AS", ".", ";", "CASE", "WHEN", "THEN", "END", "NULL", "LIKE",
    "HAVING", "DISTINCT", "EXISTS", "WITH", "x", "ALL",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.characters(exclude_categories=()), max_size=80)
    | st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)
)
def test_no_text_breaks_the_engine(text: str) -> None:
    """Whatever is sent: rows, or an error of MySQL's; never another exception, never one of ours about SQLite."""
    _fuzzed.load("db", [BOATS])
    code = 0
    try:
        assert isinstance(_fuzzed.execute(text), list)
    except MySQLError as error:
        code = error.code
    assert code != 1105, f"SQLite refused what the compiler made of {text!r}"


_fuzzed = Engine()


# Parts ----------------------------------------------------------------------------------------------------------------


def test_weights_are_the_servers(mariadb: Backend) -> None:
    """Characters weigh here what they weigh there: all up to U+0600, every seventh of the others in the basic plane."""
    points = [*range(1, 0x600), *(point for point in range(0x600, 0x10000, 7) if not 0xD800 <= point < 0xE000)]
    for start in range(0, len(points), 500):
        part = points[start : start + 500]
        weights = ", ".join(f"HEX(WEIGHT_STRING(CONVERT(_ucs2 0x{point:04X} USING utf8mb4)))" for point in part)
        [row] = mariadb.execute(f"SELECT {weights}")
        assert [f"{ord(collation.fold(chr(point))):04X}" for point in part] == list(row)


def test_collation() -> None:
    assert collation.same("Montréal  ", "MONTREAL")
    assert collation.same("Straße", "strase")
    assert not collation.same(" a", "a")
    assert sorted(["b", "A", "ä", "_", "1", "a b", "a\tb"], key=collation.key) == [
        "1",
        "A",
        "ä",
        "a\tb",
        "a b",
        "b",
        "_",
    ]
    assert collation.compare("a", "a\t") > 0, "a missing character counts as a space"
    assert collation.compare("a", "a ") == 0


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("Heron", "h%", True), ("Heron", "%ERO%", True), ("Heron", "_eron", True), ("Heron", "eron", False),
        ("50%", "50\\%", True), ("505", "50\\%", False), ("a_b", "a\\_b", True), ("axb", "a\\_b", False),
        ("", "", True),
        ("", "%", True), ("Owl ", "owl", False), ("Köln", "kol_", True), ("a\nb", "a%b", True), ("aab", "a%a%b", True),
    ],
)  # fmt: skip
def test_like(text: str, pattern: str, expected: bool) -> None:
    assert patterns.like(text, pattern) is expected
