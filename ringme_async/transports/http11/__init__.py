"""HTTP/1.1 for the fast transport: connections, requests and responses."""
