"""Whose account: where it is read from, what is refused, and what outlasts a command."""

import json
import os
import socket
from pathlib import Path

import pytest

from every8d_async._cli._account import Login, default_file, find_login
from every8d_async._cli._exits import Exit, Failure
from every8d_async.simulator import Simulator

from .kit import invoke, run


def account_file(path: Path, text: str = 'uid = "me"\npassword = "secret"\n') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o600)
    return path


def refusal(file: Path | None = None) -> Failure:
    with pytest.raises(Failure) as caught:
        find_login(file)
    return caught.value


def test_environment_names_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """EVERY8D_UID and the others are enough, and win over the default file."""
    account_file(default_file(), 'uid = "other"\npassword = "other"\n')
    for name, value in (("UID", "me"), ("PASSWORD", "secret"), ("SITE", "https://a.example")):
        monkeypatch.setenv(f"EVERY8D_{name}", value)
    assert find_login(None) == Login("me", "secret", "https://a.example", None)


def test_half_an_account_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A uid of the environment never goes with a password of a file: logins are counted."""
    account_file(default_file())
    monkeypatch.setenv("EVERY8D_UID", "me")
    assert "EVERY8D_PASSWORD is not set" in str(refusal())
    monkeypatch.delenv("EVERY8D_UID")
    monkeypatch.setenv("EVERY8D_PASSWORD", "secret")
    assert "EVERY8D_UID is not set" in str(refusal())


def test_default_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an environment the file in the home is read; the environment's site wins."""
    text = 'uid = "me"\npassword = "密"\nsite = "https://a.example"\nproxy = "http://b.example"\n'
    account_file(default_file(), text)
    assert find_login(None) == Login("me", "密", "https://a.example", "http://b.example")
    monkeypatch.setenv("EVERY8D_SITE", "https://c.example")
    monkeypatch.setenv("EVERY8D_PROXY", "http://d.example")
    assert find_login(None) == Login("me", "密", "https://c.example", "http://d.example")


def test_a_named_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--account is meant: nothing of the environment stands beside it, neither site nor proxy."""
    for name, value in (
        *(("UID", "other"), ("PASSWORD", "other")),
        *(("SITE", "https://other.example"), ("PROXY", "http://other.example")),
    ):
        monkeypatch.setenv(f"EVERY8D_{name}", value)
    assert find_login(account_file(tmp_path / "a.toml")) == Login("me", "secret")
    text = 'uid = "me"\npassword = "secret"\nsite = "https://a.example"\n'
    assert find_login(account_file(tmp_path / "b.toml", text)).site == "https://a.example"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o601])
def test_a_file_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    """A password that others can read is refused, with the command that mends it."""
    file = account_file(tmp_path / "a.toml")
    file.chmod(mode)
    failure = refusal(file)
    assert failure.code is Exit.ACCESS
    assert f"chmod 600 {file}" in str(failure)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("uid = secret", "is no TOML"),
        ('uid = "me"', "password is missing"),
        ('uid = ""\npassword = "secret"', "uid is missing"),
        ('uid = "me"\npassword = "secret"\nsight = "x"', "sight is not known"),
        ('uid = "me"\npassword = "secret"\nproxy = 3', "proxy is no text"),
    ],
)
def test_a_file_that_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    """What is wrong in the file is told without quoting it: it may be the password."""
    failure = refusal(account_file(tmp_path / "a.toml", text))
    assert failure.code is Exit.ACCESS
    assert said in str(failure)
    assert "secret" not in str(failure)


def test_a_file_in_no_utf8(tmp_path: Path) -> None:
    """Bytes that are no text are told like other faults of the file."""
    file = account_file(tmp_path / "a.toml")
    file.write_bytes('uid = "密"'.encode("cp950"))
    assert "is no TOML" in str(refusal(file))


def test_a_file_of_notepad_s(tmp_path: Path) -> None:
    """An editor's BOM before the text is no fault of it."""
    file = account_file(tmp_path / "a.toml", '\ufeffuid = "me"\npassword = "密"\n')
    assert find_login(file) == Login("me", "密")


def test_a_folder_is_no_account(tmp_path: Path) -> None:
    """What can't be read is a fault of the account's, in a sentence."""
    failure = refusal(tmp_path)
    assert failure.code is Exit.ACCESS
    assert str(failure) == f"{tmp_path}: Is a directory."


def test_no_account_at_all() -> None:
    """A newcomer is told both ways, and the one without an account."""
    done = run("credit")
    assert (done.returncode, done.stdout) == (Exit.ACCESS, "")
    for said in ("EVERY8D_UID", str(default_file()), "chmod 600", "--simulate"):
        assert said in done.stderr


def test_a_named_file_that_is_not_there(tmp_path: Path) -> None:
    """A name that was mistyped is told as such."""
    assert f"there is no file {tmp_path / 'a.toml'}" in str(refusal(tmp_path / "a.toml"))


def test_reprs_hold_no_secret() -> None:
    """An account shows where it goes, not who or with what."""
    assert repr(Login("me", "secret", "https://a", "http://u:p@b")) == "Login(site='https://a')"


