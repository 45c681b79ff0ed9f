"""An embedding compared with baselines on the same cells and split."""
