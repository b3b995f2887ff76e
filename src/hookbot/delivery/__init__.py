"""Delivery: what is done with a message that was heard. Runs in commands; nothing here knows the command line.

A `Worker` (worker) takes messages from `hookbot.client.listen`, or from a `Replay` (replayer), under a `Policy`: in
order per topic, several at once, again after a growing delay. For each attempt it calls a `Work`: a `Forwarder` posts
the message to a target, a `CommandRunner` (command) runs a command and passes on its `Output`, a `Republisher`
(replayer) publishes it again. What failed too often goes to `DeadLetters`. Only then is a message acknowledged.
A `Stop` (shutdown) tells the worker to leave.
"""
