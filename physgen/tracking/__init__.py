"""Tracking: the journal is the truth; what is shipped to MLflow is read from it."""
