"""Pictures, readable in print and for the colour-blind; every figure is an object, no global state."""
