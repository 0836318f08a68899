"""A file for each dataset made of files: its folders and lists, its official counts, where to get it."""
