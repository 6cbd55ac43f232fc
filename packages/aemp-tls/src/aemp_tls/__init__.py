"""TLS links for aemp-core, authenticated and encrypted by certificates; tooling for a private CA.

Installed, it is found by itself: make certificates with ``aemp ca``, name one in the setting
``cert``, and give nodes ``tls://`` addresses.
"""
