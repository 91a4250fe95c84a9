"""OpenTelemetry traces of requests and jobs.

    reply sent ──► request_tracing   sampled? ──no──► nothing
                        │ yes
                        ▼
                   export.py         a bounded queue and a thread
                        │
                   request_spans.py  stages of the request → spans
                        ▼
                   otlp.py           spans → OpenTelemetry's exporter → the collector

Whether a request is sampled is decided after its reply, from its metadata and the settings. A request that is not sampled makes
no object. OpenTelemetry's packages are imported in `otlp.py` only, and only where a collector is set.
"""
