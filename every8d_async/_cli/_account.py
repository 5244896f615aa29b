"""Whose account: from the environment, or a file that nobody else reads; never arguments."""

import os
import stat
import tomllib
from pathlib import Path
from shlex import quote
from typing import Any

import typer
from attrs import field, frozen

from every8d_async._cli._exits import Exit, Failure
from every8d_async._site import check_site

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_KEYS = ("uid", "password", "site", "proxy")


@frozen
class Login:
    """An account, and the way to its gateway."""

    uid: str = field(repr=False)
    password: str = field(repr=False)
    site: str | None = None
    proxy: str | None = field(default=None, repr=False)


def folder() -> Path:
    """Give this command's own folder, which may not be there."""
    return Path(typer.get_app_dir("every8d"))


def default_file() -> Path:
    """Give the file that holds the account where nobody names another."""
    return folder() / "account.toml"


def find_login(file: Path | None) -> Login:
    """
    Read the account: from a file that was named, else the environment, else the default file.

    uid and password come from one place together. A file that was named is taken alone: no password
    goes to a site that was meant for another. EVERY8D_SITE and EVERY8D_PROXY win over what the
    default file says.

    Raises:
        Failure: There is none, or the file can't be used; nothing was sent.
    """
    login = _usual_login() if file is None else read_login(file)
    if login.site is not None and _shows_password(login.site):
        raise Failure(
            Exit.MEND,
            "site: http:// to a public host would show the password to everybody on the way; use "
            "https://. Nothing was sent.",
        )
    return login


def _usual_login() -> Login:
    uid, password = os.environ.get("EVERY8D_UID"), os.environ.get("EVERY8D_PASSWORD")
    if uid or password:
        if not (uid and password):
            missing = "EVERY8D_PASSWORD" if uid else "EVERY8D_UID"
            raise Failure(Exit.ACCESS, f"{missing} is not set, but its partner is: set both.")
        found = Login(uid, password)
    else:
        found = read_login(default_file(), named=False)
    site, proxy = os.environ.get("EVERY8D_SITE"), os.environ.get("EVERY8D_PROXY")
    return Login(found.uid, found.password, site or found.site, proxy or found.proxy)


def read_login(file: Path, *, named: bool = True) -> Login:
    """
    Read an account from a file.

    Raises:
        Failure: It is not there, others can read it, or something is wrong in it.
    """
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if os.name != "nt" and mode & _OTHERS:
                raise Failure(
                    Exit.ACCESS,
                    f"{file} holds a password and others can read it (mode "
                    f"{stat.S_IMODE(mode):04o}). Mend it: chmod 600 {quote(str(file))}",
                )
            plain = tomllib.loads(opened.read().decode("utf-8-sig"))  # Notepad writes a BOM
    except FileNotFoundError:
        raise Failure(Exit.ACCESS, _no_account(file, named=named)) from None
    except OSError as error:
        raise Failure(Exit.ACCESS, f"{file}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        # Without the parser's words: they may quote the password.
        raise Failure(Exit.ACCESS, f'{file} is no TOML: write uid = "…" and the like.') from None
    return _checked(file, plain)


def _shows_password(site: str) -> bool:
    # The session would advise a parameter, which a command line has not.
    return check_site(site, allow_http=False) != check_site(site, allow_http=True)


def _checked(file: Path, plain: dict[str, Any]) -> Login:
    unknown = sorted(plain.keys() - set(_KEYS))
    missing = [name for name in ("uid", "password") if not plain.get(name)]
    wrong = [name for name in _KEYS if not isinstance(plain.get(name, ""), str)]
    for names, what in ((unknown, "is not known"), (missing, "is missing"), (wrong, "is no text")):
        if names:
            raise Failure(
                Exit.ACCESS, f"{file}: {', '.join(names)} {what}; it holds {', '.join(_KEYS)}."
            )
    return Login(**plain)


def _no_account(file: Path, *, named: bool) -> str:
    if named:
        return f"there is no file {file}."
    return (
        'no account: set EVERY8D_UID and EVERY8D_PASSWORD, or write uid = "…" and password = '
        f'"…" into {file} (chmod 600). To try without an account, add --simulate.'
    )
