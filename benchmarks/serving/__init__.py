"""What a request costs, against a bare FastAPI echo and a service of the parent's design."""
