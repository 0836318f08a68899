"""The kernel L(lam_i, lam_j) of each method: what stands in for the divided differences of f in the backward.

With dL/dP = U (L o (U^T sym(G) U)) U^T (Daleckii-Krein theorem), methods differ in L alone.
"""
