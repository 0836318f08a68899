"""A run from outside its training: its directory, lock and summary, the checkpoint it starts from, jobs of a sweep."""
