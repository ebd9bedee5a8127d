"""Gemini Live: 16 kHz in, 24 kHz out, turns and interruptions decided by the service, sessions that can be resumed."""
