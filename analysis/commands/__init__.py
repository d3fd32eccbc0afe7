"""The subcommands of `python -m analysis`: each a module with add_arguments and run."""
