"""Pictures, as pure functions of numbers."""
