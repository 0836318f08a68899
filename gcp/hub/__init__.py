"""Networks as folders of three files, on disk and on the Hugging Face Hub."""
