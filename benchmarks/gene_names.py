"""Which genes may a corpus hold, and under which names?

    python benchmarks/gene_names.py --hgnc hgnc_symbols.csv.gz --out names.csv

Writes the table for `genemamba build-corpus`, one line for each approved gene with an Ensembl id:
id, symbol, kind (``protein_coding``, ``non_coding`` or ``other``; pseudogenes are left out) and the
former symbols, joined by "|".
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

KINDS = {
    "protein-coding gene": "protein_coding",
    "non-coding RNA": "non_coding",
    "other": "other",
}


def main() -> None:
    """Write the table, and say how many genes it has of each kind."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--hgnc", type=Path, required=True, help="HGNC's complete set as CSV")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    table = pd.read_csv(args.hgnc, dtype=str, keep_default_na=False)
    table = table[table["ensembl_gene_id"].str.fullmatch(r"ENSG\d{11}")]
    table = table[table["locus_group"].isin(KINDS)].drop_duplicates("ensembl_gene_id", keep=False)
    kind = table["locus_group"].map(KINDS)
    columns = [table["ensembl_gene_id"], table["symbol"], kind, table["prev_symbol"]]
    pd.concat(columns, axis=1).to_csv(args.out, header=False, index=False)
    print(kind.value_counts().to_string())


if __name__ == "__main__":
    main()
