"""Where to and with which credentials, unless a tenant has its own: options, environment, profile."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from ringme_async import Auth, ClientCredentials, InvalidRequest, Tenant
from ringme_async.cli.errors import CouldNotStart, WrongUsage
from ringme_async.cli.profiles import (
    CONFIG,
    Profile,
    check_base_url,
    config_path,
    default_profile,
    is_open_to_others,
    read_profile,
)
from ringme_async.environment import APP_ID, APP_SECRET, BASE_URL, TOKEN, USERNAME, auth_in

__all__ = ["CONFIG", "Settings", "config_path", "is_open_to_others", "read_settings"]


@frozen
class Settings:
    """What holds for a tenant that has nothing of its own.

    Attributes:
        base_url: The provider's URL; None if there is none.
        auth: The credentials; None if there are none.
        warning: What the person should know of the profile; empty if there is nothing.
        withheld: Why credentials that were found are not used; empty if none were withheld.
    """

    base_url: str | None = None
    auth: Auth | None = field(default=None, repr=False)
    warning: str = ""
    withheld: str = field(default="", eq=False)

    def require_base_url(self) -> None:
        """See to it that there is a host.

        Raises:
            CouldNotStart: There is none.
        """
        if self.base_url is None:
            raise CouldNotStart(
                "there is no base URL: give --base-url, set RINGME_BASE_URL, or name a profile"
            )

    def require_auth(self) -> None:
        """See to it that there are credentials.

        Raises:
            CouldNotStart: There are none.
        """
        if self.auth is None:
            raise CouldNotStart(
                self.withheld
                or "there are no credentials: set RINGME_APP_ID and RINGME_APP_SECRET, or name a"
                " profile, or a list of tenants that have their own"
            )


def read_settings(
    base_url: str | None, profile: str | None, environ: Mapping[str, str]
) -> Settings:
    """Find the settings.

    There are two: the base URL and the credentials. For each, an option counts before the
    environment, and the environment before the profile ``default``. A profile that was asked for
    is an option. An App ID and its App Secret may come from two places.

    A secret is sent to no other host than that of the place that holds it. ``base_url`` alone
    overrules this, as it names the host for this command.

    Args:
        base_url: What was asked for.
        profile: The name of the profile that was asked for.
        environ: The environment variables.

    Raises:
        CouldNotStart: A place is malformed, there is no such profile, or half of the credentials is
            for another host or another App ID.
        WrongUsage: ``base_url`` is malformed.
    """
    if base_url is not None:
        try:
            Tenant(base_url=base_url)
        except InvalidRequest as error:
            raise WrongUsage(f"--base-url: {error.reason}") from None
    if profile is not None:
        return _of_profile(read_profile(profile, environ), base_url, environ)
    return _of_environment(base_url, environ)


def _of_environment(asked: str | None, environ: Mapping[str, str]) -> Settings:
    """Take what the environment says, and what it leaves open from the profile ``default``."""
    own = _own_base_url(environ)
    host = asked or own
    is_whole = bool(environ.get(TOKEN) or (environ.get(APP_ID) and environ.get(APP_SECRET)))
    begun = any(environ.get(name) for name in (APP_ID, APP_SECRET, USERNAME))
    profile: Profile | None = None
    if host is None or not is_whole:
        profile = default_profile(environ, required=not (own or is_whole or begun))
    base_url = host or (profile.base_url if profile else None)
    warning = profile.warning if profile else ""
    if is_whole or (begun and profile is None):
        return Settings(base_url, _auth_in(environ), warning)
    if profile is None:
        return Settings(base_url)
    kept = None if asked else _conflict(base_url, profile.base_url, profile.where)
    if begun:
        return Settings(base_url, _auth_in(_completed(environ, profile, kept)), warning)
    if kept and profile.has_secret:
        advice = f"set {APP_ID} and {APP_SECRET}, or choose the profile with --profile"
        return Settings(base_url, None, warning, f"{kept}; {advice}")
    return Settings(base_url, _auth_of(profile, environ), warning)


def _of_profile(profile: Profile, asked: str | None, environ: Mapping[str, str]) -> Settings:
    """Take what a profile says that was asked for, and what it leaves open from the environment."""
    own = _own_base_url(environ)
    base_url = asked or profile.base_url or own
    kept = None if asked else _conflict(base_url, own, "the environment")
    if profile.app_id is not None or profile.has_secret:
        auth = _with_environment(profile, environ, kept)
        return Settings(base_url, auth, profile.warning)
    if not any(environ.get(name) for name in (TOKEN, APP_ID, APP_SECRET, USERNAME)):
        return Settings(base_url, None, profile.warning)
    if kept:
        advice = f"put app_id and secret_env into {profile.where}"
        return Settings(base_url, None, profile.warning, f"{kept}; {advice}")
    return Settings(base_url, _auth_in(environ), profile.warning)


def _with_environment(
    profile: Profile, environ: Mapping[str, str], kept: str | None
) -> ClientCredentials | None:
    """Take the credentials of a profile, and the half that it lacks from the environment."""
    if profile.app_id is None and environ.get(APP_ID):
        profile = evolve(profile, app_id=environ[APP_ID])
    elif not profile.has_secret and environ.get(APP_SECRET):
        if kept:
            raise CouldNotStart(f"{kept}; give the profile a secret_env")
        if environ.get(APP_ID) not in {None, "", profile.app_id}:
            raise CouldNotStart(
                f"{profile.where}: it has no secret, and {APP_SECRET} is for another App ID;"
                " give the profile a secret_env"
            )
        profile = evolve(profile, secret=environ[APP_SECRET])
    return _auth_of(profile, environ)


def _completed(environ: Mapping[str, str], profile: Profile, kept: str | None) -> Mapping[str, str]:
    """Complete an App ID or an App Secret of the environment by the other half, of the profile."""
    halves: dict[str, str] = {}
    if not environ.get(APP_ID) and profile.app_id is not None:
        halves[APP_ID] = profile.app_id
    if not environ.get(APP_SECRET) and profile.has_secret:
        if kept:
            raise CouldNotStart(f"{kept}; set {APP_SECRET} as well")
        if environ.get(APP_ID) and profile.app_id not in {None, environ[APP_ID]}:
            raise CouldNotStart(
                f"{APP_SECRET} is not set, and the secret of {profile.where} is for another App ID"
            )
        halves[APP_SECRET] = profile.secret(environ)
    return {**environ, **halves}


def _conflict(base_url: str | None, bound: str | None, where: str) -> str | None:
    """Say why a secret of a place is not sent to a host; None if it may be."""
    if bound is None or Tenant(base_url=base_url).origin == Tenant(base_url=bound).origin:
        return None
    return f"the credentials of {where} are for {bound}, and are not sent to {base_url}"


def _own_base_url(environ: Mapping[str, str]) -> str | None:
    base_url = environ.get(BASE_URL) or None
    check_base_url(base_url, BASE_URL)
    return base_url


def _auth_in(environ: Mapping[str, str]) -> Auth:
    try:
        return auth_in(environ)
    except InvalidRequest as error:
        raise CouldNotStart(error.reason) from None


def _auth_of(profile: Profile, environ: Mapping[str, str]) -> ClientCredentials | None:
    if profile.app_id is None:
        if profile.has_secret:
            raise CouldNotStart(f"{profile.where}: it has a secret, and no app_id")
        return None
    if not profile.has_secret:
        raise CouldNotStart(f"{profile.where}: an app_id needs either a secret or a secret_env")
    return _client_credentials(profile.app_id, profile.secret(environ), profile.where)


def _client_credentials(app_id: str, secret: str, where: str) -> ClientCredentials:
    try:
        return ClientCredentials(app_id, secret)
    except InvalidRequest as error:
        flaw = error.reason
    # Outside the `except`, so that no frame that holds the secret is chained.
    raise CouldNotStart(f"{where}: {flaw}")
