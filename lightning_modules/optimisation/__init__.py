"""Parameter groups, optimizers and learning-rate schedules; loss, mixing of images and averaged weights."""
