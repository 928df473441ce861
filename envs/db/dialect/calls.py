"""Function calls: which functions MySQL has, what they take, and what type they give."""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlglot import expressions as exp

from cmat_gym.envs.db.dialect.aggregates import AGGREGATES, WINDOW_ONLY, AggregateCompiler
from cmat_gym.envs.db.dialect.dates import TIME_LETTERS
from cmat_gym.envs.db.dialect.errors import MySQLError, syntax_error
from cmat_gym.envs.db.dialect.signatures import MANY, SIMPLE, Simple
from cmat_gym.envs.db.dialect.types import (
    MAX_SCALE,
    Kind,
    Typed,
    as_int,
    as_number,
    as_real,
    as_text,
    convert,
    merge,
    quote_text,
)

__all__ = ["CallCompiler"]


VERSIONS = {"mysql": "8.0.36", "mariadb": "10.11.19-MariaDB"}
_PLACES = re.compile(r"\{(\d?)\}")
_OWN_GRAMMAR = frozenset(
    ("LEFT", "RIGHT", "MOD", "REPEAT", "REPLACE", "INSERT", "TRUNCATE", "ASCII", "CHAR", "COALESCE", "FORMAT", "YEAR",
     "MONTH", "DAY", "HOUR", "MINUTE", "SECOND", "QUARTER", "DATE", "TIME", "WEEK")
)  # fmt: skip
"""Functions that are part of MySQL's grammar: a wrong number of arguments is a syntax error."""
_ONLY_MYSQL = frozenset(("REGEXP_LIKE", "ANY_VALUE"))


