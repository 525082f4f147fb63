"""What is looked after: verify, prune, rescore, doctor."""
