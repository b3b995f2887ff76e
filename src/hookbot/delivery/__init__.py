"""Delivery of received messages to a server, a command or a hub. Used by commands; independent of the command line.

A `Worker` takes messages from `hookbot.client.listen`, or from a `Replay` (`replayer`) of such or of a `Playback`
(`recording`), under a `Policy`: several at once, in order within a topic, retried after growing delays. For each
attempt it calls a `Work`: a `Forwarder` posts the message to a target, a `CommandRunner` (`command`) runs a command and
passes on its output, a `Republisher` (`replayer`) publishes it again; what was answered may go back to the
sender (`replying`). What becomes of each is an `Attempt` (`outcome`). A message that has failed too often, or for good,
goes to `DeadLetters`. A message is acknowledged once it is done, skipped or stored as a dead letter. A `Stop`
(`shutdown`) ends the worker, a `Pause` holds it up, and an `Observer` is told what happens to each message. A
`Recorder` (`recording`) appends messages to a file, for a `Playback`; from a `RetriedFile` (`retried_file`), those that
are delivered are removed.
"""
