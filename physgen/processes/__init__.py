"""Processes: how a training was started (alone, torchrun, srun, mpirun), the signals that end it, its memory."""
