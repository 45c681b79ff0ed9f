"""The array core of ``gm.tl.integrate``."""
