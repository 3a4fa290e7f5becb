"""Training one fold: `loop.fold_training.train(session.setup.TrainingSetup) -> TrainingResult`."""
