"""The only place that knows grpc and protobuf: servicers, converters, interceptors, and the status table."""
