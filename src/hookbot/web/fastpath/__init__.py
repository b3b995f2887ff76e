"""The fast path: plain publishes and websockets in one epoll loop, without a task per connection.

The `EpollLoop` (`epoll`) tells sockets when they are ready. `FastPath` (`listener`) accepts connections. An
`HttpConnection` reads one request after the other; its subclass `FastPathConnection` (`connection`) publishes it, hands
the connection over to the app, or makes it a `Subscriber`. The `Fanout` sends the same bytes to every subscriber of an
`Audience`. Connections share a `Context`. Delete this folder, and the hub still works: the app answers everything.
"""
