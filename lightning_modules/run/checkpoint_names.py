"""Names of a run's checkpoints, and the keys of what is in them beside Lightning's own. Free of torch."""

from __future__ import annotations

FOLDER = "checkpoints"
BEST = "best.ckpt"
LAST = "last.ckpt"
PREVIOUS = "last.previous.ckpt"
FIRST = "stage1"  # directory of the first of two stages within the run's

# Keys of a checkpoint. The callback `ConfigInCheckpoint` writes the first three, `Resume` the fourth.
CONFIG_KEY = "config"  # the resolved configuration of the run, or of its stage
STAGES = "stages"  # of a run of two stages: its whole configuration, and which stage wrote this
PREPROCESSING_KEY = "preprocessing"  # `Preprocessing.plain` of the dataset
RESUME = "resume"  # what Lightning's own state lacks
HYPERPARAMETERS_KEY = "hyper_parameters"  # Lightning's, `LightningModule.CHECKPOINT_HYPER_PARAMS_KEY`
FOLDER_KEY = "network_folder"  # it is no checkpoint of a run but made from a network's folder
