"""A file of facts for each dataset made of files."""
