"""The fast path: publishes and websockets in one epoll loop, without a task per connection.

The `EpollLoop` (`epoll`) calls the owner of each socket that is ready. `FastPath` (`listener`) accepts connections;
with TLS, a `Handshake` comes first. An `HttpConnection` reads one request after the other; its subclass
`FastPathConnection` (`connection`) publishes it, hands the connection over to the app, or makes it a `Subscriber`. The
`Fanout` sends the same bytes to every subscriber of an `Audience`; a `CatchUp` reads the log for those that are behind,
and the `Keepalive` pings all and ends those that are gone. Connections share a `Context`. The fast path is optional:
without it, the app answers everything.
"""
