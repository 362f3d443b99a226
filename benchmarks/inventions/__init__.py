"""What each invention bought: samplers on one trained network, evaluations against the distance of the judge."""
