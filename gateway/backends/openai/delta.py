"""Audio deltas, the messages that come most often: what a `SpeechReader` must know to read them.

The first delta of an item is decoded as JSON; when it is written as OpenAI writes it (event_id before the ids, delta
last, no escapes), its constant parts are what the others of the item have too.
"""

from typing import Final

from gateway.backends.json_message import JsonObject, optional_text, text
from gateway.backends.openai.output import OutputLedger
from gateway.fast import SpeechReader

_END: Final = b'"}'


def learn(reader: SpeechReader, message: bytes, event: JsonObject, output: OutputLedger) -> None:
    """Lets `reader` read more of the item of a delta that was decoded; or nothing, where it is not written so."""
    reader.account = None
    # JSON can hold half a character, which has no octets: what stands for it then is not in the message.
    event_id, delta = optional_text(event, "event_id").encode(errors="replace"), text(event, "delta").encode()
    if not event_id or not delta or not message.endswith(_END):
        return
    begin = message.find(b'"' + event_id + b'"') + 1
    end, stop = begin + len(event_id), len(message) - len(delta) - len(_END)
    if begin == 0 or stop <= end or message[stop : -len(_END)] != delta:
        return
    head, middle = message[:begin], message[end:stop]
    in_order = head.rstrip().endswith(b'"') and middle.startswith(b'"') and middle.endswith(b'"')
    named = b'"event_id"' in head and b'"item_id"' in middle and b'"response_id"' in middle and b'"delta"' in middle
    if in_order and named and b"\\" not in head + middle:
        reader.head, reader.middle = head, middle
        reader.response_id, reader.item_id = optional_text(event, "response_id"), optional_text(event, "item_id")
        reader.account = output.account(reader.item_id)
