"""What the layers are measured against, each freshly written from the papers' formulas."""