# --- with a gateway ---


def test_credit(simulator: Simulator) -> None:
    """The points are told to people, and to programs as a text that loses no decimals."""
    assert run("credit").stdout == "100,000.00 points\n"
    assert json.loads(run("credit", "--json").stdout) == {"credit": "100000.00"}


def test_credit_with_a_file(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may name the site too."""
    site = os.environ["EVERY8D_SITE"]
    for name in ("UID", "PASSWORD", "SITE"):
        monkeypatch.delenv(f"EVERY8D_{name}")
    text = f'uid = "me"\npassword = "secret"\nsite = "{site}"\n'
    done = invoke("credit", "--account", str(account_file(tmp_path / "a.toml", text)))
    assert (done.exit_code, done.stdout) == (0, "100,000.00 points\n")


def test_commands_share_a_login(simulator: Simulator, home: Path) -> None:
    """A loop of commands logs in once; the token lies in a file for its owner alone."""
    for _ in range(3):
        assert invoke("credit").exit_code == 0
    assert simulator.logins == 1
    tokens = home / ".config" / "every8d" / "tokens.json"
    assert (tokens.stat().st_mode & 0o777, tokens.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_wrong_password_is_tried_once(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than ten failed logins lock the account, so a loop of commands makes but one."""
    monkeypatch.setenv("EVERY8D_PASSWORD", "wrong-one")
    for _ in range(12):
        done = invoke("send", "Hello", "0912345678")
        assert done.exit_code == Exit.ACCESS
        assert "every8d token check" in done.stderr
        assert "wrong-one" not in done.output
    assert simulator.failed_logins == 1
    monkeypatch.setenv("EVERY8D_PASSWORD", "secret")
    checked = invoke("token", "check")
    assert (checked.exit_code, checked.stdout) == (
        0,
        "the token is good; 100,000.00 points left\n",
    )
    assert invoke("send", "Hello", "0912345678").exit_code == 0


def test_a_check_tests_the_login_itself(
    simulator: Simulator, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that is kept does not vouch for a password; a wrong one ends nobody's token."""
    assert invoke("credit").exit_code == 0
    tokens = home / ".config" / "every8d" / "tokens.json"
    kept = tokens.read_text("utf-8")
    monkeypatch.setenv("EVERY8D_PASSWORD", "wrong-one")
    done = invoke("token", "check")
    assert (done.exit_code, done.stdout, simulator.failed_logins) == (Exit.ACCESS, "", 1)
    assert tokens.read_text("utf-8") == kept
    monkeypatch.setenv("EVERY8D_PASSWORD", "secret")
    assert invoke("token", "check").exit_code == 0
    assert simulator.logins == 3
    assert invoke("credit").exit_code == 0
    assert simulator.logins == 3


def test_a_check_s_refusal_is_remembered(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no token is kept, what the check met is not tried again by other commands."""
    monkeypatch.setenv("EVERY8D_PASSWORD", "wrong-one")
    assert invoke("token", "check").exit_code == Exit.ACCESS
    assert invoke("credit").exit_code == Exit.ACCESS
    assert simulator.failed_logins == 1


def test_a_site_that_would_show_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a person at a command line can do is advised."""
    for name, value in (("UID", "me"), ("PASSWORD", "secret"), ("SITE", "http://example.com")):
        monkeypatch.setenv(f"EVERY8D_{name}", value)
    done = invoke("credit")
    assert done.exit_code == Exit.MEND
    assert "would show the password" in done.stderr
    assert "use https://" in done.stderr
    assert "allow_http" not in done.stderr


def test_check_of_a_token_in_json(simulator: Simulator) -> None:
    """Programs get the same."""
    done = invoke("token", "check", "--json")
    assert json.loads(done.stdout) == {"valid": True, "credit": "100000.00"}


def test_a_token_that_is_not_honoured(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that disowns its own token is no success."""

    async def disowned(_session: object) -> bool:
        return False

    monkeypatch.setattr("every8d_async.Every8DSession.check_token", disowned)
    done = invoke("token", "check")
    assert done.exit_code == Exit.ACCESS
    assert "does not honour the token" in done.stdout


def test_a_home_that_cant_be_written_to(
    simulator: Simulator, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a place for tokens each command logs in for itself."""
    (home / "file").write_text("", "utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "file"))
    assert invoke("credit").exit_code == 0
    assert invoke("credit").exit_code == 0
    assert simulator.logins == 2


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that can't be reached is worth another try; JSON says so too."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("EVERY8D_SITE", f"http://127.0.0.1:{free.getsockname()[1]}")
        monkeypatch.setenv("EVERY8D_UID", "me")
        monkeypatch.setenv("EVERY8D_PASSWORD", "secret")
        done = invoke("credit", "--json")
    assert done.exit_code == Exit.LATER
    told = json.loads(done.stdout)
    assert (told["error"], told["exit_code"]) == ("GatewayUnreachable", 4)
    assert told["message"] in done.stderr
