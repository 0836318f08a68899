"""Matrix square roots by products alone: iterations and approximants, and their gradients, without eigenvectors."""
