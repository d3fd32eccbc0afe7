"""Claim: the statistics of experiments err as often as they say, on simulated listeners."""
