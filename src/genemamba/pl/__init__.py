"""Plots. They write nothing, show nothing by themselves, and return matplotlib Axes.

Where a plot has several panels, it returns a dictionary of Axes, by name.
"""

from genemamba.pl._attribution import attribution
from genemamba.pl._compare import compare
from genemamba.pl._confusion import confusion
from genemamba.pl._embedding_quality import embedding_quality
from genemamba.pl._gene_coverage import gene_coverage
from genemamba.pl._gene_network import gene_network
from genemamba.pl._gene_pairs import gene_pairs
from genemamba.pl._map import map
from genemamba.pl._perturb import perturb
from genemamba.pl._reconstruction import reconstruction
from genemamba.pl._reliability import reliability
from genemamba.pl._search import search

__all__ = [
    "attribution",
    "compare",
    "confusion",
    "embedding_quality",
    "gene_coverage",
    "gene_network",
    "gene_pairs",
    "map",
    "perturb",
    "reconstruction",
    "reliability",
    "search",
]
