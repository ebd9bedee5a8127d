"""The bounded queue between the caller and a model that takes no data."""

from gateway.backends.input import INPUT_LIMIT_MS, RELEASE_MS, InputAudio


def test_two_seconds_are_held_and_the_oldest_dropped_and_counted() -> None:
    audio = InputAudio(bytes_per_ms=8)
    for number in range(120):
        audio.hold(bytes([number]) * 160)
    assert audio.held_ms == INPUT_LIMIT_MS
    assert audio.dropped_ms == 400
    assert audio.take()[0] == 20


def test_held_audio_comes_out_in_order_and_in_small_pieces() -> None:
    audio = InputAudio(bytes_per_ms=8)
    frames = [bytes([number]) * 160 for number in range(50)]
    for frame in frames:
        audio.hold(frame)
    taken = []
    while audio:
        taken.append(audio.take())
    assert b"".join(taken) == b"".join(frames)
    assert max(len(piece) for piece in taken) == RELEASE_MS * 8
    assert audio.take() == b""
    assert audio.dropped_ms == 0


def test_limit_is_of_time_and_not_of_bytes() -> None:
    audio = InputAudio()
    audio.measure_by(48)
    for _ in range(150):
        audio.hold(bytes(960))
    assert audio.held_ms == INPUT_LIMIT_MS
    assert audio.dropped_ms == 1000
