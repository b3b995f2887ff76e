"""Who may publish, subscribe and operate: tokens, sources, limits."""
