"""The live view of a command that listens: what has come, what became of it, and keys to look closer and try again.

`Deliveries` are kept as a worker reports them. A `Screen` is what of them is shown, and changes with each key; both do
no I/O. `view` draws a screen as lines of text. A `Terminal` shows the lines and reads the keys, and is given back as it
was. `open_live_view` runs all this beside the command.
"""
