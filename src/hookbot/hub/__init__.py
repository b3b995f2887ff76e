"""The running whole: configuration, the one nursery, reload, shutdown."""
