"""Mail as such: what is sent, how it is handed over, and how much an organisation may send."""
