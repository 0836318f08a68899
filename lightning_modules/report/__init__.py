"""From a collection of run directories to a table, its statistics and a picture. Free of torch."""
