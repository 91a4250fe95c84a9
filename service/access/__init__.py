"""Who may call: tokens, what they permit, TLS, and a record of what was done.

scopes.py          what a token may permit
principal.py       `Principal`: whose call it is, and what it may do
tokens.py          the text of a token, and its digest
token_store.py     the tokens in the database
authenticator.py   `Authenticator`: from the metadata of a call to its principal, by a copy of all tokens in memory
attempts.py        failed attempts by peer
rate_limits.py     how much the calls with one token may take
first_token.py     the first admin token, from a file
audit.py           the append-only record of changes
certificates.py    certificate, key and CAs of clients: read and checked
tls.py             `Tls`: the certificate in use, which follows its files
exposure.py        where a server may listen without TLS or tokens
"""
