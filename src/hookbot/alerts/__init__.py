"""Alerts: what the hub watches for its operator, and tells once when it goes wrong and once when that is over.

- A `Subject` (`subjects`) is what an alert is about: a source, a cursor, a group or a router.
- A `SilenceWatch` (`silence`) notices a source that sends nothing, a `BacklogWatch` (`backlogs`) a reader that falls
  behind. What they find is an `Observation` (`subjects`).
- `Alerts` (`watching`) looks at all of them, at one hub of a family, publishes what has changed to ``hookbot/alerts/``,
  and keeps in the log what it has told (`marks`), so that a restart tells nothing again.

`web` shows what is firing; nothing here imports it.
"""
