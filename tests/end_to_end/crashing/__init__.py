"""A hub that is killed again and again, its senders and its listeners, and what must be true in the end."""
