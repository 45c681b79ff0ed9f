"""What groups of genes have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike

import numpy as np
import pandas as pd

from genemamba._settings import check_whole
from genemamba.errors import InputError
from genemamba.genes.enrichment import common_names, hypergeometric, membership, read_gmt

_FIX = "give a series of module names indexed by gene, as from gm.tl.gene_modules"


def enrich(
    modules: pd.Series,
    gene_sets: str | PathLike[str] | Mapping[str, Sequence[str]],
    *,
    min_size: int = 5,
) -> pd.DataFrame:
    """Find the gene sets that each module of genes is rich in.

    Hypergeometric test. The background are the genes of `modules`, all that could have come into a
    module, and not all genes there are, against which any list of expressed genes looks enriched.

    Parameters
    ----------
    modules
        Module of each gene, indexed by gene, as from :func:`genemamba.tl.gene_modules`. Genes of
        the background that are in no module have NaN.
    gene_sets
        GMT file, plain or gzipped, or lists of genes by name. Genes named as in `modules`.
    min_size
        Sets with fewer genes in the background are not tested.

    Returns
    -------
    Table, best first; nothing is written. A row per module and gene set with a gene in common:
    ``module``, ``gene_set``, ``overlap``, ``module_size``, ``set_size`` (in the background),
    ``expected`` (overlap by chance), ``p_value`` (one-sided), ``fdr`` (Benjamini and Hochberg,
    over all modules and sets, those without a common gene, too) and ``genes`` (the common ones,
    joined by ";").

    Raises
    ------
    InputError
        If `modules` is no such series, the file cannot be read, or no set has `min_size` genes.

    Examples
    --------
    >>> import pandas as pd, genemamba as gm
    >>> modules = pd.Series(["T"] * 3 + [None] * 7, index=["CD3D", "CD3E", "CD3G", *"ABCDEFG"])
    >>> sets = {"T cell receptor": ["CD3D", "CD3E", "CD3G", "CD247"]}
    >>> found = gm.tl.enrich(modules, sets, min_size=3)
    >>> int(found.loc[0, "overlap"]), round(float(found.loc[0, "p_value"]), 4)
    (3, 0.0083)
    """
    check_whole("min_size", min_size)
    genes, module = _read_modules(modules)
    sets = dict(gene_sets) if isinstance(gene_sets, Mapping) else read_gmt(gene_sets)
    of_set = membership(sets, genes.tolist())
    set_size = of_set.sum(axis=1)
    kept = np.flatnonzero(set_size >= min_size)
    if not len(kept):
        raise InputError(
            f"none of {len(sets)} gene sets has {min_size} genes among the {len(genes):,} of "
            "modules",
            "name genes alike in both (symbols or Ensembl ids), or lower min_size",
        )
    of_set, set_size, set_names = of_set[kept], set_size[kept], pd.Index(list(sets))[kept]
    codes, module_names = pd.factorize(module, sort=True)
    of_module = codes == np.arange(len(module_names))[:, None]
    module_size = of_module.sum(axis=1)
    overlap = (of_set @ of_module.T.astype(np.int64)).T
    p, fdr = hypergeometric(overlap, module_size, set_size, len(genes))
    m, s = np.nonzero(overlap)
    return pd.DataFrame(
        {
            "module": module_names[m],
            "gene_set": set_names[s],
            "overlap": overlap[m, s],
            "module_size": module_size[m],
            "set_size": set_size[s],
            "expected": module_size[m] * set_size[s] / len(genes),
            "p_value": p[m, s],
            "fdr": fdr[m, s],
            "genes": common_names(of_set[s], of_module[m], genes),
        }
    ).sort_values(["p_value", "module", "gene_set"], ignore_index=True)


def _read_modules(modules: pd.Series) -> tuple[pd.Index, pd.Series]:
    """Return all genes, and the name of each one's module as str, NaN where it is in none."""
    if not isinstance(modules, pd.Series):
        raise InputError(f"modules is a {type(modules).__name__}, not a series", _FIX)
    genes = modules.index.astype(str)
    if genes.has_duplicates:
        repeated = genes[genes.duplicated()][0]
        raise InputError(f"modules names genes more than once, such as {repeated!r}", _FIX)
    if modules.isna().all():
        raise InputError("modules has no gene in a module", _FIX)
    return genes, modules.astype(object).map(str, na_action="ignore")
