"""What each invention bought: samplers of ten years on one trained network, evaluations against the judge's distance."""
