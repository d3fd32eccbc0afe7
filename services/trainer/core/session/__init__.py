"""The recipe `session`: embeddings, listeners and interests by belief propagation."""
