"""Expressions: from a syntax tree of MySQL to SQLite text with MySQL's meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from sqlglot import expressions as exp

from cmat_gym.envs.db.dialect.errors import MySQLError, not_supported, syntax_error
from cmat_gym.envs.db.dialect.scopes import Scope
from cmat_gym.envs.db.dialect.types import (
    MAX_SCALE,
    Kind,
    Typed,
    as_bool,
    as_int,
    as_number,
    as_real,
    as_text,
    collated,
    convert,
    merge,
    quote_text,
)

if TYPE_CHECKING:
    from cmat_gym.envs.db.dialect.queries import Query

__all__ = ["ExpressionCompiler"]

_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=", exp.NullSafeEQ: "IS",
}  # fmt: skip
_BITS: dict[type[exp.Expr], str] = {
    exp.BitwiseAnd: "&", exp.BitwiseOr: "|", exp.BitwiseLeftShift: "<<", exp.BitwiseRightShift: ">>",
}  # fmt: skip
_UNITS = {"SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"}
TRUTH = Kind.INT
NULL = Typed("NULL", Kind.NULL)


def truth(sql: str) -> Typed:
    """A condition: MySQL's truth values are the integers 0 and 1."""
    return Typed(f"({sql})", Kind.INT)


class ExpressionCompiler:
    """Compiles expressions in a scope; queries and statements build on it."""

    sql: str
    scope: Scope
    flavour: str

    # What subclasses add ----------------------------------------------------------------------------------------------

    def query(self, node: exp.Expr) -> Query:
        """Compile a query inside of an expression."""
        raise NotImplementedError

    def call(self, node: exp.Expr, name: str, arguments: list[exp.Expr]) -> Typed:
        """Compile a function call."""
        raise NotImplementedError

    # Entry ------------------------------------------------------------------------------------------------------------

    def expression(self, node: exp.Expr) -> Typed:
        """Compile an expression.

        Raises:
            MySQLError: MySQL would refuse it.
        """
        handler = self._handlers.get(type(node))
        if handler is None:
            raise self.cannot_read(node)
        return handler(self, node)

    def cannot_read(self, node: exp.Expr) -> MySQLError:
        """A construct MySQL does not have: a syntax error at its first name, or at the start."""
        starts = [inner.meta["start"] for inner in node.walk() if "start" in inner.meta]
        return syntax_error(self.sql, min(starts, default=0))

    # Leaves -----------------------------------------------------------------------------------------------------------

    def _literal(self, node: exp.Expr) -> Typed:
        text: str = node.this
        if node.is_string:
            return Typed(quote_text(text), Kind.TEXT, literal=text)
        if "e" in text.lower():
            return Typed(repr(float(text)), Kind.REAL)
        whole, point, fraction = text.partition(".")
        if point:
            return Typed(f"{whole or 0}.{fraction or 0}", Kind.DECIMAL, min(len(fraction), MAX_SCALE))
        number = int(text)
        return Typed(str(number), Kind.INT) if number < 1 << 63 else Typed(f"{number}.0", Kind.DECIMAL)

    def _column(self, node: exp.Expr) -> Typed:
        if isinstance(node.this, exp.Star):
            raise syntax_error(self.sql, self.sql.find("*"))
        name, table = node.name, node.text("table")
        if self.scope.clause == "having clause" and not self.scope.in_aggregate:
            return self._having_column(name, table)
        if self.scope.clause == "order clause" and not table and self.scope.lookup(name, "", "order clause") is None:
            alias = self.scope.aliases.get(name.lower())
            if alias is not None:
                return alias
        return self.scope.resolve(name, table)

    def _having_column(self, name: str, table: str) -> Typed:
        """HAVING sees the select list and what is grouped by, then the queries around; other columns it does not."""
        scope = self.scope
        own = scope.lookup(name, table, "having clause") if table or name.lower() not in scope.aliases else None
        if own is not None and own.sql in scope.keys:
            return own
        if not table and name.lower() in scope.aliases:
            return scope.aliases[name.lower()]
        if own is not None and f"{own.sql}" in scope.aliases:
            return scope.aliases[own.sql]
        if own is None and scope.parent is not None:
            for outer in scope.parent.chain():
                found = outer.lookup(name, table, "having clause")
                if found is not None:
                    return found
        raise MySQLError(1054, f"Unknown column '{table + '.' if table else ''}{name}' in 'having clause'")

    def _null(self, node: exp.Expr) -> Typed:
        return NULL

    def _boolean(self, node: exp.Expr) -> Typed:
        return Typed("1" if node.this else "0", Kind.INT)

    def _hexadecimal(self, node: exp.Expr) -> Typed:
        digits = str(node.this)
        data = bytes.fromhex(digits if len(digits) % 2 == 0 else f"0{digits}")
        text = data.decode(errors="replace")
        return Typed(quote_text(text), Kind.TEXT, literal=text)

    def _bit_string(self, node: exp.Expr) -> Typed:
        number = int(str(node.this), 2)
        text = number.to_bytes(max(1, -(-number.bit_length() // 8)), "big").decode(errors="replace")
        return Typed(quote_text(text), Kind.TEXT, literal=text)

    def _national(self, node: exp.Expr) -> Typed:
        return Typed(quote_text(str(node.this)), Kind.TEXT, literal=str(node.this))

    # Logic ------------------------------------------------------------------------------------------------------------

    def condition(self, node: exp.Expr) -> str:
        """Compile an expression that is taken for true or false."""
        return as_bool(self.expression(node))

    def _paren(self, node: exp.Expr) -> Typed:
        inner = self.expression(node.this)
        return inner._replace(sql=f"({inner.sql})")

    def _and(self, node: exp.Expr) -> Typed:
        return truth(f"{self.condition(node.this)} AND {self.condition(node.expression)}")

    def _or(self, node: exp.Expr) -> Typed:
        return truth(f"{self.condition(node.this)} OR {self.condition(node.expression)}")

    def _xor(self, node: exp.Expr) -> Typed:
        left, right = self.condition(node.this), self.condition(node.expression)
        return truth(f"({left} <> 0) <> ({right} <> 0)")

    def _not(self, node: exp.Expr) -> Typed:
        return truth(f"NOT {self.condition(node.this)}")

    def _is(self, node: exp.Expr) -> Typed:
        value, other = self.expression(node.this), node.expression
        if isinstance(other, exp.Null):
            return truth(f"{value.sql} IS NULL")
        if isinstance(other, exp.Boolean):
            holds = f"IFNULL({as_real(value)} <> 0, {int(not other.this)})"
            return truth(f"{holds} = {int(bool(other.this))}")
        raise self.cannot_read(node)

    # Comparison -------------------------------------------------------------------------------------------------------

    def _comparison(self, node: exp.Expr) -> Typed:
        operator = _COMPARISONS[type(node)]
        left, right = node.this, node.expression
        if isinstance(right, (exp.All, exp.Any)):
            return self._quantified(left, operator, right)
        if isinstance(_bare(left), exp.Tuple) or isinstance(_bare(right), exp.Tuple):
            return self._rows(_bare(left), operator, _bare(right))
        return truth(self.compare(self.expression(left), operator, self.expression(right)))

    def compare(self, left: Typed, operator: str, right: Typed) -> str:
        """Compare as MySQL does: texts by collation, dates as moments, anything else as numbers."""
        if Kind.NULL in (left.kind, right.kind):
            return f"{left.sql} {operator} {right.sql}"
        if left.kind is Kind.TEXT and right.kind is Kind.TEXT:
            if left.collated or right.collated:
                return f"{left.sql} {operator} {right.sql}"
            return f"{left.sql} COLLATE mysql {operator} {right.sql}"
        if (
            left.is_temporal
            and right.is_temporal
            or {left.kind, right.kind} & {Kind.TIME}
            and Kind.TEXT
            in (
                left.kind,
                right.kind,
            )
        ):
            if left.kind is right.kind or Kind.TEXT in (left.kind, right.kind):
                return f"{left.sql} {operator} {right.sql}"
            return f"my_comparable_date({left.sql}) {operator} my_comparable_date({right.sql})"
        if left.is_temporal and right.kind is Kind.TEXT or right.is_temporal and left.kind is Kind.TEXT:
            return f"my_comparable_date({left.sql}) {operator} my_comparable_date({right.sql})"
        return f"{as_real(left)} {operator} {as_real(right)}"

    def _rows(self, left: exp.Expr, operator: str, right: exp.Expr) -> Typed:
        """(a, b) = (c, d): by elements."""
        if operator not in ("=", "<>", "IS"):
            raise not_supported("row comparison other than equality")
        firsts, seconds = self._elements(left), self._elements(right)
        if len(firsts) != len(seconds):
            raise MySQLError(1241, f"Operand should contain {len(firsts)} column(s)")
        pairs = zip(firsts, seconds, strict=True)
        if operator == "<>":
            return truth(" OR ".join(self.compare(a, "<>", b) for a, b in pairs))
        return truth(" AND ".join(self.compare(a, operator, b) for a, b in pairs))

    def _elements(self, node: exp.Expr) -> list[Typed]:
        if isinstance(node, exp.Tuple):
            return [self.expression(item) for item in node.expressions]
        if isinstance(node, exp.Anonymous) and node.name.upper() == "ROW":
            return [self.expression(item) for item in node.expressions]
        return [self.expression(node)]

    def _in(self, node: exp.Expr) -> Typed:
        query = node.args.get("query")
        if query is not None:
            return self._in_query(node.this, query)
        wanted = _bare(node.this)
        if isinstance(wanted, exp.Tuple):
            options = " OR ".join(self._rows(wanted, "=", _bare(item)).sql for item in node.expressions)
            return truth(options)
        value = self.expression(wanted)
        items = [self.expression(item) for item in node.expressions]
        if value.kind is Kind.TEXT and all(item.kind is Kind.TEXT for item in items):
            return truth(f"{collated(value)} IN ({', '.join(item.sql for item in items)})")
        if value.is_number and all(item.is_number for item in items):
            return truth(f"{value.sql} IN ({', '.join(item.sql for item in items)})")
        return truth(" OR ".join(self.compare(value, "=", item) for item in items))

    def _in_query(self, node: exp.Expr, query: exp.Expr) -> Typed:
        bare = _bare(node)
        values = self._elements(bare)
        inner = _unwrap(query)
        if inner.args.get("limit") is not None and isinstance(inner, exp.Select):
            raise not_supported("LIMIT & IN/ALL/ANY/SOME subquery")
        found = self.query(inner)
        if len(found.columns) != len(values):
            raise MySQLError(1241, f"Operand should contain {len(values)} column(s)")
        left: list[str] = []
        right: list[str] = []
        for number, (value, column) in enumerate(zip(values, found.columns, strict=True), 1):
            item = Typed(f"c{number}", column.kind, column.scale, collated=True)
            if value.kind is Kind.TEXT and item.kind is Kind.TEXT:
                left.append(collated(value))
                right.append(item.sql)
            else:
                left.append(as_real(value))
                right.append(as_real(item))
        head = left[0] if len(left) == 1 else f"({', '.join(left)})"
        return truth(f"{head} IN (SELECT {', '.join(right)} FROM ({found.sql}))")

    def _quantified(self, left: exp.Expr, operator: str, right: exp.Expr) -> Typed:
        """x > ALL (…), x = ANY (…): a row that decides, else NULL where a comparison gave NULL."""
        inner = _unwrap(right.this)
        if inner.args.get("limit") is not None:
            raise not_supported("LIMIT & IN/ALL/ANY/SOME subquery")
        value, found = self.expression(left), self.query(inner)
        if len(found.columns) != 1:
            raise MySQLError(1241, "Operand should contain 1 column(s)")
        column = found.columns[0]
        holds = self.compare(value, operator, Typed("c1", column.kind, column.scale, collated=True))
        decides, otherwise = (0, 1) if isinstance(right, exp.All) else (1, 0)
        wanted = f"NOT ({holds})" if isinstance(right, exp.All) else holds
        return truth(
            f"CASE WHEN EXISTS (SELECT 1 FROM ({found.sql}) WHERE {wanted}) THEN {decides} "
            f"WHEN EXISTS (SELECT 1 FROM ({found.sql}) WHERE ({holds}) IS NULL) THEN NULL ELSE {otherwise} END"
        )

    def _exists(self, node: exp.Expr) -> Typed:
        return truth(f"EXISTS ({self.query(_unwrap(node.this)).sql})")

    def _between(self, node: exp.Expr) -> Typed:
        value, low, high = (self.expression(node.args[part]) for part in ("this", "low", "high"))
        kinds = {value.kind, low.kind, high.kind}
        if Kind.TEXT in kinds and kinds & {Kind.INT, Kind.DECIMAL, Kind.REAL}:
            value, low, high = (as_number(item) for item in (value, low, high))
        return truth(f"{self.compare(value, '>=', low)} AND {self.compare(value, '<=', high)}")

    def _like(self, node: exp.Expr) -> Typed:
        return self._like_with(node, "\\")

    def _like_with(self, node: exp.Expr, escape: str) -> Typed:
        text, pattern = as_text(self.expression(node.this)), as_text(self.expression(node.expression))
        negation = "NOT " if node.args.get("negate") else ""
        return truth(f"{negation}my_like({text}, {pattern}, {quote_text(escape)})")

    def _escape(self, node: exp.Expr) -> Typed:
        if not isinstance(node.this, exp.Like) or len(node.expression.name) > 1:
            raise MySQLError(1210, "Incorrect arguments to ESCAPE")
        return self._like_with(node.this, node.expression.name)

    def _regexp(self, node: exp.Expr) -> Typed:
        text, pattern = self.expression(node.this), self.expression(node.expression)
        exact = int("COLLATE BINARY" in text.sql or "COLLATE BINARY" in pattern.sql)
        negation = "NOT " if node.args.get("negate") else ""
        return truth(f"{negation}my_regexp({as_text(text)}, {as_text(pattern)}, {exact})")

    # Arithmetic -------------------------------------------------------------------------------------------------------

    def _negative(self, node: exp.Expr) -> Typed:
        value = as_number(self.expression(node.this))
        kind = Kind.INT if value.kind is Kind.UNSIGNED else value.kind
        return Typed(f"(-{value.sql})", kind, value.scale, digits=value.digits)

    def _add(self, node: exp.Expr) -> Typed:
        return self._sum(node, "+", 1)

    def _subtract(self, node: exp.Expr) -> Typed:
        return self._sum(node, "-", -1)

    def _sum(self, node: exp.Expr, operator: str, sign: int) -> Typed:
        if isinstance(node.expression, exp.Interval):
            return self.shifted(self.expression(node.this), node.expression, sign)
        if isinstance(node.this, exp.Interval) and sign > 0:
            return self.shifted(self.expression(node.expression), node.this, sign)
        left, right = as_number(self.expression(node.this)), as_number(self.expression(node.expression))
        digits = max(left.precise, right.precise)
        return self._arithmetic(left, operator, right, max(left.scale, right.scale), digits)

    def _multiply(self, node: exp.Expr) -> Typed:
        left, right = as_number(self.expression(node.this)), as_number(self.expression(node.expression))
        digits = min(left.precise + right.precise, MAX_SCALE)
        return self._arithmetic(left, "*", right, min(left.scale + right.scale, MAX_SCALE), digits)

    def _arithmetic(self, left: Typed, operator: str, right: Typed, scale: int, digits: int) -> Typed:
        unsigned = Kind.UNSIGNED in (left.kind, right.kind)
        kind, _ = merge(*(Typed("", Kind.INT) if side.kind is Kind.UNSIGNED else side for side in (left, right)))
        sql = f"({left.sql} {operator} {right.sql})"
        if unsigned and kind is Kind.INT:
            return Typed(f"my_check_unsigned({sql})", Kind.UNSIGNED)
        if kind is Kind.DECIMAL:
            return Typed(f"ROUND({sql}, {digits})", kind, scale, digits=digits)
        return Typed(sql, kind if kind is not Kind.NULL else Kind.REAL)

    def _divide(self, node: exp.Expr) -> Typed:
        left, right = as_number(self.expression(node.this)), as_number(self.expression(node.expression))
        if Kind.REAL in (left.kind, right.kind) or left.kind is Kind.NULL:
            return Typed(f"(CAST({left.sql} AS REAL) / {right.sql})", Kind.REAL)
        scale = min(left.scale + 4, MAX_SCALE)
        digits = -(-scale // 9) * 9  # the server calculates in words of nine digits
        return Typed(f"my_divide({left.sql}, {right.sql}, {digits})", Kind.DECIMAL, scale, digits=digits)

    def _whole_divide(self, node: exp.Expr) -> Typed:
        left, right = as_number(self.expression(node.this)), as_number(self.expression(node.expression))
        return Typed(f"my_int_div({left.sql}, {right.sql})", Kind.INT)

    def _modulo(self, node: exp.Expr) -> Typed:
        return self.modulo(self.expression(node.this), self.expression(node.expression))

    def modulo(self, dividend: Typed, divisor: Typed) -> Typed:
        """The remainder, with the sign of the dividend."""
        left, right = as_number(dividend), as_number(divisor)
        kind, scale = merge(*(Typed("", Kind.INT) if side.kind is Kind.UNSIGNED else side for side in (left, right)))
        sql = f"my_mod({left.sql}, {right.sql})"
        if kind is Kind.DECIMAL:
            sql = f"ROUND({sql}, {max(left.precise, right.precise)})"
        return Typed(sql, kind if kind is not Kind.NULL else Kind.REAL, scale)

    def _bits(self, node: exp.Expr) -> Typed:
        left, right = as_int(self.expression(node.this)), as_int(self.expression(node.expression))
        return Typed(f"({left} {_BITS[type(node)]} {right})", Kind.INT)

    def _bit_xor(self, node: exp.Expr) -> Typed:
        left, right = as_int(self.expression(node.this)), as_int(self.expression(node.expression))
        return Typed(f"(({left} | {right}) - ({left} & {right}))", Kind.INT)

    def shifted(self, value: Typed, interval: exp.Expr, sign: int) -> Typed:
        """A date moved by an interval."""
        unit = interval.text("unit").upper()
        if unit not in _UNITS:
            raise not_supported(f"INTERVAL {unit}")
        amount = as_number(self.expression(interval.this)).sql
        kind = value.kind if value.is_temporal else Kind.TEXT
        if kind is Kind.DATE and unit in ("SECOND", "MINUTE", "HOUR"):
            kind = Kind.DATETIME
        moved = f"{amount}" if sign > 0 else f"-({amount})"
        return Typed(f"my_date_shift({value.sql}, {moved}, '{unit}', {int(kind is Kind.TEXT)})", kind)

    # Choice and conversion --------------------------------------------------------------------------------------------

    def _case(self, node: exp.Expr) -> Typed:
        subject = self.expression(node.this) if node.this is not None else None
        conditions: list[str] = []
        results: list[Typed] = []
        for branch in node.args["ifs"]:
            when = self.expression(branch.this)
            conditions.append(as_bool(when) if subject is None else self.compare(subject, "=", when))
            results.append(self.expression(branch.args["true"]))
        default = node.args.get("default")
        results.append(self.expression(default) if default is not None else NULL)
        return self.choose(conditions, results)

    def _if(self, node: exp.Expr) -> Typed:
        if node.args.get("true") is None or node.args.get("false") is None:
            raise self.cannot_read(node)
        results = [self.expression(node.args["true"]), self.expression(node.args["false"])]
        return self.choose([self.condition(node.this)], results)

    def choose(self, conditions: list[str], results: list[Typed]) -> Typed:
        """The first result whose condition holds; the last result otherwise."""
        kind, scale = merge(*results)
        branches = " ".join(
            f"WHEN {condition} THEN {convert(result, kind)}"
            for condition, result in zip(conditions, results, strict=False)
        )
        return Typed(f"CASE {branches} ELSE {convert(results[-1], kind)} END", kind, scale)

    def _cast(self, node: exp.Expr) -> Typed:
        value, target = self.expression(node.this), node.args["to"]
        parameters = [int(parameter.name) for parameter in target.expressions if parameter.name.isdigit()]
        name = target.this.name if target.this is not None else ""
        match name:
            case "CHAR" | "NCHAR" | "CHARACTER_SET" | "VARCHAR" | "TEXT":
                if name in ("VARCHAR", "TEXT") and self.flavour == "mysql":
                    raise self.cannot_read(node)
                text = as_text(value)
                return Typed(f"my_left({text}, {parameters[0]})" if parameters else text, Kind.TEXT)
            case "BINARY" | "VARBINARY":
                return Typed(f"{as_text(value)} COLLATE BINARY", Kind.TEXT, collated=True)
            case "BIGINT" | "INT":
                if name == "INT" and self.flavour == "mysql":
                    raise self.cannot_read(node)
                return Typed(as_int(value), Kind.INT)
            case "UBIGINT" | "UINT":
                number = as_int(value)
                return Typed(f"MAX({number}, 0)" if value.kind is Kind.DECIMAL else number, Kind.UNSIGNED)
            case "DECIMAL":
                scale = parameters[1] if len(parameters) > 1 else 0
                digits = parameters[0] if parameters else 10
                if scale > digits:
                    raise MySQLError(1427, "For float(M,D), double(M,D) or decimal(M,D), M must be >= D (column '').")
                limit = float(10 ** (digits - scale)) - 10.0**-scale
                number = f"my_to_decimal({as_real(value) if value.is_temporal else value.sql}, {scale})"
                if digits <= 15:
                    number = f"MAX(MIN({number}, {limit!r}), -{limit!r})"
                return Typed(number, Kind.DECIMAL, scale)
            case "DOUBLE" | "FLOAT":
                return Typed(f"CAST({as_real(value)} AS REAL)", Kind.REAL)
            case "DATE":
                return Typed(f"my_date({value.sql})", Kind.DATE)
            case "DATETIME" | "TIMESTAMP":
                return Typed(f"my_datetime({value.sql})", Kind.DATETIME)
            case "TIME":
                return Typed(f"my_time({as_text(value)})", Kind.TIME)
        raise self.cannot_read(node)

    def _collate(self, node: exp.Expr) -> Typed:
        value = self.expression(node.this)
        binary = node.expression.name.lower().endswith("bin")
        return Typed(f"{as_text(value)} COLLATE {'BINARY' if binary else 'mysql'}", Kind.TEXT, collated=True)

    def _adjacent_strings(self, node: exp.Expr) -> Typed:
        text = "".join(item.name for item in node.expressions)
        return Typed(quote_text(text), Kind.TEXT, literal=text)

    def _subquery(self, node: exp.Expr) -> Typed:
        """A query as a value: one column, one row at most."""
        found = self.query(_unwrap(node))
        if len(found.columns) != 1:
            raise MySQLError(1241, "Operand should contain 1 column(s)")
        column = found.columns[0]
        sql = f"({found.sql})" if found.single else f"(SELECT my_one(c1) FROM ({found.sql}))"
        return Typed(sql, column.kind, column.scale)

    def _unknown_variable(self, node: exp.Expr) -> Typed:
        raise not_supported("user and system variables")

    def _tuple(self, node: exp.Expr) -> Typed:
        raise MySQLError(1241, "Operand should contain 1 column(s)")

    # Calls ------------------------------------------------------------------------------------------------------------

    def _anonymous(self, node: exp.Expr) -> Typed:
        return self.call(node, str(node.this).upper(), node.expressions)

    def _special(self, node: exp.Expr) -> Typed:
        name = {
            exp.Trim: "TRIM",
            exp.Substring: "SUBSTRING",
            exp.StrPosition: "POSITION",
            exp.GroupConcat: "GROUP_CONCAT",
        }
        return self.call(node, name[type(node)], [])

    def _clock(self, node: exp.Expr) -> Typed:
        name = {exp.CurrentDate: "CURDATE", exp.CurrentTime: "CURTIME", exp.CurrentUser: "CURRENT_USER"}
        return self.call(node, name.get(type(node), "NOW"), [])

    def _extract(self, node: exp.Expr) -> Typed:
        return self.call(node, node.this.name.upper(), [node.expression])

    def _window(self, node: exp.Expr) -> Typed:
        return self.call(node, "OVER", [])

    _handlers: ClassVar[dict[type[exp.Expr], Callable[[ExpressionCompiler, exp.Expr], Typed]]] = {
        exp.Literal: _literal, exp.Column: _column, exp.Null: _null, exp.Boolean: _boolean, exp.HexString: _hexadecimal,
        exp.National: _national, exp.BitString: _bit_string, exp.Paren: _paren, exp.And: _and, exp.Or: _or, exp.Xor: _xor, exp.Not: _not, exp.Is: _is,
        **dict.fromkeys(_COMPARISONS, _comparison), exp.In: _in, exp.Exists: _exists, exp.Between: _between,
        exp.Like: _like, exp.Escape: _escape, exp.RegexpLike: _regexp, exp.Neg: _negative, exp.Add: _add,
        exp.Sub: _subtract, exp.Mul: _multiply, exp.Div: _divide, exp.IntDiv: _whole_divide, exp.Mod: _modulo,
        **dict.fromkeys(_BITS, _bits), exp.BitwiseXor: _bit_xor, exp.Case: _case, exp.If: _if, exp.Cast: _cast,
        exp.Collate: _collate, exp.Concat: _adjacent_strings, exp.Subquery: _subquery, exp.Parameter: _unknown_variable,
        exp.SessionParameter: _unknown_variable, exp.Tuple: _tuple, exp.Anonymous: _anonymous, exp.Trim: _special,
        exp.Substring: _special, exp.StrPosition: _special, exp.GroupConcat: _special, exp.Extract: _extract,
        exp.CurrentDate: _clock, exp.CurrentTime: _clock, exp.CurrentUser: _clock, exp.CurrentTimestamp: _clock,
        exp.CurrentDatetime: _clock, exp.Localtime: _clock, exp.Localtimestamp: _clock, exp.Window: _window,
    }  # fmt: skip


def _bare(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _unwrap(node: exp.Expr) -> exp.Expr:
    """The query inside of parentheses."""
    while isinstance(node, (exp.Paren, exp.Subquery)) and not node.args.get("limit") and not node.args.get("order"):
        node = node.this
    return node
