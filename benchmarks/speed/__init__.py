"""Speed against limits and peers: each module has ``rows()``; ``python -m benchmarks.speed`` runs them all."""
