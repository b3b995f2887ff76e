"""One task writes the log; subscriptions, cursors and groups follow it."""
