"""The simulator's commands: each reads its arguments, composes, runs and reports."""
