"""The four transaction machines of RFC 3261 §17 with RFC 6026's Accepted state, and the layer that finds them.

Sans-I/O: a machine takes a message, a timer or a transport failure with `now`, and queues what is to be done.
"""
