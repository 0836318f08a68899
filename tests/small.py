"""Arguments that make a run small: a few images of 16 pixels, two batches, a narrow network."""

SMALL = (
    "backbone.width=8",
    "data.image_size=16",
    "data.batch_size=16",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=2",
    "trainer.limit_test_batches=2",
    "callbacks.progress_bar=false",
    "trainer.accelerator=cpu",
    "report.formats=[]",  # a third of a second
)
