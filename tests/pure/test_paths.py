"""Expansion of paths in settings."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from para_server.core.container_spec import find_ca_bundle
from para_server.core.errors import ParaError
from para_server.core.settings import ContainerSettings
from para_server.host.paths import expand_home, is_utf8, user_home


def test_the_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_home("~/x") == expand_home("${userHome}/x") == f"{tmp_path}/x"
    assert expand_home("~root/x") == f"{pwd.getpwnam('root').pw_dir}/x"
    assert expand_home("/a/~/${userHome}") == "/a/~/${userHome}"
    assert user_home() == tmp_path


def test_an_unknown_home_folder_is_refused_with_the_setting() -> None:
    with pytest.raises(ValueError, match="no user nobody-of-this-name"):
        expand_home("~nobody-of-this-name/x")
    with pytest.raises(ParaError) as caught:
        find_ca_bundle(ContainerSettings(ca_bundle="~nobody-of-this-name/x"), {})
    assert "container.caBundle" in caught.value.problem.message


def test_a_ca_bundle_can_be_in_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ca.pem").write_text("x")
    for path in ("~/ca.pem", "${userHome}/ca.pem"):
        assert find_ca_bundle(ContainerSettings(ca_bundle=path), {}) == tmp_path / "ca.pem"


def test_a_lone_surrogate_is_not_utf8() -> None:
    assert is_utf8("/caf\u00e9")
    assert not is_utf8("/caf\udce9")
