# SPDX-License-Identifier: Apache-2.0
"""A Hub over TLS, as the real one is: its API and its bytes, with the right authority, another one, and none."""
import errno
import os
import time

import pytest
from hub import certs
from lab import MIB, errno_of
from world import fresh_bytes

CA_NAMES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture
def secure(make):
    world = make.world(tls=True, nginx=True)
    assert world.endpoint.startswith("https://")
    return world


def test_B2_N1_a_hub_over_tls(make, secure):
    mount = make.mount(secure)
    repo = secure.add({"model.safetensors": fresh_bytes(5 * MIB + 3), "config.json": fresh_bytes(400)})
    for path, data in repo.content.items():
        assert mount.file(repo, path).read_bytes() == data, path


@pytest.mark.parametrize("variable", CA_NAMES)
def test_N1_each_variable_names_the_authority(make, secure, variable):
    env = {name: None for name in CA_NAMES} | {variable: secure.hub.ca_file}
    mount = make.mount(secure, env=env)
    repo = secure.add({"config.json": b"{}"})
    assert mount.file(repo, "config.json").read_bytes() == b"{}"


@pytest.mark.parametrize("bundle", ["another", "none"])
def test_F1_a_hub_whose_certificate_nobody_vouches_for(make, secure, bundle):
    """Never trusted: names fail in time, and the log says that the certificate is what is wrong."""
    another = certs.make(make.folder() / "tls").authority
    env = dict.fromkeys(CA_NAMES, str(another) if bundle == "another" else None)
    mount = make.mount(secure, env=env)
    repo = secure.add({"config.json": b"{}"})
    began = time.monotonic()
    assert errno_of(os.stat, mount.repo(repo.id)) == errno.ENOENT
    assert time.monotonic() - began < 10
    assert not secure.api(repo), "a request went over a connection that nobody vouches for"
    assert "certificate" in mount.log()