class CallCompiler(AggregateCompiler):
    """Compiles function calls: simple ones from the table, the others each by a method."""

    def call(self, node: exp.Expr, name: str, arguments: list[exp.Expr]) -> Typed:
        """Compile a call of the function `name`.

        Raises:
            MySQLError: MySQL has no such function (1305), or it takes other arguments (1582).
        """
        if name in _ONLY_MYSQL and self.flavour == "mariadb":
            raise MySQLError(1305, f"FUNCTION {self.catalog.database}.{name} does not exist")
        if name in AGGREGATES:
            return self._aggregate(node, name, arguments)
        simple = SIMPLE.get(name)
        if simple is not None:
            return self._simple(simple, name, arguments)
        method = self._methods.get(name)
        if method is not None:
            return method(self, node, arguments)
        if name in WINDOW_ONLY:
            raise self.cannot_read(node)
        raise MySQLError(1305, f"FUNCTION {self.catalog.database}.{node.this} does not exist")

    def _simple(self, simple: Simple, name: str, arguments: list[exp.Expr]) -> Typed:
        self._count(name, arguments, simple.low, simple.high)
        takes = simple.takes.ljust(len(arguments), simple.takes[-1:] or "a")
        sql: list[str] = []
        for argument, letter in zip(arguments, takes, strict=False):
            value = self.expression(argument)
            match letter:
                case "t":
                    sql.append(as_text(value))
                case "i":
                    sql.append(as_int(value))
                case "r":
                    sql.append(as_real(value))
                case _:
                    sql.append(value.sql)
        template = simple.template
        if name == "LOG" and len(sql) == 1:
            template = "my_ln({})"
        return Typed(_fill(template, sql), simple.kind)

    def _count(self, name: str, arguments: list[exp.Expr], low: int, high: int) -> None:
        if not low <= len(arguments) <= high:
            if name in _OWN_GRAMMAR:
                raise syntax_error(self.sql, max(0, self.sql.upper().find(")", self.sql.upper().find(name))))
            raise MySQLError(1582, f"Incorrect parameter count in the call to native function '{name}'")

    # Functions whose type depends on their arguments ------------------------------------------------------------------

    def _values(self, name: str, arguments: list[exp.Expr], low: int, high: int) -> list[Typed]:
        self._count(name, arguments, low, high)
        return [self.expression(argument) for argument in arguments]

    def _coalesce(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        values = self._values(str(node.this).upper(), arguments, 1, MANY)
        kind, scale = merge(*values)
        texts = [convert(value, kind) for value in values]
        return Typed(texts[0] if len(texts) == 1 else f"COALESCE({', '.join(texts)})", kind, scale)

    def _if_null(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        self._count("IFNULL", arguments, 2, 2)
        return self._coalesce(node, arguments)

    def _null_if(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        first, second = self._values("NULLIF", arguments, 2, 2)
        return Typed(
            f"CASE WHEN {self.compare(first, '=', second)} THEN NULL ELSE {first.sql} END", first.kind, first.scale
        )

    def _if_call(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        if len(arguments) != 3:
            raise self.cannot_read(node)
        condition, *results = (self.expression(argument) for argument in arguments)
        return self.choose([as_real(condition)], results)

    def _extreme(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        name = str(node.this).upper()
        values = self._values(name, arguments, 2, MANY)
        kind, scale = merge(*values)
        if kind is Kind.TEXT and any(value.is_number for value in values):
            numbers = ", ".join(as_real(value) for value in values)
            return Typed(f"{'MAX' if name == 'GREATEST' else 'MIN'}({numbers})", Kind.REAL)
        if kind is Kind.TEXT:
            texts = ", ".join(as_text(value) for value in values)
            return Typed(f"my_extreme_text({1 if name == 'GREATEST' else -1}, {texts})", kind)
        items = ", ".join(convert(value, kind) for value in values)
        return Typed(f"{'MAX' if name == 'GREATEST' else 'MIN'}({items})", kind, scale)

    def _round(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        name = str(node.this).upper()
        self._count(name, arguments, 2 if name == "TRUNCATE" else 1, 2)
        value = as_number(self.expression(arguments[0]))
        digits = as_int(self.expression(arguments[1])) if len(arguments) > 1 else "0"
        function = name.lower()
        if value.kind is Kind.REAL or value.kind is Kind.NULL:
            fixed = int(digits) if digits.isdigit() else 0
            return Typed(f"my_{function}_real({value.sql}, {digits})", Kind.REAL, min(fixed, MAX_SCALE))
        constant = int(digits) if digits.lstrip("(-").rstrip(")").isdigit() and digits.count("-") < 2 else value.scale
        if digits.startswith("(-"):
            constant = 0
        scale = max(0, min(constant, value.scale))
        if value.kind in (Kind.INT, Kind.UNSIGNED):
            return Typed(f"CAST(my_{function}_decimal({value.sql}, MIN({digits}, 0)) AS INTEGER)", Kind.INT)
        return Typed(f"my_{function}_decimal({value.sql}, MIN({digits}, {value.scale}))", Kind.DECIMAL, scale)

    def _ceiling(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        [argument] = self._values(str(node.this).upper(), arguments, 1, 1)
        value = as_number(argument)
        function = "floor" if str(node.this).upper() == "FLOOR" else "ceil"
        sql = f"my_{function}({value.sql})"
        if value.kind is Kind.REAL or value.kind is Kind.NULL:
            return Typed(f"CAST({sql} AS REAL)", Kind.REAL)
        return Typed(sql, Kind.INT)

    def _format(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        value, digits = self._values("FORMAT", arguments, 2, 3)[:2]
        number, places = as_number(value), as_int(digits)
        rounded = f"my_round_real({number.sql}, {places})" if number.kind is Kind.REAL else number.sql
        return Typed(f"my_format({rounded}, {places})", Kind.TEXT)

    def _absolute(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        [argument] = self._values("ABS", arguments, 1, 1)
        value = as_number(argument)
        return Typed(f"ABS({value.sql})", value.kind if value.kind is not Kind.NULL else Kind.REAL, value.scale)

    def _mod_call(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        first, second = self._values("MOD", arguments, 2, 2)
        return self.modulo(first, second)

    def _elt(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        number, *values = self._values("ELT", arguments, 2, MANY)
        return Typed(f"my_elt({', '.join([as_int(number), *map(as_text, values)])})", Kind.TEXT)

    def _field(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        values = self._values("FIELD", arguments, 2, MANY)
        if all(value.kind is Kind.TEXT for value in values):
            return Typed(f"my_field_text({', '.join(value.sql for value in values)})", Kind.INT)
        return Typed(f"my_field_real({', '.join(map(as_real, values))})", Kind.INT)

    def _hex(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        [value] = self._values("HEX", arguments, 1, 1)
        return Typed(f"my_hex({value.sql if value.is_number else as_text(value)})", Kind.TEXT)

    def _char(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        values = self._values("CHAR", arguments, 1, MANY)
        return Typed(f"CHAR({', '.join(map(as_int, values))})", Kind.TEXT)

    def _trim(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        text = as_text(self.expression(node.this))
        piece = node.args.get("expression")
        where = str(node.args.get("position") or "BOTH").upper()
        removed = as_text(self.expression(piece)) if piece is not None else "' '"
        return Typed(f"my_trim({text}, {removed}, '{where}')", Kind.TEXT)

    def _substring(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        if isinstance(node, exp.Substring):
            parts = [node.this, node.args.get("start"), node.args.get("length")]
            arguments = [part for part in parts if part is not None]
        text, *places = self._values("SUBSTRING", arguments, 2, 3)
        return Typed(f"my_substring({', '.join([as_text(text), *map(as_int, places)])})", Kind.TEXT)

    def _position(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        text, piece = self.expression(node.this), self.expression(node.args["substr"])
        return Typed(f"my_locate({as_text(piece)}, {as_text(text)})", Kind.INT)

    def _str_to_date(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        text, pattern = self._values("STR_TO_DATE", arguments, 2, 2)
        letters = {
            after
            for before, after in zip(pattern.literal or "%H", (pattern.literal or "%H")[1:], strict=False)
            if before == "%"
        }
        timed = bool(letters & TIME_LETTERS)
        kind = Kind.DATETIME if timed else Kind.DATE
        return Typed(f"my_str_to_date({as_text(text)}, {as_text(pattern)}, {int(timed)})", kind)

    def _date_add(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        name = str(node.this).upper()
        self._count(name, arguments, 2, 2)
        sign = 1 if name in ("DATE_ADD", "ADDDATE") else -1
        interval = arguments[1]
        if not isinstance(interval, exp.Interval):
            if name in ("DATE_ADD", "DATE_SUB"):
                raise self.cannot_read(node)
            interval = exp.Interval(this=interval, unit=exp.Var(this="DAY"))
        return self.shifted(self.expression(arguments[0]), interval, sign)

    def _timestamp_difference(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        if len(arguments) != 3:
            raise self.cannot_read(node)
        unit = arguments[0].name.upper()
        if unit not in ("SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"):
            raise self.cannot_read(node)
        first, second = (self.expression(argument) for argument in arguments[1:])
        return Typed(f"my_date_difference('{unit}', {first.sql}, {second.sql})", Kind.INT)

    def _random(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        seed = as_int(self.expression(arguments[0])) if arguments else "0"
        return Typed(f"my_random({seed}, {self._row()})", Kind.REAL)

    def _row(self) -> str:
        """SQLite text of a number that differs by row."""
        tables = [source for source in self.scope.sources if source.table is not None]
        return " + 7919 * ".join(f"{source.alias}.rowid" for source in tables) or "1"

    def _database(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        return Typed(quote_text(self.catalog.database), Kind.TEXT)

    def _version(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        return Typed(quote_text(VERSIONS[self.flavour]), Kind.TEXT)

    def _benchmark(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        self._values("BENCHMARK", arguments, 2, 2)
        return Typed("0", Kind.INT)

    _methods: dict[str, Callable[[CallCompiler, exp.Expr, list[exp.Expr]], Typed]] = {  # noqa: RUF012
        "COALESCE": _coalesce, "IFNULL": _if_null, "NULLIF": _null_if, "IF": _if_call, "GREATEST": _extreme,
        "LEAST": _extreme, "ROUND": _round, "TRUNCATE": _round, "CEIL": _ceiling, "CEILING": _ceiling,
        "FLOOR": _ceiling,
        "ABS": _absolute, "FORMAT": _format, "MOD": _mod_call, "ELT": _elt, "FIELD": _field, "HEX": _hex,
        "CHAR": _char, "TRIM": _trim,
        "SUBSTRING": _substring, "SUBSTR": _substring, "POSITION": _position, "STR_TO_DATE": _str_to_date,
        "DATE_ADD": _date_add, "ADDDATE": _date_add, "DATE_SUB": _date_add, "SUBDATE": _date_add,
        "TIMESTAMPDIFF": _timestamp_difference, "RAND": _random, "DATABASE": _database, "SCHEMA": _database,
        "VERSION": _version, "OVER": AggregateCompiler._over, "BENCHMARK": _benchmark,
    }  # fmt: skip


def _fill(template: str, arguments: list[str]) -> str:
    """Put arguments into a template in one pass: what stands in an argument is never a place to fill."""
    return _PLACES.sub(lambda place: arguments[int(place[1])] if place[1] else ", ".join(arguments), template)
