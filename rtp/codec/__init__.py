"""Codecs: what a payload type means, and the arithmetic from octets to samples and back."""
