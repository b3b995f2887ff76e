"""The protocol: requests, messages and frames, as values and as bytes. Pure; hub and client share it.

Values: a `Draft` becomes a `Message` (message), whose JSON form is the envelope (envelope); its topic (topics) stands
in a path (paths). A `Request` (request) is read as a `PublishRequest` (publish) or a `SubscribeRequest` (subscribe,
which starts at a `Since`: since) and answered by a `Response` (response), which turns errors into responses and back;
their statuses are in `hookbot.errors`.

Bytes: HTTP/1.1 (http1), websocket handshakes and frames (websocket), and the five formats that subscriptions are
served in (frames), of which the client reads two.
"""
