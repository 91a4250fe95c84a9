"""TLS of both ports: the server's certificate, loaded again when its files change.

A thread looks once a second. It compares contents, so that files which are replaced, renamed over or reached by another
symbolic link count alike, as certbot, cert-manager and Kubernetes do it. What cannot be used is reported and never served.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from service.access.certificates import (
    CertificateFiles,
    CertificateProblem,
    FileContents,
    ServerCertificate,
    check_contents,
    read_files,
)
from service.observability.log import logger
from service.observability.recorder import Recorder
from service.settings import Settings, SettingsError

log = logger(__name__)

CHECK_INTERVAL_S = 1.0
"""Between two looks at the files: three reads of some kilobytes."""
UNSETTLED_LOOKS = 5
"""So many failed looks in a row are reported, even if the files are others at each."""
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2, for HTTP: forward secrecy and authenticated encryption only, as TLS 1.3 and gRPC's defaults have it."""


@dataclass(frozen=True, slots=True)
class _Served:
    contents: FileContents
    certificate: ServerCertificate
    context: ssl.SSLContext


class Tls:
    """The certificate in use. Constructing reads it; `start` watches the files in a thread of its own until `stop`."""

    def __init__(self, files: CertificateFiles, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Raises SettingsError for files that cannot be used."""
        self._files = files
        self._clock = clock
        self._recorder: Recorder | None = None
        try:
            self._served = self._load(read_files(files))
        except CertificateProblem as problem:
            raise SettingsError(str(problem)) from None
        self._suspect: object = None  # what could not be used at the last look
        self._reported: object = None  # what was reported last
        self._failed_looks = 0  # in a row
        self._expiry_reported = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="certificates", daemon=True)

    @property
    def certificate(self) -> ServerCertificate:
        """The certificate in use, for gRPC; another object after a reload. Any thread."""
        return self._served.certificate

    @property
    def context(self) -> ssl.SSLContext:
        """The same for connections of the standard library that begin now. Any thread."""
        return self._served.context

    @property
    def clients_need_certificates(self) -> bool:
        """Whether clients authenticate by certificates (mutual TLS)."""
        return self._files.client_ca is not None

    def start(self, recorder: Recorder) -> None:
        """Begins to watch the files; `recorder` gets what happens to them."""
        self._recorder = recorder
        self._record_expiry()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; does not wait for it."""
        self._stopping.set()

    def _watch(self) -> None:
        while not self._stopping.wait(CHECK_INTERVAL_S):
            try:
                self.check()
            except Exception:  # of one look
                log.exception("the files of TLS could not be looked at")

    def check(self) -> None:
        """Looks at the files once, and takes a new certificate that can be used. On the thread."""
        contents: FileContents | None = None
        try:
            contents = read_files(self._files)
            if contents == self._served.contents:
                self._forget_failures()
                self._report_expiry()
                return
            self._served = self._load(contents)
        except Exception as error:  # one that is not foreseen must not end the reports of those that are
            self._report(contents, error)
            self._report_expiry()
            return
        self._forget_failures()
        self._expiry_reported = False
        if self._recorder is not None:
            self._recorder.certificate_reloaded(ok=True)
        self._record_expiry()
        certificate = self._served.certificate
        log.info("TLS certificate reloaded", subject=certificate.subject, expires=certificate.expires.isoformat())

    def _report(self, contents: FileContents | None, error: Exception) -> None:
        """Reports what cannot be used, once, when a second look finds it unchanged: certificate and key are two files, which
        nobody can replace at the same moment. Files that never settle are reported once too."""
        foreseen = isinstance(error, CertificateProblem)
        reason = str(error) if foreseen else f"an error that was not foreseen: {type(error).__name__}"
        suspect = contents, reason
        self._failed_looks += 1
        settled = suspect == self._suspect and suspect != self._reported
        if settled or (self._reported is None and self._failed_looks >= UNSETTLED_LOOKS):
            self._reported = suspect
            if self._recorder is not None:
                self._recorder.certificate_reloaded(ok=False)
            log.error(
                "the new TLS files cannot be used; the certificate in use stays",
                reason=reason,
                exc_info=None if foreseen else error,
            )
        self._suspect = suspect

    def _forget_failures(self) -> None:
        self._suspect = self._reported = None
        self._failed_looks = 0

    def _report_expiry(self) -> None:
        if not self._expiry_reported and self.certificate.expires <= self._clock():
            self._expiry_reported = True
            log.error("the TLS certificate in use has expired", expires=self.certificate.expires.isoformat())

    def _record_expiry(self) -> None:
        certificate = self._served.certificate
        if self._recorder is None:
            return
        self._recorder.certificate_expiry("server", certificate.expires.timestamp())
        if certificate.client_ca_expires is not None:
            self._recorder.certificate_expiry("client_ca", certificate.client_ca_expires.timestamp())

    def _load(self, contents: FileContents) -> _Served:
        certificate = check_contents(contents, self._clock())
        context = _context(self._files, certificate)
        if read_files(self._files) != contents:  # the context read the files itself
            raise CertificateProblem("ZOO_TLS_CERT_FILE", "the files change while they are read")
        return _Served(contents, certificate, context)


def tls_of(settings: Settings) -> Tls | None:
    """TLS as the settings want it; None without it. Raises SettingsError."""
    cert, key, client_ca = settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file
    if cert is None and key is None and client_ca is None:
        return None
    if cert is None or key is None:
        given = "ZOO_TLS_CERT_FILE" if cert else "ZOO_TLS_KEY_FILE" if key else "ZOO_TLS_CLIENT_CA_FILE"
        missing = [name for name, path in (("ZOO_TLS_CERT_FILE", cert), ("ZOO_TLS_KEY_FILE", key)) if path is None]
        raise SettingsError(f"{given} is set without {' and '.join(missing)}; TLS needs the certificate and its key")
    return Tls(CertificateFiles(cert, key, client_ca))


def _context(files: CertificateFiles, certificate: ServerCertificate) -> ssl.SSLContext:
    """Of the HTTP port. A client certificate is optional in the handshake, since probes have none, and checked where one is
    sent; the pages that need one refuse without it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.num_tickets = 0  # a resumed session would not check the client's certificate again
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.cert, files.key, password=lambda: "")  # never asks on a terminal
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise CertificateProblem("ZOO_TLS_CERT_FILE", f"the certificate cannot be used: {_reason(error)}") from None
    if certificate.client_ca is not None:
        try:
            context.load_verify_locations(cadata=certificate.client_ca.decode("ascii"))
        except (OSError, ValueError) as error:
            raise CertificateProblem(
                "ZOO_TLS_CLIENT_CA_FILE", f"its certificates cannot be used: {_reason(error)}"
            ) from None
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate CA may be the trusted one, as for gRPC
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "unknown reason"
    return str(reason).lower().replace("_", " ")
