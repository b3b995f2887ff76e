"""Plain publishes and websockets in one epoll, without a task for any connection."""
