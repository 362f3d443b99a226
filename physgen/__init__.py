"""physgen: score-based diffusion models for physical configurations, judged with error bars."""

__version__ = "0.1.0"
