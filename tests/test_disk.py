"""Files are there whole or not at all, and what is no file stays what it is."""

import os

import pytest

from unmask.disk import alone, replace_file, whole_folder
from unmask.errors import UserError


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    replace_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_pipes_and_folders_are_left_alone(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(UserError, match=f"{name}: is there and is no file"):
            replace_file(tmp_path / name, b"new")
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "folder").is_dir()


def test_what_cannot_be_written_is_named_as_it_was_given(tmp_path):
    with pytest.raises(FileNotFoundError) as told:
        replace_file(tmp_path / "nowhere" / "a.tsv", b"new")
    assert told.value.filename == str(tmp_path / "nowhere" / "a.tsv")


def test_a_folder_in_which_nothing_was_done_goes_again(tmp_path):
    with pytest.raises(UserError, match="refused"), alone(tmp_path / "new" / "run"):
        raise UserError("refused")
    assert not list(tmp_path.iterdir())
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError), alone(tmp_path / "there"):
        raise UserError("refused")
    assert not list((tmp_path / "there").iterdir())
    with pytest.raises(UserError), alone(tmp_path / "there"):
        (tmp_path / "there" / "work").write_text("hours of it")
        raise UserError("refused")
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["work"]


def test_who_is_kept_out_takes_no_lock_away(tmp_path):
    with alone(tmp_path / "run"):
        for _ in range(2):
            with pytest.raises(UserError, match="another process"), alone(tmp_path / "run"):
                pass
    assert (tmp_path / "run" / ".lock").exists()


def test_a_folder_gets_its_name_when_it_is_whole(tmp_path):
    out = tmp_path / "new" / "model"
    with pytest.raises(KeyError), whole_folder(out) as beside:
        (beside / "half").write_text("of it")
        raise KeyError
    assert not list(tmp_path.iterdir())
    left = out.with_name(".model.partial")  # by a process that was killed
    (left / "folder").mkdir(parents=True)
    (left / ".lock").touch()
    (left / "half").write_text("of it")
    with whole_folder(out) as beside:
        (beside / "whole").write_text("all")
        with pytest.raises(UserError, match=f"--out {out}: another process"), whole_folder(out):
            pass
        assert not out.exists()
    assert [path.name for path in out.parent.iterdir()] == ["model"]
    assert [path.name for path in out.iterdir()] == ["whole"]
    with pytest.raises(UserError, match="is not empty"), whole_folder(out):
        pass
