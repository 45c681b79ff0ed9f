"""Statistics of gene vectors on plain arrays: pairs, networks, gene sets. No torch, no AnnData."""
