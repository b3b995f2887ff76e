"""Servers that hookbot is compared with: minimal hubs, written with other libraries.

None of them checks tokens, stores messages or detects dead connections; those with web frameworks verify the
signatures of GitHub's deliveries.
"""
