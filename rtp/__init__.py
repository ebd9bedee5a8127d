"""The RTP room: packets, order, concealment, playout, telephone-events, ports, the media clock and the media sockets.

It knows nothing of SIP nor of the gateway. Everything here is sans-I/O (datagrams, addresses and `now` come in,
datagrams come out) but `rtp.clock` and `rtp.socket`, which alone touch the event loop and the network.
"""
