"""Tools: apply the model to cells and genes."""

from genemamba.tl._adapt import adapt
from genemamba.tl._annotate import annotate
from genemamba.tl._attribute import attribute
from genemamba.tl._build_map import build_map
from genemamba.tl._embed import embed
from genemamba.tl._enrich import enrich
from genemamba.tl._gene_embedding import gene_embedding
from genemamba.tl._gene_modules import gene_modules
from genemamba.tl._gene_network import gene_network
from genemamba.tl._gene_similarity import gene_similarity
from genemamba.tl._integrate import integrate
from genemamba.tl._map import map
from genemamba.tl._nearest_genes import nearest_genes
from genemamba.tl._perturb import perturb
from genemamba.tl._pretrain import pretrain
from genemamba.tl._reconstruct import reconstruct
from genemamba.tl._search import search

__all__ = [
    "adapt",
    "annotate",
    "attribute",
    "build_map",
    "embed",
    "enrich",
    "gene_embedding",
    "gene_modules",
    "gene_network",
    "gene_similarity",
    "integrate",
    "map",
    "nearest_genes",
    "perturb",
    "pretrain",
    "reconstruct",
    "search",
]
