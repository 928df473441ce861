"""The one table of site kinds, and how a site is opened."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from cmat_gym.core.dice import Dice
from cmat_gym.core.errors import UnknownNameError
from cmat_gym.envs.mind2web.sites.admin import Admin
from cmat_gym.envs.mind2web.sites.bank import Bank
from cmat_gym.envs.mind2web.sites.base import Site
from cmat_gym.envs.mind2web.sites.flights import Flights
from cmat_gym.envs.mind2web.sites.forum import Forum
from cmat_gym.envs.mind2web.sites.hotels import Hotels
from cmat_gym.envs.mind2web.sites.jobs import Jobs
from cmat_gym.envs.mind2web.sites.library import Library
from cmat_gym.envs.mind2web.sites.mail import Mail
from cmat_gym.envs.mind2web.sites.maps import Maps
from cmat_gym.envs.mind2web.sites.planner import Planner
from cmat_gym.envs.mind2web.sites.restaurants import Restaurants
from cmat_gym.envs.mind2web.sites.shop import Shop
from cmat_gym.envs.mind2web.sites.tracker import Tracker

__all__ = ["SITES", "open_site"]

KINDS: tuple[type[Site], ...] = (
    Shop,
    Flights,
    Hotels,
    Library,
    Restaurants,
    Jobs,
    Tracker,
    Forum,
    Maps,
    Bank,
    Mail,
    Planner,
    Admin,
)
SITES: Mapping[str, type[Site]] = {site.kind: site for site in KINDS}


@lru_cache(maxsize=256)
def open_site(kind: str, seed: int) -> Site:
    """The site of a kind and a seed; equal arguments give equal sites on every machine.

    Raises:
        UnknownNameError: There is no such kind.
    """
    if kind not in SITES:
        raise UnknownNameError("kind of site", kind, SITES)
    return SITES[kind](Dice(*kind.encode(), seed))
