"""Trainings followed along n and time: how they are measured, their records, their laws and figures."""
