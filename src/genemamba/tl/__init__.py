"""Tools: what the model says about cells."""

from genemamba.tl._annotate import annotate
from genemamba.tl._attribute import attribute
from genemamba.tl._embed import embed
from genemamba.tl._integrate import integrate
from genemamba.tl._perturb import perturb

__all__ = ["annotate", "attribute", "embed", "integrate", "perturb"]
