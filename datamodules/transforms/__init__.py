"""What happens to images between the file and the network; `names` lists the transforms without importing torch."""
