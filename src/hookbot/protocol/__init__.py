"""What goes over the wire, as values and as bytes. Pure: no clock, file or socket; hub and client share it.

Values: a `Draft` becomes a `Message` (message), whose JSON form is the envelope (envelope); its topic (topics) stands
in a path (paths). A `Request` (request) is read as a `PublishRequest` (publish) or a `SubscribeRequest` (subscribe,
which starts at a `Since`: since) and answered by a `Response` (response), which turns errors into statuses and back.

Bytes: HTTP/1.1 (http1), websocket handshakes and frames (websocket), and the five formats that subscriptions are
served in, each written and read (frames).
"""
