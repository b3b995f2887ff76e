"""The fast path: plain publishes and websockets in one epoll, without a task for any connection.

The `EpollLoop` (epoll) calls the sockets in it. `FastPath` (listener) accepts connections; an `HttpConnection` reads
one request after the other, and a `FastPathConnection` (connection) publishes it, hands it over to the app, or
becomes a `Subscriber`. The `Fanout` sends the same bytes to each `Audience` of subscribers. What connections share is
their `Context`. Delete this folder, and the hub still works, by the app alone.
"""
