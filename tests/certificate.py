"""Self-signed certificates for localhost and 127.0.0.1, which no system trusts."""

import ssl
import tempfile
from pathlib import Path

PEM = """\
-----BEGIN CERTIFICATE-----
MIIBqzCCAVGgAwIBAgIUE0IVhVfsohfrPYmaKMLXQPGjQfYwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAx
MDAwMDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQUJpnv2FDJtTSgzkXyRT7L5EdFIPTX4aeIykH1uTHORdf/vGTgu69B
YKg5xnKZ3rRc02eV81S7j5nLHzJL4wdFo38wfTAPBgNVHRMBAf8EBTADAQH/MB0G
A1UdDgQWBBTbpJbwFOLkRlLEBw4sZNA26AsmkjAfBgNVHSMEGDAWgBTbpJbwFOLk
RlLEBw4sZNA26AsmkjAOBgNVHQ8BAf8EBAMCAoQwGgYDVR0RBBMwEYIJbG9jYWxo
b3N0hwR/AAABMAoGCCqGSM49BAMCA0gAMEUCIQDFdiYKFJLrhjlMR8PPuNgIg+lt
PqPOA/MmshC6k27KUgIgEt7AqyXX8yECZz1uVUS8bHrffS2JbpYL8pOXdsJ/QvM=
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgDP8G8hrVaiOGJbxv
3Af+4KYSMoZRbmbkJ360ZVdrQWuhRANCAAQUJpnv2FDJtTSgzkXyRT7L5EdFIPTX
4aeIykH1uTHORdf/vGTgu69BYKg5xnKZ3rRc02eV81S7j5nLHzJL4wdF
-----END PRIVATE KEY-----
"""

# For the same names, and trusted by nobody at all.
REFUSED_PEM = """\
-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUNHj5OKDC9oEDafpm9OAh0Cmb/IswCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzA0MzQwMloYDzIxMjYxMDMw
MDQzNDAyWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATqO2/4i2tXugOiNMzTt8lOhpP53Fn5BqZic2BWa2xUgv2p7P4Of00z
HZgduILxt4FJgoMjHMxyuXJRLqRrSKRVo28wbTAdBgNVHQ4EFgQU9EPGedzKJJb9
GTqwuGKzuYrbJjMwHwYDVR0jBBgwFoAU9EPGedzKJJb9GTqwuGKzuYrbJjMwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSQAwRgIhALfJmYPk97zxQf5e1LZMA+gs5DPkuZHNpGCUh23d4aIjAiEA
maireydQoel6pP858oaZsjpiO7WxDFhNHJLIF3IkP0Q=
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgXN2FBI4OXVnK1xX/
37fFrLnoRA/OTcOZcXZPQbfg36OhRANCAATqO2/4i2tXugOiNMzTt8lOhpP53Fn5
BqZic2BWa2xUgv2p7P4Of00zHZgduILxt4FJgoMjHMxyuXJRLqRrSKRV
-----END PRIVATE KEY-----
"""


def server_context(pem: str = PEM) -> ssl.SSLContext:
    """Show the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "certificate.pem")
        path.write_text(pem)
        context.load_cert_chain(path)
    return context


def trusting_context() -> ssl.SSLContext:
    """Trust the certificate, and no other."""
    return ssl.create_default_context(cadata=PEM.partition("-----BEGIN PRIVATE")[0])
