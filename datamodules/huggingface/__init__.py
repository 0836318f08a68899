"""Datasets of the library ``datasets``, from a folder or from the Hugging Face Hub: found, opened, understood."""
