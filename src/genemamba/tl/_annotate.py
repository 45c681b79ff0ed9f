"""Cells to cell types."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData

from genemamba import models
from genemamba._docs import documented
from genemamba._keys import ANNOTATION, OBSM_EMBEDDING, UNS_ANNOTATE, annotation_keys
from genemamba._progress import tell
from genemamba._rng import Rng, recorded_seed
from genemamba.cells.labels import Labelled, read_labelled, require_no_unknown
from genemamba.cells.open import cells_of, is_path
from genemamba.cells.read import Reading
from genemamba.cells.record import check_key, check_slots, entry_of, record
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.tl._annotate_arguments import check_arguments, read_groupby
from genemamba.tl._annotation import Annotation, by_reference, write
from genemamba.tl._annotation_summary import summary
from genemamba.tl._annotation_terms import by_terms
from genemamba.tl._classifier import (
    Classifier,
    Method,
    fit_classifier,
    read_classifier,
    read_terms_of,
)
from genemamba.tl._embedding import Embedding, Running
from genemamba.tl._reference import read_reference, refuse_other_model, warn_of_lost
from genemamba.tl._same_labels import warn_of_same
from genemamba.tl._terms import Level, recorded_level

if TYPE_CHECKING:
    from mudata import MuData

    from genemamba.models._load import ModelLike
    from genemamba.network import GeneMamba
    from genemamba.network.runtime import Backend, BatchSize, Device, Precision
    from genemamba.tokens.organisms import Organism


@documented
def annotate(
    adata: AnnData | MuData,
    *,
    reference: AnnData | MuData | str | PathLike[str] | None = None,
    label_key: str | None = None,
    method: Method = "auto",
    batch_key: str | None = None,
    level: Level = "auto",
    tissue: str | None = None,
    groupby: str | None = None,
    unknown: bool = True,
    coverage: float | None = None,
    model: ModelLike = "genemamba-mini",
    mod: str | None = None,
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    organism: Organism = "auto",
    max_tokens: int = 2048,
    reference_layer: str | None = None,
    recipe: Mapping[str, Any] | None = None,
    folder: str | PathLike[str] | None = None,
    batch_size: BatchSize = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    key_added: str = ANNOTATION,
    rng: Rng = 0,
    copy: bool = False,
) -> AnnData | MuData | None:
    """Label cell types, with calibrated confidence and an "unknown" for unfamiliar cells.

    Labels come from a labelled `reference`; or from some cells of `adata` that are already
    labelled (`label_key` missing, NaN or "" for the others); or, with neither, from the classifier
    that comes with the checkpoint.

    The classifier of ``genemamba-mini`` covers the human body: it was trained on 203 cell types and
    names cells in 363 terms of the Cell Ontology [1]_. Each cell gets the most specific term whose
    confidence is at least .8. If no specific term is that sure, a more general one is given: "T
    cell" instead of "naive T cell". Confidence is calibrated on 42 tables and corpora, each held
    out as a whole. Fine subtypes of blood and stromal cells are often named by their lineage only.

    If one of `adata` and `reference` measures a panel, so that more than a tenth of the counts of
    the other are on genes it lacks, the other is read on the shared genes only: a panel lies
    elsewhere in the embedding than a whole transcriptome. A short summary is printed to standard
    error; ``TQDM_DISABLE=1`` turns it off.

    Parameters
    ----------
    adata
        Cells × genes, as for :func:`genemamba.tl.embed`.
    reference
        AnnData or MuData with labels, or the folder of an earlier annotation.
    label_key
        Column of ``obs`` with the labels: of `reference` if there is one, otherwise of `adata`.
    method
        ``"auto"``: the best of five on held-out cells, by macro-F1: logistic regression on the
        embedding, on log-expression of the genes that both measure, or on both joined; linear
        discriminants of both joined, with a shrunken covariance [6]_; or ``"knn"``. ``"probe"``:
        regression on the embedding. ``"knn"``: the vote of the 30 nearest reference cells.
        ``"finetune"``: the model itself is trained with a [CLS] token and a classifier on it, as in
        the paper [2]_; takes longer, and a GPU helps.
    batch_key
        Column of ``obs`` with donors or batches of the labelled cells. The method is then chosen,
        and confidence, sets and "unknown" are calibrated, on whole held-out donors, so that they
        hold for new donors. Of few batches that differ much, hardly any cell is unknown.
    level
        Without labels, how specific terms are. ``"auto"``: the most specific one with a confidence
        of at least .8. ``"fine"``: the most probable of the finest types, however sure.
        ``"broad"``: lineages and main types, such as "T cell", "monocyte", "epithelial cell" and
        "neuron". A number: terms down to this depth of the ontology, from 1 (lineages) to 10. A
        list of names or ids: only these terms.
    tissue
        Without labels, the tissue of the cells, such as "liver" or "bone marrow". Only cell types
        known in it, in blood, or in at least three tissues are then considered. The error for
        another name lists all tissues.
    groupby
        Column of ``obs`` with groups of cells, such as clusters. Each group also gets a label of
        its own, from the mean probabilities of its cells; labels that were given are certain.
    unknown
        Label unfamiliar cells "unknown". With labels, these are the cells whose novelty is above
        .95. Without labels, they are the cells that are too far from those the classifier knows,
        and the cells for which no term is sure enough; the latter alone if more than a tenth of
        what its training cells express is not measured (``"panel"`` in the record), which puts all
        cells far away, and makes confidence too high. If False, these cells get their most
        probable label.
    coverage
        With labels, also write prediction sets that contain the true class with this probability
        [3]_, for cells drawn as the labelled ones were. In simulated references of 150 and 600
        cells, sets of .90 contain it in .90 ± .01 of cells, fine-tuned ± .03; in more where the
        most probable class, which is always in the set, is right more often.
    {model}
    {reading}
    reference_layer
        Layer to read of `reference`, if it is another one; ``"X"`` reads its ``X``. A column
        `gene_ids` is read of `reference`, too, if it has one.
    recipe
        Settings of fine-tuning, fields of :class:`genemamba.train.finetune.FineTuneRecipe`:
        ``{"tune": "lora"}`` trains low-rank adapters, ``{"tune": "head"}`` the classifier alone.
    folder
        Save the fitted classifier there, to be used as `reference`. Interrupted fine-tuning
        resumes from there when the same call is made again.
    {running}
    key_added
        Prefix of the slots.
    rng
        Seed, or generator, of folds and training.
    {copy}

    Returns
    -------
    ``None``, or the modified copy. Writes (with `key_added` in place of the leading "genemamba")

    ``adata.obs["genemamba_label"]``
        Categorical. Its categories are the labels that occur. Labels that were given stay as they
        are.
    ``adata.obs["genemamba_cl"]``
        Without labels: categorical, the Cell Ontology id of the label; NaN for unknown cells.
    ``adata.obs["genemamba_confidence"]``
        float32, calibrated probability that the label is right; for unknown cells, that of the
        label that was rejected, or of the most probable one. With labels, calibrated by temperature
        scaling on held-out cells [4]_. NaN where the label was given, or where the cell has no
        embedding.
    ``adata.obs["genemamba_distance"]``
        float32, mean Euclidean distance to the ten nearest reference cells, or cells that the
        classifier of the checkpoint knows; NaN as above.
    ``adata.obs["genemamba_novelty"]``
        With labels: float32, the fraction of held-out reference cells that are less unlike the
        reference, mostly among those of the same predicted class. It combines, by Fisher's method
        [5]_, the distance above; the Hellinger distance between the term probabilities that the
        classifier of the checkpoint gives to cells (if it has one); and doubt, one minus the
        highest probability. NaN as above.
    ``adata.obs["genemamba_group_label"]``
        With `groupby`: categorical, the label of the cell's group.
    ``adata.obsm["genemamba_proba"]``
        float32, ``n_obs × n_classes``, in the order of
        ``adata.uns["genemamba"]["annotate"]["classes"]``; NaN as above. Without labels, the
        classes are the terms that label a cell. A term includes more specific ones, so rows do not
        sum to 1.
    ``adata.obsm["genemamba_sets"]``
        With `coverage`: bool, the prediction sets, in the same order.
    ``adata.obsm["X_genemamba"]``
        The embedding and its record, if the slot was empty. An existing one is kept; it is used if
        it was computed by this model from this layer, these genes and as many tokens per cell,
        otherwise cells are embedded again.
    ``adata.uns["genemamba_label_colors"]``, ``adata.uns["genemamba_group_label_colors"]``
        Colours of the categories, for scanpy's plots; "unknown" is grey.
    ``adata.uns["genemamba"]["annotate"]``
        Model, method, classes, number of unknown cells, ``"farthest"`` (a limit of the distance;
        without labels, that of "unknown"). ``"counts_lost"``: the shares of the counts of `adata`
        on genes unknown to the model and on genes not measured in the reference. ``"groups"``, with
        `groupby`: name, label and confidence of each group, its number of cells, and the fraction
        of them whose label is that of the group or more specific. Without labels and `tissue`,
        ``"tissue_guess"``: the three tissues whose cell types explain most of the cells, and their
        shares. With labels: what the classifier reads ("embedding", "expression", "joined"),
        temperature; accuracy and macro-F1 on labelled cells that did not train or choose the
        classifier; ``"candidates"``, the macro-F1 of each candidate of ``"auto"`` in the mean over
        folds; ``"perhaps_absent"``, classes that no cell is labelled as, or of which less than one
        cell is expected; ``"reference_genes"``, the number of genes, and their share of the counts,
        if the reference was read on some of its genes.

    Raises
    ------
    InputError
        If labels are missing, numbers or of one class only; reference and `adata` share no gene
        or were embedded by different models; a slot is taken. Nothing has been written then.
    CheckpointError
        If the model or the folder is damaged, or the checkpoint has no classifier.

    References
    ----------
    .. [1] Diehl et al., *The Cell Ontology 2016: enhanced content, modularization, and ontology
       interoperability*, J Biomed Semantics 2016.
    .. [2] Qi et al., *GeneMamba: Efficient and Effective Foundation Model on Single Cell Data*.
    .. [3] Sadinle, Lei and Wasserman, *Least Ambiguous Set-Valued Classifiers with Bounded Error
       Levels*, JASA 2019.
    .. [4] Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017.
    .. [5] Fisher, *Statistical Methods for Research Workers*, 1925.
    .. [6] Friedman, *Regularized Discriminant Analysis*, JASA 1989.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()  # 700 blood cells, 765 genes, clusters in "louvain"
    >>> gm.tl.annotate(adata, layer="raw", tissue="blood", groupby="louvain")
    >>> clusters = adata.obs.groupby("louvain", observed=True)["genemamba_group_label"].first()
    >>> clusters["8"]
    'plasma cell'
    >>> gm.tl.annotate(adata, layer="raw", level="broad")  # reads the same embedding
    >>> "T cell" in set(adata.obs["genemamba_label"])
    True
    """
    seed = recorded_seed(rng)
    check_key(key_added, ANNOTATION)
    keys = annotation_keys(key_added)
    check_arguments(
        reference, reference_layer, label_key, method, coverage, recipe, folder, batch_key,
        level, tissue,
    )  # fmt: skip
    reading, running = (
        Reading(layer, gene_ids, organism, max_tokens),
        Running(device, precision, backend, batch_size),
    )
    with cells_of(adata, mod, copy, doing="annotate", to=f"obs[{keys.label!r}]") as (own, result):
        check_slots(own, keys.record, UNS_ANNOTATE, obs=keys.obs, obsm=keys.obsm)
        groups = None if groupby is None else read_groupby(own, groupby, keys)
        loaded = models.load(model)
        refuse_other_model(own, loaded, "adata")
        cells = Embedding(own, loaded, reading, running)
        if bundled := reference is None and label_key is None:
            terms = read_terms_of(loaded)
            found, about = by_terms(terms, cells, level, tissue, unknown=unknown)
        else:
            source = _Source(reference, mod, label_key, batch_key, reference_layer, unknown)
            fitted, given = source.fitted(cells, method, recipe, folder, rng)
            found, about = by_reference(fitted, cells, given, coverage)
        if not cells.reused and OBSM_EMBEDDING not in own.obsm:
            cells.write(own, OBSM_EMBEDDING)
        entry = write(own, keys, found, unknown=unknown, groups=groups)
        params: dict[str, Any] = {
            "label_key": label_key or "",
            "batch_key": batch_key or "",
            "level": recorded_level(level),
            "tissue": tissue or "",
            "groupby": groupby or "",
            "unknown": unknown,
            "coverage": coverage or 0.0,
            "rng": seed,
        }
        about = {
            **entry_of(loaded, reading, cells.runtime, **params),
            "reference": _name(reference, label_key, loaded),
            "embedding_reused": cells.reused,
            **about,
            **entry,
        }
        record(own, keys.record, about)
    tell(summary(about))
    _warn_of_unknown(entry, found, bundled=bundled)
    return result


@dataclass(frozen=True)
class _Source:
    """Where labels come from."""

    reference: Any
    mod: str | None
    label_key: str | None
    batch_key: str | None
    layer: str | None
    unknown: bool

    def fitted(
        self, cells: Embedding, method: Method, recipe: Any, folder: Any, rng: Rng
    ) -> tuple[Classifier, np.ndarray]:
        """Return the classifier, and the label that each cell already has, or ""."""
        given = np.full(cells.adata.n_obs, "", dtype=object)
        if self.label_key is None:
            found = read_classifier(self.reference, cells.loaded)
            if self.unknown:
                require_no_unknown(found.head.classes)
            return found, given
        if self.reference is not None:
            theirs = read_reference(self.reference, self.mod, cells, self.layer)
            labelled = self._labelled(theirs, "reference")
            theirs = theirs.on_shared(cells.genes.tokens)
            labelled = labelled.embedded(theirs.vectors)
            found = fit_classifier(theirs, labelled, method, recipe, folder, rng, cells)
            warn_of_lost(theirs)
            return found, given
        labelled = self._labelled(cells, "adata").embedded(cells.vectors)
        if (labelled.given != "").all():
            raise InputError(
                f"every cell has a label in adata.obs[{self.label_key!r}]: none is left to "
                "annotate",
                "set labels to NaN, or give the labelled cells as reference",
            )
        found = fit_classifier(cells, labelled, method, recipe, folder, rng)
        return found, labelled.given

    def _labelled(self, cells: Embedding, of: str) -> Labelled:
        key = str(self.label_key)
        found = read_labelled(cells.adata, key, self.batch_key, unknown=self.unknown, of=of)
        warn_of_same(found, key)
        return found


def _warn_of_unknown(entry: Mapping[str, int], found: Annotation, *, bundled: bool) -> None:
    half = 0.5 * entry["annotated"]
    if entry["unknown"] <= half:
        return
    if np.count_nonzero(found.asked & found.unlike) <= half:
        warnings.warn(
            f"{entry['unknown']:,} of {entry['annotated']:,} cells are unknown, most of them "
            "because none of the cell types that they may be called is probable enough; allow "
            "others with level and tissue, or use unknown=False to label them anyway",
            GeneMambaWarning,
            stacklevel=3,
        )
        return
    them = "the training cells of the checkpoint's classifier" if bundled else "the reference"
    remedy = "give a reference of the same genes, or " if bundled else ""
    warnings.warn(
        f"{entry['unknown']:,} of {entry['annotated']:,} cells are unlike {them}: of another "
        f"tissue, or measured on other genes; {remedy}use unknown=False to label them anyway",
        GeneMambaWarning,
        stacklevel=3,
    )


def _name(reference: Any, label_key: str | None, loaded: GeneMamba) -> str:
    """Describe where the labels come from."""
    if reference is not None and not is_path(reference):
        return f"AnnData with {reference.n_obs} cells"
    if reference is not None:
        return os.fspath(reference)
    return "adata" if label_key else str(loaded.provenance.get("name", "the checkpoint"))
