"""Servers that hookbot is compared with: minimal hubs, written with other libraries.

None of them checks tokens, stores messages or detects dead connections.
"""
