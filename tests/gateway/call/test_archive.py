"""Records on their way to the disk: written in order, off the loop, and lost by no fault of it."""

import json
import logging
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.call.archive import RecordArchive
from gateway.call.record import CallRecord, EndRecord


def record(call_id: str) -> CallRecord:
    now = datetime.now(UTC)
    return CallRecord(
        call_id=call_id,
        sip_call_id=f"{call_id}@peer",
        trunk="trunk",
        caller="+15550001111",
        dialled="1000",
        started_at=now,
        ended_at=now,
        end=EndRecord(reason="caller_hung_up", by="caller"),
    )


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def test_all_that_was_taken_is_written_when_the_archive_closes(tmp_path: Path) -> None:
    archive = RecordArchive(tmp_path / "made" / "when" / "needed")
    archive.start()
    for number in range(200):
        archive.keep(record(f"call-{number}"))
    archive.close()
    written = sorted((tmp_path / "made" / "when" / "needed").iterdir())
    assert {path.stem for path in written} == {f"call-{number}" for number in range(200)}
    assert all(read(path)["sip_call_id"] == f"{path.stem}@peer" for path in written)
    assert archive.counters == {"record_written": 200}


def test_a_record_is_written_in_another_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    write = CallRecord.write

    def noting(self: CallRecord, directory: Path) -> Path:
        threads.append(threading.current_thread())
        return write(self, directory)

    monkeypatch.setattr(CallRecord, "write", noting)
    archive = RecordArchive(tmp_path)
    archive.start()
    archive.keep(record("call"))
    archive.close()
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


def test_a_record_that_cannot_be_written_goes_into_the_log_and_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    archive = RecordArchive(tmp_path / "file")
    archive.start()
    with caplog.at_level(logging.ERROR):
        archive.keep(record("lost"))
        archive.close()
    (line,) = caplog.records
    assert json.loads(vars(line)["record"])["call_id"] == "lost"
    assert archive.counters == {"record_fault": 1}


def test_what_comes_while_too_many_wait_goes_into_the_log_and_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = RecordArchive(tmp_path, waiting_limit=2)  # not started: the disk stands still
    with caplog.at_level(logging.ERROR):
        for name in ("first", "second", "third"):
            archive.keep(record(name))
    (line,) = caplog.records
    assert json.loads(vars(line)["record"])["call_id"] == "third"
    archive.start()
    archive.close()
    assert {path.stem for path in tmp_path.iterdir()} == {"first", "second"}
    assert archive.counters == {"record_overflow": 1, "record_written": 2}


def test_an_archive_is_closed_twice_without_harm(tmp_path: Path) -> None:
    archive = RecordArchive(tmp_path)
    archive.start()
    archive.close()
    archive.close()
    assert list(tmp_path.iterdir()) == []
