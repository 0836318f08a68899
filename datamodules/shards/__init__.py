"""Shards: tar files of labelled images, and the index that says how many images each holds."""
