"""Faults, one after another, on a whole stack under live traffic; nothing answered may be lost."""
