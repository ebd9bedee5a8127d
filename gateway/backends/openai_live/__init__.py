"""GPT-Live: one full-duplex stream each way. The model decides when to speak; the gateway steers it with text."""
