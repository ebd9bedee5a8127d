"""OpenAI Realtime (GA) and the servers that speak its protocol: Azure, xAI, LocalAI and others, by URL and dialect."""
