"""What hookbot is compared with: the same hub, as short as it can be written with something else.

None of these checks a token, keeps a message or notices a dead peer.
"""
