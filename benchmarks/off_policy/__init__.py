"""How far off-policy estimates are from what a policy earns when it is played."""
