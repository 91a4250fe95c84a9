"""Users' data: uploads, safe archives, readers, validation, splits. No torch, no grpc."""
