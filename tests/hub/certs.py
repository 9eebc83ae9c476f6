# SPDX-License-Identifier: Apache-2.0
"""An authority of our own and a certificate for loopback, by the openssl command."""
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""
LOOPBACK = "DNS:localhost, IP:127.0.0.1, IP:::1"
NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


@dataclass(frozen=True)
class Tls:
    authority: Path
    certificate: Path
    key: Path

    def server_context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def make(folder, names=()):
    """`names`: of hosts, beside those of loopback."""
    folder.mkdir(parents=True, exist_ok=True)
    tls = Tls(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    _openssl(folder, names, "hffs test hub authority", "-x509", *NEW_KEY, "-days", "30", "-extensions", "authority",
             "-keyout", folder / "ca.key", "-out", tls.authority)
    _openssl(folder, names, "localhost", "-x509", *NEW_KEY, "-days", "30", "-extensions", "server",
             "-CA", tls.authority, "-CAkey", folder / "ca.key", "-keyout", tls.key, "-out", tls.certificate)
    return tls


def _openssl(folder, names, name, *arguments):
    config = folder / "openssl.cnf"
    config.write_text(CONFIG.format(name=name, names=", ".join([LOOPBACK, *(f"DNS:{each}" for each in names)])))
    done = subprocess.run(["openssl", "req", "-config", config, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"openssl: {done.stderr}")
