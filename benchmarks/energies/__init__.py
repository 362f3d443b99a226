"""Energies of trained models beside the true ones: see ``__main__``."""
