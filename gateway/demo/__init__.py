"""The demo: a real gateway process, a real call over loopback, and the proof that both sides were understood."""
