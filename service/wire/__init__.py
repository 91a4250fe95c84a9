"""The only package of the server that uses grpc and protobuf: servicers, converters, the wrapper of every call, and the status
table."""
