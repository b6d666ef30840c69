"""How a running study is shown: its progress, the time left, plain lines and a live display."""
