"""Support that the tests of several packages share: hubs, clients, targets, a clock, samples of deliveries."""

KEY = "the key of the tests"
SECRET = "the secret of the tests, long enough for anybody"
GUARD_S = 50
"""How long a test may wait for what happens at once; only ever reached by a test that fails."""
