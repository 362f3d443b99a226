"""Processes: how a training was started (alone, torchrun, srun, mpirun), and the signals that end it."""
