"""Function calls: which functions MySQL has, what they take, and what type they give."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from sqlglot import expressions as exp

from cmat_gym.envs.db.dialect.dates import NOW, TIME_LETTERS
from cmat_gym.envs.db.dialect.errors import MySQLError, not_supported
from cmat_gym.envs.db.dialect.expressions import ExpressionCompiler
from cmat_gym.envs.db.dialect.scopes import Catalog
from cmat_gym.envs.db.dialect.types import (
    MAX_SCALE,
    Kind,
    Typed,
    as_int,
    as_number,
    as_real,
    as_text,
    collated,
    convert,
    merge,
    quote_text,
)

__all__ = ["AGGREGATES", "CallCompiler", "has_aggregate"]

VERSIONS = {"mysql": "8.0.36", "mariadb": "10.11.19-MariaDB"}
AGGREGATES = frozenset(
    "COUNT SUM AVG MIN MAX GROUP_CONCAT STD STDDEV STDDEV_POP STDDEV_SAMP VARIANCE VAR_POP VAR_SAMP ANY_VALUE".split()
)
_SPREADS = {
    "STD": "std_pop", "STDDEV": "std_pop", "STDDEV_POP": "std_pop", "STDDEV_SAMP": "std_samp", "VARIANCE": "var_pop",
    "VAR_POP": "var_pop", "VAR_SAMP": "var_samp",
}  # fmt: skip
_RANKS = {"ROW_NUMBER", "RANK", "DENSE_RANK", "NTILE"}
_SHARES = {"PERCENT_RANK", "CUME_DIST"}
_NEIGHBOURS = {"LAG", "LEAD", "FIRST_VALUE", "LAST_VALUE", "NTH_VALUE"}


class Simple(NamedTuple):
    """A function whose arguments are each taken in one way and whose type does not depend on them.

    Attributes:
        takes: One letter an argument: t text, i integer, r real, a as it is; the last one holds for all further ones.
        low: Least number of arguments.
        high: Greatest number of arguments.
        kind: Type of the result.
        template: SQLite text; `{0}`, `{1}` are arguments, `{}` is all of them.
    """

    takes: str
    low: int
    high: int
    kind: Kind
    template: str


_MANY = 1000
_PLACES = re.compile(r"\{(\d?)\}")
_ONLY_MYSQL = frozenset(("REGEXP_LIKE", "ANY_VALUE"))
_T, _I, _R = Kind.TEXT, Kind.INT, Kind.REAL
_SIMPLE: dict[str, Simple] = {
    "CONCAT": Simple("t", 1, _MANY, _T, "my_concat({})"), "CONCAT_WS": Simple("t", 2, _MANY, _T, "my_concat_ws({})"),
    "LENGTH": Simple("t", 1, 1, _I, "my_bytes({0})"), "OCTET_LENGTH": Simple("t", 1, 1, _I, "my_bytes({0})"),
    "CHAR_LENGTH": Simple("t", 1, 1, _I, "my_length({0})"), "CHARACTER_LENGTH": Simple("t", 1, 1, _I, "my_length({0})"),
    "BIT_LENGTH": Simple("t", 1, 1, _I, "(8 * my_bytes({0}))"),
    "UPPER": Simple("t", 1, 1, _T, "my_upper({0})"), "UCASE": Simple("t", 1, 1, _T, "my_upper({0})"),
    "LOWER": Simple("t", 1, 1, _T, "my_lower({0})"), "LCASE": Simple("t", 1, 1, _T, "my_lower({0})"),
    "LTRIM": Simple("t", 1, 1, _T, "LTRIM({0})"), "RTRIM": Simple("t", 1, 1, _T, "RTRIM({0})"),
    "LEFT": Simple("ti", 2, 2, _T, "my_left({})"), "RIGHT": Simple("ti", 2, 2, _T, "my_right({})"),
    "MID": Simple("tii", 3, 3, _T, "my_substring({})"), "REPLACE": Simple("t", 3, 3, _T, "my_replace({})"),
    "SUBSTRING_INDEX": Simple("tti", 3, 3, _T, "my_substring_index({})"),
    "INSTR": Simple("t", 2, 2, _I, "my_locate({1}, {0})"), "LOCATE": Simple("tti", 2, 3, _I, "my_locate({})"),
    "REVERSE": Simple("t", 1, 1, _T, "my_reverse({0})"), "REPEAT": Simple("ti", 2, 2, _T, "my_repeat({})"),
    "SPACE": Simple("i", 1, 1, _T, "my_repeat(' ', {0})"), "INSERT": Simple("tiit", 4, 4, _T, "my_insert({})"),
    "LPAD": Simple("tit", 3, 3, _T, "my_pad({}, 1)"), "RPAD": Simple("tit", 3, 3, _T, "my_pad({}, 0)"),
    "FIND_IN_SET": Simple("t", 2, 2, _I, "my_find_in_set({})"), "STRCMP": Simple("t", 2, 2, _I, "my_strcmp({})"),
    "ASCII": Simple("t", 1, 1, _I, "my_ascii({0})"), "ORD": Simple("t", 1, 1, _I, "my_ord({0})"),
    "MD5": Simple("t", 1, 1, _T, "my_md5({0})"), "SHA": Simple("t", 1, 1, _T, "my_sha1({0})"),
    "SHA1": Simple("t", 1, 1, _T, "my_sha1({0})"), "SHA2": Simple("ti", 2, 2, _T, "my_sha2({})"),
    "SOUNDEX": Simple("t", 1, 1, _T, "my_soundex({0})"),
    "QUOTE": Simple("t", 1, 1, _T, "my_concat('''', my_replace({0}, '''', '\\'''), '''')"),
    "REGEXP_LIKE": Simple("t", 2, 2, _I, "my_regexp({}, 0)"), "REGEXP_SUBSTR": Simple("t", 2, 2, _T, "my_regexp_substr({})"),
    "REGEXP_REPLACE": Simple("t", 3, 3, _T, "my_regexp_replace({})"),
    "REGEXP_INSTR": Simple("t", 2, 2, _I, "my_regexp_instr({})"),
    "POW": Simple("r", 2, 2, _R, "my_power({})"), "POWER": Simple("r", 2, 2, _R, "my_power({})"),
    "SQRT": Simple("r", 1, 1, _R, "my_sqrt({0})"), "EXP": Simple("r", 1, 1, _R, "my_exp({0})"),
    "LN": Simple("r", 1, 1, _R, "my_ln({0})"), "LOG": Simple("r", 1, 2, _R, "my_log({})"),
    "LOG10": Simple("r", 1, 1, _R, "my_log10({0})"), "LOG2": Simple("r", 1, 1, _R, "my_log2({0})"),
    "SIN": Simple("r", 1, 1, _R, "my_sin({0})"), "COS": Simple("r", 1, 1, _R, "my_cos({0})"),
    "TAN": Simple("r", 1, 1, _R, "my_tan({0})"), "ASIN": Simple("r", 1, 1, _R, "my_asin({0})"),
    "ACOS": Simple("r", 1, 1, _R, "my_acos({0})"), "ATAN": Simple("r", 1, 1, _R, "my_atan({0})"),
    "ATAN2": Simple("r", 2, 2, _R, "my_atan2({})"), "DEGREES": Simple("r", 1, 1, _R, "my_degrees({0})"),
    "RADIANS": Simple("r", 1, 1, _R, "my_radians({0})"), "PI": Simple("", 0, 0, _R, "3.141593"),
    "SIGN": Simple("r", 1, 1, _I, "my_sign({0})"), "ISNULL": Simple("a", 1, 1, _I, "({0} IS NULL)"),
    "DATE": Simple("a", 1, 1, Kind.DATE, "my_date({0})"), "TIME": Simple("t", 1, 1, Kind.TIME, "my_time({0})"),
    "TIMESTAMP": Simple("a", 1, 1, Kind.DATETIME, "my_datetime({0})"),
    "DATEDIFF": Simple("a", 2, 2, _I, "my_date_difference('DATEDIFF', {1}, {0})"),
    "DATE_FORMAT": Simple("at", 2, 2, _T, "my_date_format({})"),
    "LAST_DAY": Simple("a", 1, 1, Kind.DATE, "my_date_field('LAST_DAY', {0})"),
    "FROM_DAYS": Simple("i", 1, 1, Kind.DATE, "my_date_from_days({0})"),
    "MONTHNAME": Simple("a", 1, 1, _T, "my_date_field('MONTHNAME', {0})"),
    "DAYNAME": Simple("a", 1, 1, _T, "my_date_field('DAYNAME', {0})"),
    **{
        name: Simple("a", 1, 1, _I, f"my_date_field('{name}', {{0}})")
        for name in "YEAR MONTH DAY DAYOFMONTH HOUR MINUTE SECOND QUARTER DAYOFWEEK WEEKDAY DAYOFYEAR WEEK WEEKOFYEAR TO_DAYS".split()
    },
    "NOW": Simple("", 0, 1, Kind.DATETIME, f"'{NOW}'"), "SYSDATE": Simple("", 0, 1, Kind.DATETIME, f"'{NOW}'"),
    "CURDATE": Simple("", 0, 0, Kind.DATE, f"'{NOW[:10]}'"), "CURTIME": Simple("", 0, 1, Kind.TIME, f"'{NOW[11:]}'"),
    "USER": Simple("", 0, 0, _T, "'agent@localhost'"), "CURRENT_USER": Simple("", 0, 0, _T, "'agent@localhost'"),
    "SESSION_USER": Simple("", 0, 0, _T, "'agent@localhost'"), "CONNECTION_ID": Simple("", 0, 0, _I, "1"),
    "LOAD_FILE": Simple("t", 1, 1, _T, "NULL"), "SLEEP": Simple("r", 1, 1, _I, "({0} * 0)"),
}  # fmt: skip


def has_aggregate(node: exp.Expr | None) -> bool:
    """Whether an expression aggregates over the rows of its own query."""
    if node is None:
        return False
    if isinstance(node, exp.GroupConcat) or (isinstance(node, exp.Anonymous) and str(node.this).upper() in AGGREGATES):
        return True
    if isinstance(node, (exp.Select, exp.Subquery, exp.SetOperation)):
        return False
    if isinstance(node, exp.Window):
        inside: list[exp.Expr] = [*node.this.iter_expressions(), *node.args.get("partition_by", [])]
        return any(map(has_aggregate, inside)) or has_aggregate(node.args.get("order"))
    return any(has_aggregate(child) for child in node.iter_expressions())


class CallCompiler(ExpressionCompiler):
    """Compiles function calls: simple ones from the table, the others each by a method."""

    catalog: Catalog
    windows: dict[str, exp.Expr]

    def call(self, node: exp.Expr, name: str, arguments: list[exp.Expr]) -> Typed:
        """Compile a call of the function `name`.

        Raises:
            MySQLError: MySQL has no such function (1305), or it takes other arguments (1582).
        """
        if name in _ONLY_MYSQL and self.flavour == "mariadb":
            raise MySQLError(1305, f"FUNCTION {self.catalog.database}.{name} does not exist")
        if name in AGGREGATES:
            return self._aggregate(node, name, arguments)
        simple = _SIMPLE.get(name)
        if simple is not None:
            return self._simple(simple, name, arguments)
        method = self._methods.get(name)
        if method is not None:
            return method(self, node, arguments)
        if name in _RANKS | _SHARES | _NEIGHBOURS:
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
            raise MySQLError(1582, f"Incorrect parameter count in the call to native function '{name}'")

    # Aggregates -------------------------------------------------------------------------------------------------------

    def _aggregate(self, node: exp.Expr, name: str, arguments: list[exp.Expr]) -> Typed:
        scope = self.scope
        if scope.in_aggregate or scope.clause in ("where clause", "on clause", "group statement"):
            raise MySQLError(1111, "Invalid use of group function")
        scope.in_aggregate = True
        try:
            if name == "GROUP_CONCAT":
                return self._group_concat(node)
            return self._plain_aggregate(node, name, arguments)
        finally:
            scope.in_aggregate = False

    def _plain_aggregate(self, node: exp.Expr, name: str, arguments: list[exp.Expr]) -> Typed:
        distinct = ""
        if len(arguments) == 1 and isinstance(arguments[0], exp.Distinct):
            distinct, arguments = "DISTINCT ", arguments[0].expressions
        if name == "COUNT" and len(arguments) == 1 and isinstance(arguments[0], exp.Star) and not distinct:
            return Typed("COUNT(*)", Kind.INT)
        if not arguments or (len(arguments) > 1 and not (name == "COUNT" and distinct)):
            raise self.cannot_read(node)
        values = [self.expression(argument) for argument in arguments]
        value = values[0]
        if name == "COUNT":
            if distinct:
                return Typed(f"IFNULL(my_count_distinct({', '.join(item.sql for item in values)}), 0)", Kind.INT)
            return Typed(f"COUNT({value.sql})", Kind.INT)
        if name in ("MIN", "MAX"):
            sql = collated(value) if value.kind is Kind.TEXT else value.sql
            return Typed(f"{name}({sql})", value.kind, value.scale)
        if name == "ANY_VALUE":
            return Typed(f"my_first({value.sql})", value.kind, value.scale)
        number = as_number(value)
        if name in _SPREADS:
            return Typed(f"my_{_SPREADS[name]}({number.sql})", Kind.REAL)
        return _total(name, f"my_{name.lower()}({distinct}{number.sql})", number)

    def _group_concat(self, node: exp.Expr) -> Typed:
        """GROUP_CONCAT([DISTINCT] value … [ORDER BY key …] [SEPARATOR text])."""
        body, separator = node.this, node.args.get("separator")
        order: list[exp.Expr] = []
        if isinstance(body, exp.Order):
            order, body = body.expressions, body.this
        distinct = isinstance(body, exp.Distinct)
        parts = body.expressions if isinstance(body, (exp.Distinct, exp.Concat)) else [body]
        texts = [as_text(self.expression(part)) for part in parts]
        value = texts[0] if len(texts) == 1 else f"my_concat({', '.join(texts)})"
        keys = [self.expression(item.this if isinstance(item, exp.Ordered) else item).sql for item in order]
        ways = "".join("d" if item.args.get("desc") else "a" for item in order)
        between = quote_text(separator.name) if separator is not None else "','"
        arguments = ", ".join([value, between, str(int(distinct)), f"'{ways}'", *keys])
        return Typed(f"my_group_concat({arguments})", Kind.TEXT)

    # Windows ----------------------------------------------------------------------------------------------------------

    def _over(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        if self.scope.clause not in ("field list", "order clause"):
            name = "MariaDB" if self.flavour == "mariadb" else "MySQL"
            code = 4015 if name == "MariaDB" else 3593
            raise MySQLError(code, f"You cannot use the window function '{node.this.name.lower()}' in this context.'")
        function = node.this
        if isinstance(function, exp.Anonymous):
            name, arguments = str(function.this).upper(), function.expressions
        else:
            raise not_supported("this window function")
        call, result = self._window_call(node, name, arguments)
        return result._replace(sql=f"{call} OVER ({self._window_frame(node)})")

    def _window_call(self, node: exp.Expr, name: str, arguments: list[exp.Expr]) -> tuple[str, Typed]:
        if name in _RANKS:
            inner = ", ".join(as_int(self.expression(argument)) for argument in arguments)
            return f"{name}({inner})", Typed("", Kind.INT)
        if name in _SHARES:
            return f"{name}()", Typed("", Kind.REAL)
        if name in _NEIGHBOURS:
            values = [self.expression(argument) for argument in arguments]
            kind, scale = merge(values[0], *values[2:])
            return f"{name}({', '.join(value.sql for value in values)})", Typed("", kind, scale)
        if name == "COUNT" and isinstance(arguments[0], exp.Star):
            return "COUNT(*)", Typed("", Kind.INT)
        if name not in ("COUNT", "SUM", "AVG", "MIN", "MAX") or isinstance(arguments[0], exp.Distinct):
            raise not_supported(f"{name} as a window function")
        value = self.expression(arguments[0])
        if name == "COUNT":
            return f"COUNT({value.sql})", Typed("", Kind.INT)
        if name in ("MIN", "MAX"):
            sql = collated(value) if value.kind is Kind.TEXT else value.sql
            return f"{name}({sql})", value
        number = as_number(value)
        return f"my_win_{name.lower()}({number.sql})", _total(name, "", number)

    def _window_frame(self, node: exp.Expr) -> str:
        named = node.args.get("alias")
        if named is not None:
            base = self.windows.get(named.name.lower())
            if base is None:
                raise MySQLError(3579, f"Window name '{named.name}' is not defined.")
            return self._window_frame(base)
        parts: list[str] = []
        partition = node.args.get("partition_by") or []
        if partition:
            parts.append("PARTITION BY " + ", ".join(self._sort_text(self.expression(item)) for item in partition))
        order = node.args.get("order")
        if order is not None:
            parts.append("ORDER BY " + ", ".join(
                self._sort_text(self.expression(item.this)) + (" DESC" if item.args.get("desc") else "")
                for item in order.expressions
            ))  # fmt: skip
        spec = node.args.get("spec")
        if spec is not None:
            parts.append(spec.sql())
        return " ".join(parts)

    @staticmethod
    def _sort_text(value: Typed) -> str:
        return collated(value) if value.kind is Kind.TEXT else value.sql

    # Functions whose type depends on their arguments ------------------------------------------------------------------

    def _values(self, name: str, arguments: list[exp.Expr], low: int, high: int) -> list[Typed]:
        self._count(name, arguments, low, high)
        return [self.expression(argument) for argument in arguments]

    def _coalesce(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        values = self._values(str(node.this).upper(), arguments, 1, _MANY)
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
        values = self._values(name, arguments, 2, _MANY)
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
        number, *values = self._values("ELT", arguments, 2, _MANY)
        return Typed(f"my_elt({', '.join([as_int(number), *map(as_text, values)])})", Kind.TEXT)

    def _field(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        values = self._values("FIELD", arguments, 2, _MANY)
        if all(value.kind is Kind.TEXT for value in values):
            return Typed(f"my_field_text({', '.join(value.sql for value in values)})", Kind.INT)
        return Typed(f"my_field_real({', '.join(map(as_real, values))})", Kind.INT)

    def _hex(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        [value] = self._values("HEX", arguments, 1, 1)
        return Typed(f"my_hex({value.sql if value.is_number else as_text(value)})", Kind.TEXT)

    def _char(self, node: exp.Expr, arguments: list[exp.Expr]) -> Typed:
        values = self._values("CHAR", arguments, 1, _MANY)
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
        "LEAST": _extreme, "ROUND": _round, "TRUNCATE": _round, "CEIL": _ceiling, "CEILING": _ceiling, "FLOOR": _ceiling,
        "ABS": _absolute, "FORMAT": _format, "MOD": _mod_call, "ELT": _elt, "FIELD": _field, "HEX": _hex, "CHAR": _char, "TRIM": _trim,
        "SUBSTRING": _substring, "SUBSTR": _substring, "POSITION": _position, "STR_TO_DATE": _str_to_date,
        "DATE_ADD": _date_add, "ADDDATE": _date_add, "DATE_SUB": _date_add, "SUBDATE": _date_add,
        "TIMESTAMPDIFF": _timestamp_difference, "RAND": _random, "DATABASE": _database, "SCHEMA": _database,
        "VERSION": _version, "OVER": _over, "BENCHMARK": _benchmark,
    }  # fmt: skip


def _fill(template: str, arguments: list[str]) -> str:
    """Put arguments into a template in one pass: what stands in an argument is never a place to fill."""
    return _PLACES.sub(lambda place: arguments[int(place[1])] if place[1] else ", ".join(arguments), template)


def _total(name: str, sql: str, number: Typed) -> Typed:
    """SUM and AVG: DOUBLE over texts and DOUBLEs, else DECIMAL, with four more digits for an average."""
    if number.kind in (Kind.REAL, Kind.NULL):
        return Typed(f"CAST({sql} AS REAL)" if sql else sql, Kind.REAL)
    scale = number.scale + (4 if name == "AVG" else 0)
    if not sql:
        return Typed(sql, Kind.DECIMAL, scale)
    digits = number.precise if name == "SUM" else -(-scale // 9) * 9
    return Typed(sql if not digits else f"ROUND({sql}, {digits})", Kind.DECIMAL, scale, digits=digits)
