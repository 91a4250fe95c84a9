"""The only place that knows grpc and protobuf: servicers, converters, what is done around every call, and the status table."""
