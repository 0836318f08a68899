"""The analysis of arXiv 2105.02498, part by part: each a table or two, a plot and a paragraph."""
