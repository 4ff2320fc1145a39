import pytest

from experiments import bulk_benchmark


def test_the_report_tells_images_from_the_start():
    """Three seconds to start and half a second for an image; Beam takes twice as long for both."""
    seconds = {"plain": ([8.0], [13.0]), "Beam, 1 worker": ([16.0, 16.0, 99.0], [26.0] * 3)}
    header, plain, beam = bulk_benchmark.report(seconds, 10).splitlines()
    assert header.split() == ["command", "images/s", "start", "s", "time", "per", "image"]
    assert plain.split() == ["plain", "2.00", "3.0", "1.00", "x"]
    assert beam.split() == ["Beam,", "1", "worker", "1.00", "6.0", "2.00", "x"]


def test_images_are_repeated_and_commands_are_checked(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / f"{name}.jpg").write_bytes(name.encode())
    files = sorted(tmp_path.glob("*.jpg"))
    bulk_benchmark.copy(files, 5, tmp_path / "many")
    copied = sorted((tmp_path / "many").iterdir())
    assert [path.read_bytes() for path in copied] == [b"a", b"b", b"a", b"b", b"a"]
    called = []
    monkeypatch.setattr(
        bulk_benchmark.subprocess, "run", lambda command, **_: called.append(command)
    )
    for arguments in bulk_benchmark.commands().values():
        with pytest.raises(RuntimeError, match="0 class maps of 5 images"):
            bulk_benchmark.measure("run", tmp_path / "l.txt", copied, arguments, tmp_path / "out")
    plain, one, two = called
    assert plain[4:9] == ["run", *map(str, copied[:4])]
    assert one[4:6] == ["run", f"{tmp_path}/l.txt"] and "--direct_num_workers=1 " in one[-1]
    assert "--direct_num_workers=2 " in two[-1]
