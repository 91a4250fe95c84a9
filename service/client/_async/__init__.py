"""The SDK's client, written once for asyncio. `_sync/` is generated from this package by `scripts/sync_client.py`.

    client             the public class; it hands each method to a component
    connection         one channel: stubs, metadata, errors
    predictions        predict, with input_encoder (inputs → request) and prediction_stream (stream_predict)
    models, versions   the catalog and the versions of a model
    datasets, jobs     uploads and fine-tune jobs
    fine_tuning        from data to a version in one call

Comments and docstrings hold for both clients, because the generator keeps them.
"""
