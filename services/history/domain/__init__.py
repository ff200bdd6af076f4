"""Pure rules: facts in, one verdict out."""
