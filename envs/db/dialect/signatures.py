"""The functions of MySQL that need no code of their own: what they take and what they give."""

from __future__ import annotations

from typing import NamedTuple

from cmat_gym.envs.db.dialect.dates import NOW
from cmat_gym.envs.db.dialect.types import Kind

__all__ = ["MANY", "SIMPLE", "Simple"]


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


MANY = 1000
_T, _I, _R = Kind.TEXT, Kind.INT, Kind.REAL
_DATE_PARTS = (
    "YEAR", "MONTH", "DAY", "DAYOFMONTH", "HOUR", "MINUTE", "SECOND", "QUARTER", "DAYOFWEEK", "WEEKDAY", "DAYOFYEAR",
    "WEEK", "WEEKOFYEAR", "TO_DAYS",
)  # fmt: skip
SIMPLE: dict[str, Simple] = {
    "CONCAT": Simple("t", 1, MANY, _T, "my_concat({})"), "CONCAT_WS": Simple("t", 2, MANY, _T, "my_concat_ws({})"),
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
    "REGEXP_LIKE": Simple("t", 2, 2, _I, "my_regexp({}, 0)"),
    "REGEXP_SUBSTR": Simple("t", 2, 2, _T, "my_regexp_substr({})"),
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
        for name in _DATE_PARTS
    },
    "NOW": Simple("", 0, 1, Kind.DATETIME, f"'{NOW}'"), "SYSDATE": Simple("", 0, 1, Kind.DATETIME, f"'{NOW}'"),
    "CURDATE": Simple("", 0, 0, Kind.DATE, f"'{NOW[:10]}'"), "CURTIME": Simple("", 0, 1, Kind.TIME, f"'{NOW[11:]}'"),
    "USER": Simple("", 0, 0, _T, "'agent@localhost'"), "CURRENT_USER": Simple("", 0, 0, _T, "'agent@localhost'"),
    "SESSION_USER": Simple("", 0, 0, _T, "'agent@localhost'"), "CONNECTION_ID": Simple("", 0, 0, _I, "1"),
    "LOAD_FILE": Simple("t", 1, 1, _T, "NULL"), "SLEEP": Simple("r", 1, 1, _I, "({0} * 0)"),
}  # fmt: skip
