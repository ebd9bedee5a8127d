"""Tools: what a model may ask the gateway to do. They know neither SIP nor RTP nor any model service.

A `Tool` checks its arguments and runs; the `ToolDesk` of a call starts each as a task, bounds its time and answers.
"""
