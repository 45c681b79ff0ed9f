"""Reference maps: that of the body, which comes with the package, and your own."""

from genemamba.maps._available import available
from genemamba.maps._fetch import fetch
from genemamba.maps._load import load
from genemamba.maps._register import register

__all__ = ["available", "fetch", "load", "register"]
