"""The protocol shared by hub and client: requests, messages and frames, as values and as bytes, without I/O.

Values: a `Draft` becomes a `Message` (message), whose JSON form is the envelope (envelope). Its topic (topics) is
part of a path (paths) and of a URL (urls). A `Request` (request) is read as a `PublishRequest` (publish) or as a
`SubscribeRequest` (subscribe) that starts at a `Since` (since), and is answered by a `Response` (response). The same
module converts errors to responses and back; their statuses are in `hookbot.errors`.

Bodies are read only where somebody asks for their content (content): text in any charset (charsets), JSON with its
numbers as they were written (json_text), and forms (bodies, multipart). What is parsed stays within a ceiling (bodies).
Conditions over whole messages are JMESPath (expressions), and what happened is in a header or the body (event_type).

Bytes: HTTP/1.1 (http1), websocket handshakes and frames (websocket), and the five formats of subscriptions, of which
the client reads two (frames). GitHub's headers and a body as the ancestor's JSON object: github_metadata.

"The ancestor" is the Go program hookbot 0.13, whose clients keep working with this hub.
"""
