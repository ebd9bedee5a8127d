"""A script small enough for tests to see through."""

from gateway.embedded.script import Script, parse_script

TEXT = """
name: Test
greeting: Good morning.
not_understood: ["Pardon me?", "Once more please?"]
idle: Are you there?
slots: {count: [two, three]}
turns:
  - name: hours
    heard: ["When are you open?"]
    say: We are open every day from noon until ten in the evening.
  - name: booking
    heard: ["A table for {count} please"]
    say: One moment.
    call: {tool: book_table, arguments: {guests: "{count}"}}
    results:
      - {contains: error, say: No table.}
      - {say: "Your table for {count} is booked."}
    without_tool: I cannot book.
  - name: goodbye
    heard: [Goodbye]
    say: Goodbye.
    call: {tool: end_call}
"""


def script() -> Script:
    return parse_script(TEXT, "test.yaml")


BOOK_TABLE = {"type": "function", "name": "book_table", "parameters": {"type": "object", "properties": {}}}
END_CALL = {"type": "function", "name": "end_call", "parameters": {"type": "object", "properties": {}}}
