"""What surrounds the physics: processes, checkpoints, signals, the journal and its way into MLflow."""
